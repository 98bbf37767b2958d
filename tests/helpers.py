"""Small things that several tests build or run."""

import json
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl
from click.testing import CliRunner, Result

from engine.bundle.evaluation import Evaluation, read_evaluation
from engine.bundle.manifest import Manifest
from engine.bundle.open import open_bundle
from engine.cli.main import main

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "onnx_models" / "shopnow"


def run(
    program: str,
    *args: object,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[str] = subprocess.PIPE,
):
    """Run a console script as a user would; gives exit code, stdout and stderr."""
    command = [str(Path(sys.executable).parent / program), *map(str, args)]
    return subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd or ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )


def invoke(*args: object, env: dict[str, str] | None = None) -> Result:
    """Run a command of the engine within this process."""
    return CliRunner().invoke(main, list(map(str, args)), env=env)


def run_in_terminal(
    program: str, *args: object, env: dict[str, str] | None = None, columns: int = 80
) -> tuple[int, str]:
    """Run a console script on a terminal of its own; gives exit code and what is shown."""
    shown, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, columns))
    command = [str(Path(sys.executable).parent / program), *map(str, args)]
    variables = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **(env or {})}
    with subprocess.Popen(
        command, env=variables, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        with os.fdopen(shown, "rb", buffering=0) as stream:
            output = b"".join(iter(lambda: _read_terminal(stream), b""))
    return process.returncode, output.decode().replace("\r\n", "\n")


def _read_terminal(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(65_536)
    # NOTE: on Linux a terminal that nobody has open any more is an error, not an end.
    except OSError:
        return b""


@contextmanager
def unread_stream(kind: str) -> Iterator[IO[str]]:
    """A stream that takes nothing: the disk is "full", or the reader is "gone"."""
    if kind == "full":
        with Path("/dev/full").open("w") as full:
            yield full
    else:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            yield pipe


def both(folder: Path) -> tuple[Manifest, Evaluation]:
    """Manifest and evaluation of a bundle."""
    opened = open_bundle(folder)
    return opened.manifest, read_evaluation(opened)


def assert_prompt(began: float) -> None:
    """At most two seconds since then (by the monotonic clock), or six start-ups of the engine if busy."""
    took = time.monotonic() - began
    if took >= 2:
        began = time.monotonic()
        run("engine", "--version")
        assert took < 6 * (time.monotonic() - began)


def read_summary(out: Path) -> dict:
    return json.loads(out.with_name(f"{out.name}.summary.json").read_text())


def write_table(frame: pl.DataFrame, path: Path) -> Path:
    """Write a table in the format of the path's ending."""
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".gz":
        frame.write_csv(path, compression="gzip")
    elif path.suffix == ".arrow":
        frame.write_ipc(path)
    else:
        frame.write_ndjson(path)
    return path


def read_table(path: Path) -> pl.DataFrame:
    readers = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".gz": pl.read_csv,
        ".arrow": pl.read_ipc,
        ".ndjson": pl.read_ndjson,
    }
    return readers[path.suffix](path)


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, by its path there."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
