#!/usr/bin/env python3
"""Loads a file of dags as Airflow does, runs its one dag once, at once, and prints what came of it as JSON.

    dag.py FILE

Printed is {"id": …, "schedule": …, "catchup": …, "retries": …, "delays": seconds, "state": the run's, "tasks": {name: state}}. There
is a second try only after the delay, which is not waited for: each task is tried once. Run it by the python that airflow.sh
prints, with AIRFLOW_HOME set. Exit codes: 0 it ran, well or not · 1 the file is no dag.
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
