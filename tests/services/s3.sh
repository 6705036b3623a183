#!/usr/bin/env bash
# A real S3 server on this machine's loopback, with conditional creation: versitygw, or moto where there is no Go.
#
#   s3.sh install            gets the server, once: about two minutes of building
#   s3.sh start              starts it, or finds it running, and prints the environment that reaches it, a NAME=VALUE a line
#   s3.sh stop | status
#
# S3_PORT (17070), S3_UNTIL (a process id: the server and what it holds go when that process does), S3_IMPL (versitygw | moto),
# SERVICES_DIR (~/.cache/watershed-services). What goes wrong is said on stderr, with exit code 1.
set -euo pipefail

services=${SERVICES_DIR:-$HOME/.cache/watershed-services}
have() { command -v "$1" >/dev/null 2>&1; }
impl=${S3_IMPL:-$(have go || [ -x "$services/s3/versitygw-1.8.0/versitygw" ] && echo versitygw || echo moto)}
port=${S3_PORT:-17070}
run=$services/s3/run-$impl-$port
versitygw=$services/s3/versitygw-1.8.0/versitygw
moto=$services/s3/moto-5.2.5
access=test secret=testtest bucket=watershed

say() { echo "s3: $*" >&2; }
fail() { say "$*"; exit 1; }
program() { [ "$impl" = moto ] && echo "$moto/bin/moto_server" || echo "$versitygw"; }
alive() { [ -s "$run/pid" ] && grep -qa "$(program)" "/proc/$(cat "$run/pid")/cmdline" 2>/dev/null; }
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

install() {
    [ -x "$(program)" ] && return 0
    mkdir -p "$services/s3"
    exec 8>"$services/s3/install.lock"
    flock 8
    [ -x "$(program)" ] && return 0
    if [ "$impl" = moto ]; then
        python3 -m venv "$moto" && "$moto/bin/pip" install -q --disable-pip-version-check 'moto[s3,server]==5.2.5' >&2
    else
        have go || fail "neither versitygw nor Go is installed"
        GOBIN=$(dirname "$versitygw") nice go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 >&2
    fi || fail "$impl can't be installed"
}

environment() {
    echo "AWS_ENDPOINT_URL=http://127.0.0.1:$port"
    echo "AWS_ACCESS_KEY_ID=$access"
    echo "AWS_SECRET_ACCESS_KEY=$secret"
    echo "AWS_REGION=us-east-1"
    echo "WATERSHED_TEST_S3=s3://$bucket"
    echo "S3_IMPL=$impl"
}

start() {
    install
    mkdir -p "$run"
    exec 9>"$run/lock"
    flock 9
    if alive; then environment && return 0; fi
    ! answers || fail "port $port is taken"
    mkdir -p "$run/data/$bucket" # To versitygw a folder is a bucket.
    if [ "$impl" = moto ]; then
        setsid nohup "$moto/bin/python" "$moto/bin/moto_server" -H 127.0.0.1 -p "$port" >"$run/log" 2>&1 8>&- 9>&- </dev/null &
    else
        ROOT_ACCESS_KEY=$access ROOT_SECRET_KEY=$secret setsid nohup "$versitygw" --port "127.0.0.1:$port" --quiet \
            posix "$run/data" >"$run/log" 2>&1 8>&- 9>&- </dev/null &
    fi
    echo $! >"$run/pid"
    for _ in $(seq 600); do
        if answers; then
            [ "$impl" != moto ] || curl -sf -X PUT "http://127.0.0.1:$port/$bucket" -o /dev/null || fail "no bucket can be made"
            if [ -n "${S3_UNTIL:-}" ]; then
                S3_PORT=$port S3_IMPL=$impl setsid nohup bash "$0" until "$S3_UNTIL" >/dev/null 2>&1 8>&- 9>&- </dev/null &
            fi
            environment
            return 0
        fi
        alive || break
        sleep 0.05
    done
    tail -n 5 "$run/log" >&2
    stop
    fail "$impl did not start"
}

stop() {
    if alive; then
        local pid
        pid=$(cat "$run/pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$run/pid"
}

case "${1:-}" in
install) install ;;
start) start ;;
stop) stop ;;
status) if alive; then environment; else say stopped; exit 3; fi ;;
until)
    while kill -0 "$2" 2>/dev/null; do sleep 0.5; done
    stop
    rm -rf "$run"
    ;;
*) sed -n 2,10p "$0" >&2; exit 2 ;;
esac
