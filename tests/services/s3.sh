# An S3 server with conditional creation: versitygw, built from source. The bucket is the folder `watershed` of its data.
S3_VERSION="${S3_VERSION:-1.8.0}"

s3_up() {
  RUN="$HERE/run"
  local program="$HERE/versitygw-$S3_VERSION/versitygw"
  if ! runs "$RUN/pid" "$program"; then
    if [ ! -x "$program" ]; then
      have go || packages golang
      say "s3: building versitygw, about two minutes"
      GOBIN=$(dirname "$program") go install "github.com/versity/versitygw/cmd/versitygw@v$S3_VERSION" >&2
    fi
    local port; port=$(free_port)
    mkdir -p "$RUN/data/watershed"
    ROOT_ACCESS_KEY=test ROOT_SECRET_KEY=testtest setsid nohup "$program" --port "127.0.0.1:$port" --quiet posix "$RUN/data" \
      >"$RUN/server.log" 2>&1 9>&- </dev/null &
    echo $! >"$RUN/pid"
    listens "$port" "$RUN/pid" || { say "s3: it does not start"; tail -20 "$RUN/server.log" >&2; return 1; }
    cat >"$RUN/env" <<X
AWS_ENDPOINT_URL=http://127.0.0.1:$port
AWS_ACCESS_KEY_ID=test
AWS_SECRET_ACCESS_KEY=testtest
AWS_REGION=us-east-1
WATERSHED_TEST_S3=s3://watershed
X
  fi
  cat "$RUN/env"
}

s3_down() {
  ! runs "$HERE/run/pid" "$HERE/versitygw-" || end "$HERE/run/pid"
  rm -rf "$HERE/run/data"
}
