"""What validation and drift take of the nightly job, with their gates.

Each run is a process of its own that does both; shares of one run need no other machine to compare with.
"""

import statistics
import subprocess
import sys

import pytest

from benchmarks.profile import DRIFT, VALIDATION

RUNS = 3
VALIDATION_GATE = 0.15
DRIFT_GATE = 0.10
IMPORTS = ("Python start-up", "import polars", "import onnxruntime", "import engine.pipeline")


@pytest.mark.gate
def test_validation_and_drift_take_a_small_part_of_the_job(users):
    runs = [stages(users) for _ in range(RUNS)]
    assert share(runs, VALIDATION) <= VALIDATION_GATE
    assert share(runs, DRIFT) <= DRIFT_GATE


def stages(users):
    """The seconds of each stage of one run, from the table that the profile prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.profile", users],
        capture_output=True,
        text=True,
        check=True,
    )
    table = done.stdout.split("| operators")[0]
    rows = [line.strip("| ").rsplit(" | ", 1) for line in table.splitlines()[2:] if line]
    return {name: float(seconds) for name, seconds in rows}


def share(runs, name):
    """The median share of a stage in the whole job."""
    return statistics.median(
        run[name] / sum(run[part] for part in (*IMPORTS, "score()")) for run in runs
    )
