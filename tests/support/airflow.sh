#!/usr/bin/env bash
# Prints the python of an Airflow and the folder of a home with an empty database, a line each. It does not install one unasked.
#
#   airflow.sh             finds it, or says on stderr that it is not there, with exit code 3
#   airflow.sh install     gets it from PyPI, once: 300 MB and some four minutes
#
# WATERSHED_AIRFLOW says where (default ~/.cache/watershed-airflow).
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
