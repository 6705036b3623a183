#!/usr/bin/env bash
# Prints the Python of Airflow and a home folder with an empty database, one a line. It installs nothing without `install`.
#
#   airflow.sh             finds Airflow; otherwise prints the reason on stderr and exits with 3
#   airflow.sh install     installs it once from PyPI: 300 MB, about four minutes
#
# WATERSHED_AIRFLOW is the folder (default ~/.cache/watershed-airflow).
set -euo pipefail
venv=${WATERSHED_AIRFLOW:-$HOME/.cache/watershed-airflow}
export AIRFLOW_HOME=$venv/home AIRFLOW__CORE__LOAD_EXAMPLES=False

if [ "${1:-}" = install ] && [ ! -e "$AIRFLOW_HOME/made" ]; then
    mkdir -p "$venv"
    exec 9>"$venv/.lock" && flock 9
    {
        [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
        nice "$venv/bin/python" -m pip install --quiet --disable-pip-version-check apache-airflow==3.3.2
        nice "$venv/bin/airflow" db migrate
    } >&2
    touch "$AIRFLOW_HOME/made"
fi
[ -e "$AIRFLOW_HOME/made" ] || { echo "airflow: it is not installed: do tests/support/airflow.sh install" >&2; exit 3; }
echo "$venv/bin/python"
echo "$AIRFLOW_HOME"
