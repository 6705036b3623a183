#!/usr/bin/env bash
# A Kinesis for tests: kinesis-local (the Kinesis Mock project) from npm, on loopback. It splits, merges, changes the number of
# shards and ends closed ones as the service does; it never throttles and forgets everything when it stops.
# usage: tests/services/kinesis.sh start|stop|status     prints KINESIS_ENDPOINT=… while it runs
# Downloads are kept in SERVICES_DIR.
set -euo pipefail
SERVICES_DIR="${SERVICES_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/watershed-services}"
KINESIS_VERSION="${KINESIS_VERSION:-0.6.2}"
KINESIS="$SERVICES_DIR/kinesis"
KINESIS_LIBS="$KINESIS/kinesis-local-$KINESIS_VERSION"
KINESIS_MAIN="$KINESIS_LIBS/node_modules/kinesis-local/main.js"
KINESIS_RUN="$KINESIS/run"

kinesis_runs() {
  [ -s "$KINESIS_RUN/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$KINESIS_RUN/pid")/cmdline" | grep -qF "$KINESIS_MAIN"
}

kinesis_install() {
  [ ! -e "$KINESIS_LIBS/.done" ] || return 0
  command -v npm >/dev/null || { echo "kinesis: npm is not installed" >&2; return 1; }
  mkdir -p "$KINESIS_LIBS"
  npm install --prefix "$KINESIS_LIBS" --no-audit --no-fund --silent "kinesis-local@$KINESIS_VERSION" >&2
  # It would listen on every interface.
  cat >"$KINESIS_LIBS/loopback.js" <<'J'
const net = require('net'); const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...a) {
  if (a[0] !== null && typeof a[0] === 'object' && 'port' in a[0]) a[0] = { ...a[0], host: '127.0.0.1' };
  else if (/^\d+$/.test(String(a[0]))) {
    const done = a.find(x => typeof x === 'function'); a = [{ port: Number(a[0]), host: '127.0.0.1' }].concat(done ? [done] : []);
  }
  return listen.apply(this, a);
};
J
  touch "$KINESIS_LIBS/.done"
}

kinesis_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

kinesis_up() {
  if ! kinesis_runs; then
    kinesis_install
    mkdir -p "$KINESIS_RUN"
    local port change; port=$(kinesis_port)
    for change in CREATE_STREAM DELETE_STREAM SPLIT_SHARD MERGE_SHARDS UPDATE_SHARD_COUNT; do export "${change}_DURATION=50ms"; done
    export KINESIS_MOCK_PLAIN_PORT="$port" KINESIS_MOCK_TLS_PORT="$(kinesis_port)" SHARD_LIMIT=1000 LOG_LEVEL=ERROR
    # It looks for files of its own in the working directory.
    (cd "$(dirname "$KINESIS_MAIN")" && exec setsid nohup node -r "$KINESIS_LIBS/loopback.js" "$KINESIS_MAIN") \
      >"$KINESIS_RUN/log" 2>&1 9>&- </dev/null &
    echo $! >"$KINESIS_RUN/pid"
    echo "KINESIS_ENDPOINT=http://127.0.0.1:$port" >"$KINESIS_RUN/env"
    local waited=0
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
      if ! kill -0 "$(cat "$KINESIS_RUN/pid")" 2>/dev/null || [ $((waited += 1)) -gt 600 ]; then
        echo "kinesis: it does not start" >&2; tail -20 "$KINESIS_RUN/log" >&2; return 1
      fi
      sleep 0.1
    done
  fi
  cat "$KINESIS_RUN/env"
}

kinesis_down() {
  kinesis_runs || return 0
  local process; process=$(cat "$KINESIS_RUN/pid")
  kill "$process" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$process" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$process" 2>/dev/null || true
  rm -f "$KINESIS_RUN/pid"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  mkdir -p "$KINESIS"
  # Two test runs may want it at once. What is started does not inherit the lock.
  exec 9>"$KINESIS/lock"; flock 9
  case "${1:-}" in
    start) kinesis_up ;;
    stop) kinesis_down ;;
    status) kinesis_runs && cat "$KINESIS_RUN/env" || { echo "kinesis: it is not started" >&2; exit 3; } ;;
    *) sed -n 2,5p "$0" >&2; exit 2 ;;
  esac
fi
