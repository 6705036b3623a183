#!/usr/bin/env bash
# Creates the Python environment with the independent Delta readers and senders, once, and prints the path of its Python.
# On failure it prints nothing on stdout and still exits with 0: the caller then reports a skipped check.
# WATERSHED_VENV is the folder (default ~/.cache/watershed-venv).
set -u
venv=${WATERSHED_VENV:-$HOME/.cache/watershed-venv}
wanted="duckdb duckdb_extensions duckdb_extension_delta duckdb_extension_httpfs deltalake pandas pyarrow requests boto3"
python=$venv/bin/python

ready() { [ -x "$python" ] && "$python" -c 'import boto3, duckdb, duckdb_extensions, deltalake, pandas, pyarrow, requests, importlib.metadata as m; [m.version(f"duckdb_extension_{e}") for e in ("delta", "httpfs")]' 2>/dev/null; }

if ! ready; then
    mkdir -p "$venv" || exit 0
    exec 9>"$venv/.lock" && flock 9 # Tests run in parallel: one creates it, the others wait.
    if ! ready; then
        { python3 -m venv "$venv" && nice "$python" -m pip install --quiet --disable-pip-version-check $wanted; } >&2
    fi
fi
ready && echo "$python"
exit 0
