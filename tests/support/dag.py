#!/usr/bin/env python3
"""Loads a file of dags like Airflow, runs its only dag once, immediately, and prints the result as JSON.

    dag.py FILE

It prints {"id": …, "schedule": …, "catchup": …, "retries": …, "delays": seconds, "state": of the run, "tasks": {name: state}}.
It does not wait for a retry, so each task runs once. Run it with the Python that airflow.sh prints, and with AIRFLOW_HOME.
Exit codes: 0 the dag ran, successfully or not · 1 the file is no dag.
"""

import importlib.util
import json
import sys

from airflow.dag_processing.dagbag import DagBag


def main(path):
    bag = DagBag(path)
    if bag.import_errors or len(bag.dags) != 1:
        print(f"no dag: {bag.import_errors or list(bag.dags)}", file=sys.stderr)
        return 1
    (dag,) = bag.dags.values()
    said = {
        "id": dag.dag_id,
        "schedule": dag.schedule,
        "catchup": dag.catchup,
        "retries": sorted({task.retries for task in dag.tasks}),
        "delays": sorted({task.retry_delay.total_seconds() for task in dag.tasks}),
    }
    for task in dag.tasks:
        task.retries = 0
    run = dag.test()
    said["state"] = str(run.state)
    said["tasks"] = {one.task_id: str(one.state) for one in run.get_task_instances()}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
