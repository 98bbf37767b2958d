"""Runs and readers at the same time: faults.md, part H."""

import io
import re
import shutil
import subprocess
import sys
import threading

import polars as pl
import pytest

from tests.faults.nights import (
    ENGINE,
    LOCK,
    check_next_run,
    engine,
    score_again,
    start_engine,
    unprivileged_engine,
    waiting_engine,
)
from tests.helpers import BUNDLE, ROOT, read_summary, read_table

CASES = {
    "H01": "a second run on the same output: 75 at once, changes nothing",
    "H02": "two runs with different outputs: both succeed",
    "H03": "a reader during publishing: sees the old file or the new one",
    "H04": "the holder of the lock is killed: the next run proceeds",
    "H05": "many runs at once, like a scheduler that retries: 0 or 75",
    "H06": "another bundle is promoted during a run: the run uses the bytes that it checked",
    "H07": "the lock belongs to another user: 77, and the lock is named",
}


def test_h01_a_second_run_is_turned_away(night):
    holder = waiting_engine(night, ENGINE)
    names = sorted(night.folder.iterdir())
    done = engine(night, "--metrics-file", "m.prom")
    assert done.returncode == 75
    assert "another run holds this output. Wait for it, or write to another path" in done.stderr
    assert sorted(night.folder.iterdir()) == names
    assert night.outputs() == night.before
    assert read_summary(night.out)["published"] is True
    holder.kill()
    holder.communicate()
    check_next_run(night)


def test_h01_a_rehearsal_is_turned_away_too(night):
    holder = waiting_engine(night, ENGINE)
    assert engine(night, "--dry-run").returncode == 75
    holder.kill()
    holder.communicate()


def test_h02_two_runs_with_different_outputs(night):
    others = [start_engine(night, "--out", f"{n}.parquet") for n in range(2)]
    for n, process in enumerate(others):
        _, words = process.communicate(timeout=300)
        assert process.returncode == 0, words
        content = (night.folder / f"{n}.parquet").read_bytes()
        assert content == night.undisturbed["scores.parquet"]


def test_h03_a_reader_sees_one_or_the_other(night):
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(night.out.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        score_again(night)
    stop.set()
    reader.join()
    assert seen <= {night.before["scores.parquet"], night.undisturbed["scores.parquet"]}


def test_h04_the_holder_is_killed(night):
    holder = waiting_engine(night, ENGINE)
    holder.kill()
    holder.communicate()
    assert (night.folder / LOCK).exists()
    check_next_run(night)


def test_h05_many_runs_at_once(night):
    processes = [start_engine(night) for _ in range(4)]
    ends = [(process.communicate(timeout=300), process.returncode) for process in processes]
    assert {code for _, code in ends} <= {0, 75}, ends
    assert 0 in {code for _, code in ends}
    assert night.outputs() == night.undisturbed
    check_next_run(night)


def test_h06_another_bundle_during_a_run(night):
    """The run uses the bytes that it has checked, whatever happens to the files."""
    bundle = night.folder.parent / "bundle"
    shutil.copytree(BUNDLE, bundle)
    process = waiting_engine(night, ENGINE, more=("--bundle", bundle))
    shutil.rmtree(bundle)
    users = pl.read_parquet(night.folder / "users.parquet")
    lines = users.write_csv().removeprefix("user_id")
    _, words = process.communicate(lines, timeout=300)
    assert process.returncode == 0, words
    expected = pl.read_parquet(io.BytesIO(night.undisturbed["scores.parquet"]))
    assert read_table(night.out).equals(expected)


def test_h07_a_lock_of_another_user(night):
    (night.folder / LOCK).chmod(0o000)
    done = unprivileged_engine(night)
    assert done.returncode == 77
    assert f"{LOCK}: the lock of {night.out.name}: may not be written by this user" in done.stderr
    assert night.outputs() == night.before


FORKED = """
import os, sys, time
{first}
import polars as pl
{before}
child = os.fork()
if child == 0:
    from engine import EngineError, load_bundle
    started = time.monotonic()
    try:
        {after}
    except EngineError as error:
        print(error.exit_code, error, round(time.monotonic() - started, 1))
    os._exit(0)
os.waitpid(child, 0)
"""
USE = "pl.DataFrame({'a': [0], 'b': [0]}).select(pl.col('a') + 1, pl.col('b') + 1)"
LOAD = f"from engine import load_bundle; scorer = load_bundle({str(BUNDLE)!r})"
SCORE = "scorer.score(pl.DataFrame({'user_id': ['a']}))"


@pytest.mark.parametrize(
    ("first", "before", "after", "words", "seconds"),
    [
        ("", LOAD, SCORE, "bundle .* was opened by process", 1),
        ("", LOAD, LOAD, "Polars was used before", 2),
        ("import engine", USE, LOAD, "Polars was used before", 2),
        ("", USE, LOAD, "Polars was used before", 8),
    ],
    ids=["scorer", "both", "engine-first", "engine-last"],
)
def test_a_fork_is_named(first, before, after, words, seconds):
    code = FORKED.format(first=first, before=before, after=after)
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert re.match(f"2 process .*{words}.*'spawn'", done.stdout), (done.stdout, done.stderr)
    assert float(done.stdout.split()[-1]) < seconds


@pytest.mark.parametrize("before", ["", "import engine.scorer"])
def test_a_fork_before_polars_is_used_is_harmless(before):
    code = FORKED.format(first="", before=before, after=f"{LOAD}; print('opened')")
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "opened\n", done.stderr
