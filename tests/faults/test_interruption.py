"""Runs that are killed, interrupted or halted: faults.md, part I."""

import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from engine.errors import BundleError
from tests.faults.nights import (
    ARGUMENTS,
    ENGINE,
    captured,
    check_all_or_nothing,
    check_next_run,
    check_torn_by_a_kill,
    check_words,
    faulty_engine,
    score_again,
    some_of,
    start_engine,
    waiting_engine,
)
from tests.helpers import assert_prompt, read_summary

CASES = {
    "I01": "kill -9 before every step that changes a file: old or new scores",
    "I02": "kill -9 at times spread over the run: old or new scores",
    "I03": "SIGTERM: 143, nothing left behind, the summary says 'interrupted'",
    "I04": "SIGINT: once, 130 and clean; twice, ends at once",
    "I05": "SIGHUP: 129, clean like SIGTERM",
    "I06": "durability: every file is forced to disk before it is renamed, its directory afterwards",
    "I07": "the run after a killed one: needs no help, whatever was left",
    "I08": "cannot arise: scoring makes no report; a bundle's report is made before its manifest",
    "I09": "killed while a table is written: the old table or the new one, see tests/integration/databases",
    "I10": "stopped and continued (SIGSTOP, SIGCONT): published",
}
pytestmark = pytest.mark.usefixtures("hangup")
STEPS = 60
MOMENTS = 200
STUCK = """
import time
from engine.cli.entry import main
from engine.outputs.sink import Sink
Sink.report = lambda *_: time.sleep(600)
main()
"""
BLOCKED = """
import pathlib, time
import engine.inputs.chunks, engine.inputs.open, engine.outputs.writer, engine.scorer
from engine.cli.entry import main

def blocked(*_, **__):
    pathlib.Path("../blocked").touch()
    time.sleep(600)

{call} = blocked
main()
"""
SIGNALLED = """
import os, signal
import engine.outputs.sink, engine.pipeline
from engine.cli.entry import main

def signalled(*arguments, function={call}):
    os.kill(os.getpid(), signal.SIGTERM)
    return function(*arguments)

{call} = signalled
main()
"""
BLOCKING = [
    "engine.inputs.open.open_table",
    "engine.inputs.chunks.read_frames",
    "engine.scorer.Scorer.score_chunk",
    "engine.outputs.writer._sink",
]


def check_interrupted(night, process, code):
    began = time.monotonic()
    _, words = process.communicate(timeout=60)
    assert_prompt(began)
    assert process.returncode == code, words
    assert words == f"engine: interrupted by {NAMES[code]}; nothing was published. Run again.\n"
    assert night.outputs() == night.before
    assert not list(night.folder.glob(".*"))
    summary = read_summary(night.out)
    stated = summary["status"], summary["exit_code"], summary["stands"]
    assert stated == ("interrupted", code, "earlier run")
    check_next_run(night)


NAMES = {129: "SIGHUP", 130: "SIGINT", 143: "SIGTERM"}


def test_there_are_no_more_steps_than_are_tried(night):
    assert len(faulty_engine(night, 0, "list").stdout.splitlines()) < STEPS


@pytest.mark.parametrize("step", some_of(STEPS))
def test_i01_i07_killed_before_a_step(night, step, record_property):
    done = faulty_engine(night, step + 1, "kill")
    if done.returncode == 0:
        check_all_or_nothing(night, done)
    else:
        record_property("killed before a step", 1)
        assert done.returncode == -signal.SIGKILL
        check_torn_by_a_kill(night)
    scores = night.out.read_bytes()
    with pytest.raises(BundleError, match="absent"):
        score_again(night, bundle=night.folder / "absent")
    assert night.out.read_bytes() == scores
    assert read_summary(night.out)["exit_code"] == 78
    check_next_run(night)


def test_i07_whatever_is_named_like_staging_is_removed(night):
    staging = night.folder / ".scores.parquet.staging-1"
    staging.mkdir()
    (staging / "scores.parquet").touch()
    (night.folder / ".scores.parquet.staging-2").touch()
    (night.folder / ".scores.parquet.staging-3").symlink_to("users.parquet")
    check_next_run(night)


@pytest.mark.parametrize("moment", some_of(MOMENTS))
def test_i02_g02_killed_at_any_time(night, run_seconds, moment, record_property):
    record_property("killed at any time", 1)
    process = start_engine(night)
    time.sleep(run_seconds * moment / MOMENTS)
    process.kill()
    process.communicate()
    check_torn_by_a_kill(night)
    check_next_run(night)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="I03"),
        pytest.param(signal.SIGINT, 130, id="I04"),
        pytest.param(signal.SIGHUP, 129, id="I05"),
    ],
)
def test_a_signal_ends_a_run_in_good_order(night, number, code):
    process = waiting_engine(night, ENGINE)
    process.send_signal(number)
    check_interrupted(night, process, code)


@pytest.mark.parametrize("moment", some_of(MOMENTS))
def test_i03_g07_terminated_at_any_time(night, run_seconds, moment, record_property):
    record_property("terminated at any time", 1)
    process = start_engine(night)
    time.sleep(run_seconds * moment / MOMENTS)
    process.terminate()
    _, words = process.communicate(timeout=60)
    check_words(words)
    # The system itself ends a process that has not yet come to its first line.
    assert process.returncode in (0, 143, -signal.SIGTERM)
    # A signal after the commit is too late to undo it.
    assert night.outputs() == (night.undisturbed if night.is_published() else night.before)
    assert process.returncode != 0 or night.is_published()
    assert not list(night.folder.glob(".*"))
    summary = read_summary(night.out)
    if not summary["published"]:
        assert (summary["status"], summary["exit_code"]) == ("interrupted", 143)
    check_next_run(night)


@pytest.mark.parametrize("call", BLOCKING)
def test_i03_a_signal_ends_a_run_that_waits_for_a_blocked_call(night, call):
    """The call is not waited for, whether it opens, reads, scores or writes."""
    command = [sys.executable, "-c", BLOCKED.format(call=call), *ARGUMENTS]
    with subprocess.Popen(command, cwd=night.folder, **captured({})) as process:
        while not (night.folder.parent / "blocked").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        # As `timeout` does, which signals the process and then its group.
        for _ in range(2):
            process.terminate()
        check_interrupted(night, process, 143)


def test_i03_a_signal_ends_a_run_that_reads_rejected_rows_again(night):
    users = night.folder / "users.parquet"
    before = users.read_bytes()
    pl.read_parquet(users).with_columns(more=pl.lit(1)).write_parquet(users)
    call = "engine.inputs.rejected.read_frames"
    code = BLOCKED.format(call=call).replace(
        "engine.scorer\n", "engine.scorer, engine.inputs.rejected\n"
    )
    command = [sys.executable, "-c", code, *ARGUMENTS]
    with subprocess.Popen(command, cwd=night.folder, **captured({})) as process:
        while not (night.folder.parent / "blocked").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        users.write_bytes(before)
        process.terminate()
        check_interrupted(night, process, 143)


@pytest.mark.parametrize(
    ("call", "code"), [("engine.pipeline.to_prometheus", 143), ("engine.outputs.sink.move", 0)]
)
def test_i03_a_signal_is_too_late_once_publishing_has_begun(night, call, code):
    command = [sys.executable, "-c", SIGNALLED.format(call=call), *ARGUMENTS]
    done = subprocess.run(command, cwd=night.folder, **captured({}), timeout=60)
    assert done.returncode == code, done.stderr
    assert night.outputs() == (night.undisturbed if code == 0 else night.before)
    assert read_summary(night.out)["published"] == (code == 0)
    check_next_run(night)


def test_i04_interrupted_twice_ends_at_once(night):
    process = waiting_engine(night, sys.executable, "-c", STUCK)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    check_next_run(night)


def test_i06_what_is_renamed_is_on_the_disk(night):
    inode = str(night.folder.stat().st_ino)
    steps = [line.split(" ", 2) for line in faulty_engine(night, 0, "list").stdout.splitlines()]
    synced, published = set(), []
    for step in steps:
        if step[0] == "fsync":
            synced.add(step[1])
        elif step[0] == "os.rename":
            assert step[1] in synced, step
            if "staging" not in step[2]:
                published.append(step[2])
            synced.discard(inode)
    assert published == [
        "scores.parquet.quarantine.parquet",
        "scores.parquet.summary.json",
        "scores.parquet",
    ]
    assert inode in synced


def test_i10_stopped_and_continued(night):
    process = start_engine(night)
    for _ in range(5):
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        process.send_signal(signal.SIGCONT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 0, words
    assert night.outputs() == night.undisturbed
