"""The engine as a process: signals, streams that take nothing, what is loaded, and its surroundings."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from engine.cli.score import MAX_THREADS
from tests.helpers import BUNDLE, invoke, read_summary, run, unread_stream, write_table

FIT_TIME_PACKAGES = ("lightgbm", "sklearn", "onnx", "skl2onnx", "onnxmltools", "pandas", "scipy")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /proc to see a process wait")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_and_removes_staging(users, tmp_path, number, code):
    out = tmp_path / "s.parquet"
    command = [str(Path(sys.executable).parent / "engine"), "score", "-", "--out", str(out)]
    with subprocess.Popen(
        [*command, "--bundle", str(BUNDLE)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        process.stdin.write("user_id")
        process.stdin.flush()
        while not _waits_for_input(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
    assert process.returncode == code, words
    assert "Traceback" not in words
    assert read_summary(out)["published"] is False
    assert not list(tmp_path.glob(".s.parquet.staging*"))


INTERRUPTED = """
import os, signal
from engine.cli.entry import main
from engine.interruption import signals_noted

def interrupted(*_):
    import polars as pl
    ctrl_c = lambda frame: os.kill(os.getpid(), signal.SIGINT) or frame
    pl.LazyFrame({"a": [1]}).map_batches(ctrl_c).sum().collect(engine="streaming")

with signals_noted():
    import engine.activate.audience
    engine.activate.audience.open_scores = interrupted
    main()
"""


def test_ctrl_c_that_polars_sees_first_is_an_interruption(users, scorer, tmp_path):
    scores = write_table(scorer.score(users.head(50)), tmp_path / "s.parquet")
    command = [sys.executable, "-c", INTERRUPTED, "audience", scores, "--out", tmp_path / "l.csv"]
    done = subprocess.run(command, capture_output=True, text=True)
    words = "engine: interrupted by SIGINT; nothing was published. Run again.\n"
    assert (done.returncode, done.stderr) == (130, words)
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


def _waits_for_input(pid):
    """Whether the bundle is loaded and a thread sleeps in read(2) on standard input."""
    calls = Path(f"/proc/{pid}/task").glob("*/syscall")
    try:
        return any(call.read_text().startswith("0 0x0 ") for call in calls)
    except OSError:
        return False


def test_a_signal_that_the_caller_ignores_stays_ignored(users_file, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "engine.pipeline.score", lambda *_a, **_o: seen.append(signal.getsignal(signal.SIGHUP))
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        invoke("score", users_file, "--out", tmp_path / "s.csv")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]


@pytest.mark.parametrize(
    ("statement", "unneeded"),
    [
        ("import engine.pipeline, engine.cli.main", {*FIT_TIME_PACKAGES, "training"}),
        ("from engine import load_bundle, score, ScoreOptions", {*FIT_TIME_PACKAGES, "training"}),
        # Help waits for no large package.
        ("import engine.cli.main, engine", {"polars", "onnxruntime", "numpy"}),
    ],
)
def test_no_package_is_loaded_that_is_not_needed(statement, unneeded):
    code = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & unneeded


needs_a_full_device = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /dev/full")


@needs_a_full_device
@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize("kind", ["gone", "full"])
def test_a_refusal_that_nobody_can_read_keeps_its_exit_code(users, tmp_path, kind, as_json):
    path = write_table(pl.concat([users[:10], users[:1]]), tmp_path / "users.csv")
    with unread_stream(kind) as stream:
        result = run("engine", "validate", path, *as_json, stdout=stream)
    assert result.returncode == 65
    assert result.stderr.startswith("engine: 1 of 11 rows (9.1%) cannot be scored")
    assert result.stderr.count("\n") == 1


@needs_a_full_device
@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("gone", 0, ""),
        ("full", 74, "engine: standard output: No space left on device. Fix it and run again.\n"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "verify", "--version"])
def test_a_result_that_nobody_can_read(command, kind, code, words):
    with unread_stream(kind) as stream:
        result = run("engine", command, stdout=stream)
    assert (result.returncode, result.stderr) == (code, words)


@needs_a_full_device
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "The scores of this run are at {out}; only the summary could not be shown."),
        (("--dry-run",), "Fix it and run again."),
    ],
)
def test_a_full_standard_output_tells_whether_the_scores_stand(users_file, tmp_path, args, words):
    out = tmp_path / "s.csv"
    with unread_stream("full") as stream:
        result = run(
            *("engine", "score", users_file, "--out", out, "--summary", "-", "--quiet"),
            *args,
            stdout=stream,
        )
    assert result.returncode == 74
    words = words.format(out=out)
    assert result.stderr == f"engine: standard output: No space left on device. {words}\n"
    assert out.exists() == (args == ())


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS still names a directory that is gone")
def test_a_working_directory_that_is_gone_is_named(tmp_path):
    (tmp_path / "gone").mkdir()
    engine = Path(sys.executable).parent / "engine"
    command = f"rmdir ../gone && {engine} score users.parquet --out s.parquet --bundle {BUNDLE}"
    found = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path / "gone", capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (
        74,
        "engine: the working directory is gone. Change to one that exists and run again.\n",
    )


@pytest.mark.parametrize(
    ("value", "program"),
    [
        *((value, ["engine", "validate", "u.csv"]) for value in ("0", "-1", "", "1.5", "9" * 20)),
        ("two", ["training", "rollback", "x"]),
    ],
)
def test_a_number_of_threads_that_polars_cannot_read_is_named(tmp_path, value, program):
    (tmp_path / "u.csv").write_text("user_id\na\n")
    found = run(*program, env={"POLARS_MAX_THREADS": value}, cwd=tmp_path)
    assert found.returncode == 78
    assert (
        f"POLARS_MAX_THREADS must be a whole number from 1 to 9999, found {value!r}" in found.stderr
    )
    assert found.stderr.count("\n") == 1
    assert run(*program[:2], "--help", env={"POLARS_MAX_THREADS": value}).returncode == 0


def test_as_many_threads_as_may_be_asked_for_start(users_file, tmp_path):
    out = tmp_path / "s.parquet"
    found = run("engine", "score", users_file, "--out", out, "--threads", MAX_THREADS)
    assert found.returncode == 0, found.stderr
    assert read_summary(out)["threads"] == MAX_THREADS
