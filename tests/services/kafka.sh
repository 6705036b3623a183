# One broker of Apache Kafka; its jars come from Maven Central. It has these listeners: plain; SASL (PLAIN, SCRAM, OAUTHBEARER
# with unsigned tokens) with and without TLS; TLS with the certificate of another host; and one that advertises the port
# KAFKA_FRONT, where a test's proxy listens. The only user is alice, with the password alice-secret. Each start begins empty,
# because thousands of old topics make a broker slow.
KAFKA_VERSION="${KAFKA_VERSION:-4.1.2}"

kafka_install() {
  local missing=""
  have java || missing="$missing default-jre-headless"
  have mvn || missing="$missing maven"
  [ -z "$missing" ] || packages $missing
  LIBS="$HERE/$KAFKA_VERSION"
  [ ! -e "$LIBS/done" ] || return 0
  local build="$HERE/build"; rm -rf "$build"; mkdir -p "$build"
  local artifact='<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>'
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
    printf "$artifact" org.apache.kafka kafka_2.13 "$KAFKA_VERSION" org.apache.kafka kafka-tools "$KAFKA_VERSION" \
      org.apache.logging.log4j log4j-slf4j-impl 2.24.3
    echo '</dependencies></project>'
  } >"$build/pom.xml"
  say "kafka: fetching its jars"
  mvn -q -B -f "$build/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$build/libs" -DincludeScope=runtime >&2 || { say "kafka: its jars can't be fetched"; return 1; }
  touch "$build/libs/done"; rm -rf "$LIBS"; mv "$build/libs" "$LIBS"; rm -rf "$build"
}

# Creates a certificate for the host $2, with its key in the store $1.p12, and alone in $1.pem.
kafka_certificate() {
  [ ! -e "$RUN/$1.pem" ] || return 0
  keytool -genkeypair -alias a -keyalg RSA -keysize 2048 -validity 3650 -dname "CN=$1" -ext "SAN=$2" \
    -storetype PKCS12 -keystore "$RUN/$1.p12" -storepass test-only >&2
  keytool -exportcert -rfc -alias a -keystore "$RUN/$1.p12" -storepass test-only >"$RUN/$1.pem" 2>/dev/null
}

kafka_config() {
  kafka_certificate own IP:127.0.0.1,DNS:localhost
  kafka_certificate other DNS:other.example
  PLAIN=$(free_port) SASL=$(free_port) TLS=$(free_port) OTHER=$(free_port) BEHIND=$(free_port) FRONT=$(free_port) CONTROLLER=$(free_port)
  cat >"$RUN/log4j2.properties" <<X
appender.f.type=File
appender.f.name=f
appender.f.fileName=$RUN/server.log
appender.f.append=false
appender.f.layout.type=PatternLayout
appender.f.layout.pattern=%d %p %m (%c{1})%n
rootLogger.level=INFO
rootLogger.appenderRef.f.ref=f
X
  local listener login=org.apache.kafka.common.security
  cat >"$RUN/server.properties" <<X
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER
listeners=PLAIN://127.0.0.1:$PLAIN,SASL://127.0.0.1:$SASL,TLS://127.0.0.1:$TLS,OTHER://127.0.0.1:$OTHER,BEHIND://127.0.0.1:$BEHIND,CONTROLLER://127.0.0.1:$CONTROLLER
advertised.listeners=PLAIN://127.0.0.1:$PLAIN,SASL://127.0.0.1:$SASL,TLS://127.0.0.1:$TLS,OTHER://127.0.0.1:$OTHER,BEHIND://127.0.0.1:$FRONT
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL,OTHER:SSL,BEHIND:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
log.dirs=$RUN/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.segment.delete.delay.ms=1000
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.tls.ssl.keystore.location=$RUN/own.p12
listener.name.tls.ssl.keystore.password=test-only
listener.name.other.ssl.keystore.location=$RUN/other.p12
listener.name.other.ssl.keystore.password=test-only
X
  for listener in sasl tls; do
    cat >>"$RUN/server.properties" <<X
listener.name.$listener.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_alice="alice-secret";
listener.name.$listener.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.$listener.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.$listener.oauthbearer.sasl.jaas.config=$login.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
X
  done
  cat >"$RUN/env" <<X
KAFKA_PLAIN=127.0.0.1:$PLAIN
KAFKA_SASL=127.0.0.1:$SASL
KAFKA_TLS=127.0.0.1:$TLS
KAFKA_TLS_CA=$RUN/own.pem
KAFKA_OTHER=127.0.0.1:$OTHER
KAFKA_OTHER_CA=$RUN/other.pem
KAFKA_BEHIND=127.0.0.1:$BEHIND
KAFKA_FRONT=127.0.0.1:$FRONT
X
}

kafka_up() {
  RUN="$HERE/run"
  if ! runs "$RUN/pid" "$RUN/server.properties"; then
    kafka_install
    kafka_config
    local java=(java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$RUN/log4j2.properties" -cp "$LIBS/*")
    rm -rf "$RUN/data"
    "${java[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$RUN/server.properties" \
      --add-scram 'SCRAM-SHA-256=[name=alice,password=alice-secret]' \
      --add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]' >"$RUN/format.log" 2>&1 || { cat "$RUN/format.log" >&2; return 1; }
    : >"$RUN/server.log"
    setsid nohup "${java[@]}" kafka.Kafka "$RUN/server.properties" >"$RUN/output.log" 2>&1 9>&- </dev/null &
    echo $! >"$RUN/pid"
    # An open port is not enough: the broker accepts connections before it is ready.
    until grep -q 'Kafka Server started' "$RUN/server.log"; do
      if ! kill -0 "$(cat "$RUN/pid")" 2>/dev/null || [ $((waited = ${waited:-0} + 1)) -gt 900 ]; then
        say "kafka: it does not start"; tail -20 "$RUN/server.log" "$RUN/output.log" >&2; return 1
      fi
      sleep 0.1
    done
  fi
  cat "$RUN/env"
}

kafka_down() {
  ! runs "$HERE/run/pid" "$HERE/run/server.properties" || end "$HERE/run/pid"
}
