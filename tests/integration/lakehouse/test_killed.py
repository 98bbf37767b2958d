"""A killed run leaves the old version of a table or the new one."""

import os
import random
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from engine import ScoreOptions
from tests.helpers import BUNDLE
from tests.integration.lakehouse.tables import ROWS, score_into
from training.simulate import SimulateOptions, simulate

RUN = "from engine.cli.entry import main; main()"


KILLED = """
import os, signal, sys
import engine.connectors.lakehouse.files as files
import engine.connectors.lakehouse.scores as scores
import engine.outputs.sink as sink
from engine.cli.entry import main

def killed(function, chosen, taken=[0]):
    def step(*arguments, **named):
        taken[0] += 1
        if taken[0] == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return step

chosen = int(sys.argv.pop(1))
files.sync_path = killed(files.sync_path, chosen)
sink._sync_folders = killed(sink._sync_folders, chosen)
scores.LakehouseScores._commit = killed(scores.LakehouseScores._commit, chosen)
sink.Sink._end_publishing = killed(sink.Sink._end_publishing, chosen)
main()
"""
# The file is complete, reports are in place, the commit; the summary follows.
STEPS_BEFORE_COMMIT = 3


def run_options(lake):
    return [
        *("score", "users.parquet", "--out", lake.named("scores"), "--bundle", str(BUNDLE)),
        *("--if-exists", "replace", "--quiet"),
    ]


@pytest.mark.parametrize("step", [1, STEPS_BEFORE_COMMIT, STEPS_BEFORE_COMMIT + 1])
def test_a_killed_run_leaves_the_old_version_or_the_new_one(lake, some, tmp_path, step):
    some.head(9).write_parquet(tmp_path / "users.parquet")
    score_into(lake, "users.parquet")
    before, _ = lake.read(lake.named("scores"))
    some.write_parquet(tmp_path / "users.parquet")
    command = [sys.executable, "-c", KILLED, str(step), *run_options(lake)]
    done = subprocess.run(command, env={**os.environ, **lake.env}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    name, found = lake.read(lake.named("scores"))
    is_old = step <= STEPS_BEFORE_COMMIT
    assert (name == before, found.height) == (is_old, 9 if is_old else ROWS)
    score_into(lake, "users.parquet")
    assert lake.rows("scores").height == ROWS


def test_a_killed_run_leaves_no_part_of_a_new_table(lake, some, tmp_path):
    some.write_parquet(tmp_path / "users.parquet")
    command = [sys.executable, "-c", KILLED, str(STEPS_BEFORE_COMMIT), *run_options(lake)]
    done = subprocess.run(command, env={**os.environ, **lake.env}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not lake.target().exists()
    score_into(lake, "users.parquet", options=ScoreOptions())
    assert lake.rows("scores").height == ROWS


@pytest.mark.slow
def test_240_000_users_killed_at_20_moments(lake, tmp_path, record_property):
    """Each run is killed at any time; what is there is the old version or the new one, whole."""
    users = pl.concat(simulate(SimulateOptions(rows=240_000, seed=8, label=False)))
    users.write_parquet(tmp_path / "users.parquet")
    score_into(lake, "users.parquet")
    expected = lake.rows("scores").sort("user_id")
    command = [sys.executable, "-c", RUN, *run_options(lake)]
    began = time.monotonic()
    subprocess.run(command, env={**os.environ, **lake.env}, check=True)
    took = time.monotonic() - began
    draw = random.Random(20)
    kept = 0
    for _ in range(20):
        before, _ = lake.read(lake.named("scores"))
        process = subprocess.Popen(command, env={**os.environ, **lake.env})
        time.sleep(took * draw.uniform(0.05, 1))
        process.kill()
        process.wait()
        record_property("killed while a table is written", 1)
        kept += lake.read(lake.named("scores"))[0] == before
        assert lake.rows("scores").sort("user_id").equals(expected)
    assert kept >= 10
    score_into(lake, "users.parquet")
    assert lake.rows("scores").sort("user_id").equals(expected)
