"""Once a day, replays new records into the lake and compares the lake with a naive batch program. A difference fails the day.

Copy this file into the `dags` folder of an Airflow 3 as `<user-id>_dag.py`: the user id in its name selects the topics and
tables. `pinterest` must be installed where tasks run. Variables of Airflow change the defaults. Set them in its UI, or in the
environment of its workers with the prefix AIRFLOW_VAR_ and the name in capitals:

    pinterest_program   path of the program                                             pinterest, found by PATH
    pinterest_folder    working folder, created if it is missing                        ~/pinterest
    pinterest_sources   URLs for --from, separated by spaces; later ones win            the program's: data/archive
    pinterest_lake      URL of the Delta tables                                         the program's: data/lake
    pinterest_user_id   the user id, if it differs from the file's name

Credentials are neither Variables nor arguments. The program reads them from the environment of the workers (AWS_…,
KAFKA_SASL_PASSWORD, or the file in KAFKA_PROPERTIES).

By hand, without a scheduler: `airflow db migrate`, then `airflow dags test demo_dag`.
"""

import logging
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.sdk import Variable, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

USER_ID = Path(__file__).stem.removesuffix("_dag")

# Exit codes that a retry can't cure: wrong usage, contradictory data, a newer run, configuration.
FINAL = {2, 65, 76, 78}

log = logging.getLogger(__name__)


@dag(
    dag_id=f"{USER_ID}_dag",
    schedule="@daily",
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # A second run would take the lake over from the first.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=2), "execution_timeout": timedelta(hours=12)},
    tags=["pinterest"],
    doc_md=__doc__,
)
def pipeline():
    """The replay of a user's three streams."""

    # One task, not two: a new comparison makes sense only after a new replay.
    @task
    def replay():
        """Replays all records, then checks."""
        arguments = ["--user-id", setting("user_id", USER_ID)]
        for source in setting("sources", "").split():
            arguments += ["--from", source]
        if lake := setting("lake", ""):
            arguments += ["--lake", lake]
        for command in ("run", "check"):
            pinterest(command, *arguments)

    replay()


def setting(name, default):
    """Returns the Variable `pinterest_<name>`, or the default if it is empty."""
    return Variable.get(f"pinterest_{name}", default="").strip() or default


def pinterest(*arguments):
    """Runs the program and logs its output. An exit code other than 0 fails the task, without a retry if that would fail too."""
    folder = Path(setting("folder", "~/pinterest")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    command = [setting("program", "pinterest"), *arguments]
    log.info("%s, in %s", command, folder)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, env=os.environ, text=True, encoding="utf-8", errors="replace", **pipes) as process:
        try:
            for line in process.stdout:
                log.info("%s", line.rstrip())
        except BaseException:
            process.terminate()  # The task is ending: the program commits its records, and the next run continues.
            raise
    if process.returncode:
        failed = AirflowFailException if process.returncode in FINAL else AirflowException
        raise failed(f"pinterest {arguments[0]} ended with {process.returncode}; see the lines above")


pipeline()
