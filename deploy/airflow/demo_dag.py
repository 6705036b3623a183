"""Once a day what is new is replayed into the lake, and the lake is compared with a naive batch program: a difference fails the day.

Copy this file into the `dags` folder of an Airflow 3 as `<user-id>_dag.py`: topics and tables are those of the user id in its
name. `pinterest` has to be installed where tasks run. What differs from the defaults is said by Variables of Airflow, in its
UI or in the environment of its workers, there with AIRFLOW_VAR_ before the name in capitals:

    pinterest_program   path of the program                                             pinterest, found by PATH
    pinterest_folder    folder to run in, which is made if there is none                ~/pinterest
    pinterest_sources   URLs as --from takes them, with blanks between; later ones win  the program's: data/archive
    pinterest_lake      URL of the Delta tables                                         the program's: data/lake
    pinterest_user_id   the user id, where it is not the one in the file's name

Credentials are no Variables of this file, nor arguments: the program finds them in the environment of the workers (AWS_…,
KAFKA_SASL_PASSWORD, or the file that KAFKA_PROPERTIES names).

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

# What the program's exit codes say that another try can't cure: wrong usage, a contradiction, a newer run, configuration.
FINAL = {2, 65, 76, 78}

log = logging.getLogger(__name__)


@dag(
    dag_id=f"{USER_ID}_dag",
    schedule="@daily",
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # A second run would take over the lake from the first.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=2), "execution_timeout": timedelta(hours=12)},
    tags=["pinterest"],
    doc_md=__doc__,
)
def pipeline():
    """The replay of a user's three streams."""

    # One task, not two: comparing again is of use only after what came meanwhile has been replayed.
    @task
    def replay():
        """Runs to the end of what is there, then checks."""
        arguments = ["--user-id", setting("user_id", USER_ID)]
        for source in setting("sources", "").split():
            arguments += ["--from", source]
        if lake := setting("lake", ""):
            arguments += ["--lake", lake]
        for command in ("run", "check"):
            pinterest(command, *arguments)

    replay()


def setting(name, default):
    """What the Variable `pinterest_<name>` says, or the default if it says nothing."""
    return Variable.get(f"pinterest_{name}", default="").strip() or default


def pinterest(*arguments):
    """Runs the program and logs what it says; a code other than 0 fails the task, for good where another try would fail too."""
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
            process.terminate()  # Whoever ends the task: the program commits what it has read, and the next run goes on.
            raise
    if process.returncode:
        failed = AirflowFailException if process.returncode in FINAL else AirflowException
        raise failed(f"pinterest {arguments[0]} ended with {process.returncode}; the lines above say why")


pipeline()
