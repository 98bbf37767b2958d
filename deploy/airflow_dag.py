"""Airflow DAG for the nightly run: each exit code becomes a retry, a failure or a skip."""

import subprocess
from datetime import UTC, datetime, timedelta

from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk import dag, task

FOLDER = "/var/lib/shopnow"
COMMAND = [
    *("engine", "score", "users.parquet", "--bundle", "onnx_models/shopnow"),
    *("--out", "scores.parquet", "--if-exists", "replace"),
    *("--strict", "--metrics-file", "shopnow_scoring.prom", "--log-format", "json"),
]
# Transient: a store or disk that may recover, or a run that was interrupted.
RETRY = {69, 71, 74, 129, 130, 143, -6, -9, -11, -15}
# Another run holds the output and does the work.
SKIP = {75}


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
)
def shopnow_scoring() -> None:
    """Score all users of ShopNow every night."""

    @task(execution_timeout=timedelta(hours=1))
    def score() -> None:
        code = subprocess.run(COMMAND, cwd=FOLDER, check=False).returncode
        if code in SKIP:
            raise AirflowSkipException(f"engine score: {code}: another run holds the output")
        if code in RETRY:
            raise RuntimeError(f"engine score: {code}: transient failure")
        if code != 0:
            raise AirflowFailException(f"engine score: {code}: see docs/operations.md")

    score()


shopnow_scoring()
