"""Runs that are killed, interrupted or halted: faults.md, part I."""

import signal
import sys
import time

import onnxruntime as ort
import pytest

from engine.errors import BundleError, InterruptedRunError
from tests.faults.nights import (
    ENGINE,
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
from tests.helpers import read_summary

CASES = {
    "I01": "kill -9 before every step that changes a file: old or new",
    "I02": "kill -9 at times spread over the run: old or new",
    "I03": "SIGTERM: 143, nothing left behind, the summary says 'interrupted'",
    "I04": "SIGINT: once 130 and clean, twice at once",
    "I05": "SIGHUP as SIGTERM",
    "I06": "every file is forced to disk before it is renamed, the directory after",
    "I07": "the next run needs no help, even one that fails puts back what was half published",
    "I08": "cannot arise: scoring makes no report; the one of a bundle is made before its manifest",
    "I09": "cannot arise: scores go to a file, no database is written",
    "I10": "stopped and continued: published",
}
STEPS = 60
MOMENTS = 200
STUCK = """
import time
from engine.cli.entry import main
from engine.outputs.staging import Staging
Staging.remove = lambda self: time.sleep(600)
main()
"""


def check_interrupted(night, process, code):
    _, words = process.communicate(timeout=60)
    assert process.returncode == code, words
    assert words == f"engine: interrupted by {NAMES[code]}; nothing was published. Run again.\n"
    assert night.outputs() == night.before
    assert not list(night.folder.glob(".*"))
    summary = read_summary(night.out)
    stated = summary["status"], summary["exit_code"], summary["stands"]
    assert stated == ("interrupted", code, "earlier run")
    check_next_run(night)


NAMES = {130: "SIGINT", 143: "SIGTERM"}


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
    with pytest.raises(BundleError, match="absent"):
        score_again(night, bundle=night.folder / "absent")
    assert night.outputs() in (night.before, night.undisturbed)
    assert read_summary(night.out)["exit_code"] == 78
    check_next_run(night)


@pytest.mark.parametrize("stood", [True, False])
def test_i07_the_places_of_a_killed_run_are_put_back_by_a_run_with_others(night, stood):
    other, elsewhere = night.folder / "other.parquet", ("--quarantine", "other.parquet")

    def begin():
        other.unlink(missing_ok=True)
        if stood:
            other.write_bytes(b"of yesterday")

    begin()
    steps = faulty_engine(night, 0, "list", *elsewhere).stdout.splitlines()
    begin()
    commit = next(n for n, step in enumerate(steps) if step.endswith(" scores.parquet"))
    faulty_engine(night, commit + 1, "kill", *elsewhere)
    assert other.read_bytes() != b"of yesterday"
    score_again(night)
    assert [path.read_bytes() for path in [other] if path.exists()] == [b"of yesterday"] * stood
    assert night.outputs() == night.undisturbed
    assert not list(night.folder.glob(".*"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"[[1, 2, 3]]", b"\xff"])
def test_i07_a_journal_that_nobody_wrote_stops_no_run(night, content):
    staging = night.folder / ".scores.parquet.staging-1"
    staging.mkdir()
    (staging / "scores.parquet").touch()
    (staging / "publishing.json").write_bytes(content)
    (night.folder / ".scores.parquet.staging-2").touch()
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
        pytest.param(signal.SIGHUP, 143, id="I05"),
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


@pytest.mark.parametrize("call", ["__init__", "run"])
def test_i03_a_signal_inside_onnx_runtime_is_no_fault_of_the_bundle(night, monkeypatch, call):
    def interrupted(self, *arguments, **named):
        raise InterruptedRunError(signal.SIGTERM)

    monkeypatch.setattr(ort.InferenceSession, call, interrupted)
    with pytest.raises(InterruptedRunError, match="interrupted by SIGTERM"):
        score_again(night)
    assert read_summary(night.out)["status"] == "interrupted"
    assert night.outputs() == night.before
