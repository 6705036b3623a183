# One MariaDB. The user `test`, with the password `test`, may create databases.

mysql_up() {
  RUN="$HERE/run"
  if ! runs "$RUN/pid" "$RUN/data"; then
    # This file prevents the package from starting its own server.
    if ! have mariadbd; then
      local forbidden=/usr/sbin/policy-rc.d
      [ -e "$forbidden" ] && forbidden="" || { printf '#!/bin/sh\nexit 101\n' >"$forbidden"; chmod +x "$forbidden"; }
      packages mariadb-server
      [ -z "$forbidden" ] || rm -f "$forbidden"
    fi
    local socket port; port=$(free_port)
    # The path of a socket must be shorter than 108 bytes.
    socket="/tmp/watershed-mysql-$(id -u)-$port.sock"
    if [ ! -e "$RUN/made" ]; then
      rm -rf "$RUN/data"
      mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$RUN/data" --auth-root-authentication-method=normal \
        --skip-test-db >"$RUN/install.log" 2>&1 || { cat "$RUN/install.log" >&2; return 1; }
    fi
    setsid nohup mariadbd --no-defaults --user="$(id -un)" --datadir="$RUN/data" --socket="$socket" --bind-address=127.0.0.1 \
      --port="$port" --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=64M --character-set-server=utf8mb4 \
      >"$RUN/server.log" 2>&1 9>&- </dev/null &
    echo $! >"$RUN/pid"
    until mariadb-admin --no-defaults --socket="$socket" -uroot ping >/dev/null 2>&1; do
      if ! kill -0 "$(cat "$RUN/pid")" 2>/dev/null || [ $((waited = ${waited:-0} + 1)) -gt 600 ]; then
        say "mysql: it does not start"; tail -20 "$RUN/server.log" >&2; return 1
      fi
      sleep 0.1
    done
    mariadb --no-defaults --socket="$socket" -uroot \
      -e "CREATE USER IF NOT EXISTS 'test'@'127.0.0.1' IDENTIFIED BY 'test'; GRANT ALL ON *.* TO 'test'@'127.0.0.1';"
    touch "$RUN/made"
    echo "MYSQL_URL=mysql://test:test@127.0.0.1:$port/" >"$RUN/env"
  fi
  cat "$RUN/env"
}

mysql_down() {
  ! runs "$HERE/run/pid" "$HERE/run/data" || end "$HERE/run/pid"
}
