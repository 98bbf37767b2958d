"""Too little memory, too few files, nobody who listens: faults.md, part G."""

import io
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from engine.cli.main import main as run_engine
from engine.model.threads import available_cores
from engine.resources import ADDRESS_SPACE_BYTES, ARENA_BYTES, ARENAS_PER_CORE, MIB, needed_threads
from tests.faults.nights import (
    ENGINE,
    check_next_run,
    check_refused,
    check_words,
    engine,
    score_again,
    waiting_engine,
)
from tests.helpers import assert_prompt, read_summary
from training.cli import main as training

CASES = {
    "G01": "too little memory (RLIMIT_AS) or too few threads: 71 at once in every command, the earlier scores are kept",
    "G02": "killed by the system for memory: like kill -9, the earlier scores are kept",
    "G03": "a CPU quota: no more threads than the container's quota allows cores",
    "G04": "2 threads, 64 threads and other chunks: the same bytes",
    "G05": "few file descriptors (RLIMIT_NOFILE) and 100 inputs: works; too few for any run: 71",
    "G06": "the reader of standard output or error is gone: published, no traceback",
    "G07": "the scheduler's time limit: 143, like SIGTERM",
    "G08": "an input without a valid row: 65, one line, however many rows",
    "G09": "standard error full or closed: published; one log line per chunk, not per row",
    "G10": "memory (RLIMIT_AS) runs out in the middle of a run: 71 in words, the earlier scores are kept; signals and kill -9 end a run with such a limit as any other",
}


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not keep to RLIMIT_AS")
@pytest.mark.parametrize("megabytes", [200, 400, 800, 1_600])
def test_g01_a_limit_of_memory(night, megabytes, run_seconds):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20,) * 2)

    done = engine(night, preexec_fn=limit, timeout=max(5, 10 * run_seconds))
    # What is needed depends on the cores.
    assert done.returncode in ((71,) if megabytes < 700 else (0, 71)), done.stderr
    if done.returncode == 71:
        assert "MiB of address space allowed, at least" in done.stderr
        assert "ulimit -v" in done.stderr
    assert night.outputs() == (night.undisturbed if done.returncode == 0 else night.before)
    check_next_run(night)


COMMANDS = (
    *("score users.parquet --out s.parquet", "validate users.parquet", "inspect", "verify"),
    *("explain users.parquet --user 1", "drift users.parquet"),
    *("simulate --out t.parquet", "fit users.parquet --out c", "evaluate b users.parquet"),
    *("report b users.parquet --out r.html", "promote c --to b", "rollback b"),
)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not keep to RLIMIT_AS")
@pytest.mark.parametrize("command", COMMANDS)
def test_g01_every_command_names_too_little_memory(tmp_path, command):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20,) * 2)

    program = "training" if COMMANDS.index(command) > 5 else "engine"
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (71, []), done.stderr
    check_words(done.stderr)
    assert "out of memory" in done.stderr


LIMITED = ("sh", "-c", 'ulimit -v 3000000; exec "$@"', "sh")
"""Begins a command under a limit that is enough for a small run."""


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not keep to RLIMIT_AS")
def test_g10_memory_that_runs_out_in_a_run(night):
    # One chunk of users that are short in the file, and far more in memory than the limit leaves.
    many = pl.read_parquet(night.folder / "users.parquet")[:100].select(
        pl.all().repeat_by(15_000).explode()
    )
    many = many.with_columns(user_id=pl.int_range(pl.len(), dtype=pl.Int32).cast(pl.String))
    users = night.folder / "users.parquet"
    few = users.read_bytes()
    many.write_parquet(users, row_group_size=many.height)
    least = ADDRESS_SPACE_BYTES + ARENA_BYTES * min(
        needed_threads(None), ARENAS_PER_CORE * (os.cpu_count() or 1)
    )

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (least + MIB,) * 2)

    done = engine(night, "--chunk-rows", str(many.height), preexec_fn=limit)
    assert done.returncode == 71, done.stderr
    assert done.stderr.splitlines()[-1].startswith("engine: out of memory")
    assert night.outputs() == night.before
    users.write_bytes(few)
    check_next_run(night)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not keep to RLIMIT_AS")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_g10_a_signal_ends_a_run_with_a_limit(night, number, hangup):
    process = waiting_engine(night, *LIMITED, ENGINE)
    began = time.monotonic()
    process.send_signal(number)
    process.wait(60)
    process.communicate()
    assert_prompt(began)
    assert process.returncode == 128 + number
    assert night.outputs() == night.before


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not keep to RLIMIT_AS")
def test_g10_killed_with_a_limit_nothing_goes_on(night):
    process = waiting_engine(night, *LIMITED, ENGINE)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert night.outputs() == night.before
    check_next_run(night)


@pytest.mark.parametrize("allowed", [0, 1, 5])
@pytest.mark.parametrize("command", COMMANDS)
def test_g01_every_command_names_too_few_threads(tmp_path, monkeypatch, capsys, command, allowed):
    """The system counts threads by user, but not those of root: here Python refuses them."""
    monkeypatch.chdir(tmp_path)
    started = itertools.count()
    begin = threading.Thread.start

    def start(thread):
        if next(started) >= allowed:
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    program = training if COMMANDS.index(command) > 5 else run_engine
    with pytest.raises(SystemExit) as end:
        program(command.split())
    assert (end.value.code, list(tmp_path.iterdir())) == (71, [])
    assert "too few processes and threads are allowed" in capsys.readouterr().err


@pytest.mark.parametrize("files", [5, 6])
def test_g05_too_few_descriptors(night, files):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    done = engine(night, preexec_fn=limit)
    assert done.returncode in (0, 71), done.stderr
    if done.returncode == 71:
        assert "too few open files are allowed (ulimit -n" in done.stderr
    assert night.outputs() == (night.undisturbed if done.returncode == 0 else night.before)
    check_next_run(night)


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("max 100000", None), ("99900000 100000", None)]
)
def test_g03_a_quota_of_the_container(tmp_path, quota, cores):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    unlimited = available_cores(tmp_path / "absent")
    assert available_cores(tmp_path / "cpu.max") == (cores or unlimited)


@pytest.mark.parametrize("chunk_rows", [1, 100, 399, 10_000])
@pytest.mark.parametrize("threads", [2, 64])
def test_g04_the_same_bytes_whatever_the_threads_and_chunks(night, threads, chunk_rows):
    score_again(night, threads=threads, chunk_rows=chunk_rows)
    assert night.outputs() == night.undisturbed


def test_g05_few_open_files(night):
    folder = night.folder / "users"
    folder.mkdir()
    users = pl.read_parquet(night.folder / "users.parquet")
    for n in range(100):
        users[n * 4 : n * 4 + 4].write_parquet(folder / f"{n:03}.parquet")

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    (night.folder / "users.parquet").unlink()
    folder.rename(night.folder / "users.parquet")
    done = engine(night, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    scores = [
        pl.read_parquet(io.BytesIO(n["scores.parquet"]))
        for n in (night.outputs(), night.undisturbed)
    ]
    assert scores[0].equals(scores[1])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_g06_nobody_reads(night, stream):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = engine(night, "--summary", "-", "-v", **{stream: write_end})
    os.close(write_end)
    assert done.returncode == 0
    check_words(done.stderr or "")
    assert night.outputs() == night.undisturbed
    assert read_summary(night.out)["published"] is True


@pytest.mark.parametrize("rows", [400, 40_000])
def test_g08_no_row_can_be_scored(night, rows):
    users = pl.read_parquet(night.folder / "users.parquet").with_columns(
        *(
            pl.lit(-1).alias(name)
            for name in ("sessions_last_7d", "pages_viewed", "avg_order_value")
        )
    )
    pl.concat([users] * (rows // 400)).write_parquet(night.folder / "users.parquet")
    done = engine(night)
    check_refused(night, done, 65)
    assert len(done.stderr) < 1_000
    assert done.stderr.count("\n") == 1


def test_g09_standard_error_is_full(night):
    with Path("/dev/full").open("w") as full:
        done = engine(night, "-v", stderr=full)
    assert done.returncode == 0
    assert night.outputs() == night.undisturbed


@pytest.mark.parametrize("code", [0, 73])
def test_g09_standard_error_is_closed(night, code):
    """The next file that is opened would otherwise be standard error, and take its words."""
    done = engine(
        night,
        *("--if-exists", "replace" if code == 0 else "fail"),
        *("-v", "--log-format", "json"),
        stderr=None,
        preexec_fn=lambda: os.close(2),
    )
    assert done.returncode == code
    assert night.outputs() == (night.undisturbed if code == 0 else night.before)


def test_g09_words_grow_with_chunks_not_with_rows(night):
    lines = engine(night, "-v").stderr.splitlines()
    assert len(lines) < 20
    assert sum(line.endswith("rows done") for line in lines) == 4
