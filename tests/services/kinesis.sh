# A Kinesis server: kinesis-local (the Kinesis Mock project) from npm. It splits and merges shards, changes their number and ends
# closed ones like the service. It never throttles, needs about 10 ms of CPU a call, and loses all data when it stops.
KINESIS_VERSION="${KINESIS_VERSION:-0.6.2}"

kinesis_install() {
  LIBS="$HERE/kinesis-local-$KINESIS_VERSION"
  [ ! -e "$LIBS/.done" ] || return 0
  have npm || packages npm
  mkdir -p "$LIBS"
  npm install --prefix "$LIBS" --no-audit --no-fund --silent "kinesis-local@$KINESIS_VERSION" >&2
  # By default it listens on every interface.
  cat >"$LIBS/loopback.js" <<'J'
const net = require('net'); const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...a) {
  if (a[0] !== null && typeof a[0] === 'object' && 'port' in a[0]) a[0] = { ...a[0], host: '127.0.0.1' };
  else if (/^\d+$/.test(String(a[0]))) {
    const done = a.find(x => typeof x === 'function'); a = [{ port: Number(a[0]), host: '127.0.0.1' }].concat(done ? [done] : []);
  }
  return listen.apply(this, a);
};
J
  touch "$LIBS/.done"
}

kinesis_up() {
  RUN="$HERE/run"
  if ! runs "$RUN/pid" kinesis-local; then
    kinesis_install
    local port change; port=$(free_port)
    for change in CREATE_STREAM DELETE_STREAM SPLIT_SHARD MERGE_SHARDS UPDATE_SHARD_COUNT; do export "${change}_DURATION=50ms"; done
    export KINESIS_MOCK_PLAIN_PORT="$port" KINESIS_MOCK_TLS_PORT="$(free_port)" SHARD_LIMIT=1000 LOG_LEVEL=ERROR
    # It expects its own files in the working directory.
    (cd "$LIBS/node_modules/kinesis-local" && exec setsid nohup node -r "$LIBS/loopback.js" "$PWD/main.js") \
      >"$RUN/server.log" 2>&1 9>&- </dev/null &
    echo $! >"$RUN/pid"
    listens "$port" "$RUN/pid" || { say "kinesis: it does not start"; tail -20 "$RUN/server.log" >&2; return 1; }
    echo "KINESIS_ENDPOINT=http://127.0.0.1:$port" >"$RUN/env"
  fi
  cat "$RUN/env"
}

kinesis_down() {
  ! runs "$HERE/run/pid" kinesis-local || end "$HERE/run/pid"
}
