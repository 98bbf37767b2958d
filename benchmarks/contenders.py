"""The commands that are timed against one another, each a process of its own."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "onnx_models" / "shopnow"
BIN = Path(sys.executable).parent
ROWS = 240_000
# getrusage counts in kilobytes on Linux and in bytes on macOS.
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What one finished process took, by the operating system's own account."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure(command: list[str]) -> Usage:
    """Run a command and wait for it; a failure stops the benchmark with what it said."""
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        words = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit {process.returncode}: {words}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT_BYTES)


def engine(users: Path, out: Path, *options: str) -> list[str]:
    """This engine, as the nightly job calls it."""
    command = [str(BIN / "engine"), "score", str(users), "--out", str(out)]
    return [*command, "--bundle", str(BUNDLE), "--if-exists", "replace", "--quiet", *options]


def obvious(users: Path, out: Path) -> list[str]:
    """The native libraries, as one would write it by hand."""
    return [sys.executable, str(ROOT / "benchmarks" / "obvious.py"), str(users), str(out)]


def floor(users: Path, out: Path) -> list[str]:
    """Reads the users and writes as many rows without a model: no contender can be faster."""
    code = (
        "import sys, polars as pl, onnxruntime\n"
        "users = pl.read_parquet(sys.argv[1])\n"
        "keys = users.select('user_id', 'snapshot_date', purchase_probability=pl.lit(0.18))\n"
        "keys.write_parquet(sys.argv[2])\n"
    )
    return [sys.executable, "-c", code, str(users), str(out)]
