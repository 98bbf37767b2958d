"""Small things that several tests build or run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl

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
        ".arrow": pl.read_ipc,
        ".ndjson": pl.read_ndjson,
    }
    return readers[path.suffix](path)
