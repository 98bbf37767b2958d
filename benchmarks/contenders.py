"""The commands that are timed against one another, each a process of its own."""

import json
import subprocess
import sys
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


# NOTE: on Linux a child starts with the peak memory of the process that forks it: so a process that
# holds nothing forks the command, and says what the operating system says of it.
LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def measure(command: list[str], folder: Path = ROOT) -> Usage:
    """Run a command in a folder and wait for it; a failure stops the benchmark with what it said."""
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command], cwd=folder, capture_output=True, text=True
    )
    code, wall, cpu, peak = json.loads(launched.stdout.splitlines()[-1])
    if code:
        raise RuntimeError(f"{command}: exit {code}: {launched.stderr}")
    return Usage(wall, cpu, peak * RSS_UNIT_BYTES)


def engine(users: Path, out: Path, *options: str) -> list[str]:
    """This engine, as the nightly job calls it."""
    command = [str(BIN / "engine"), "score", str(users), "--out", str(out)]
    return [*command, "--bundle", str(BUNDLE), "--if-exists", "replace", "--quiet", *options]


def obvious(users: Path, out: Path, *wanted: str) -> list[str]:
    """The native libraries, as one would write it by hand; `drivers` adds them."""
    script = str(ROOT / "benchmarks" / "obvious.py")
    return [sys.executable, script, str(users), str(out), *wanted]


def floor(users: Path, out: Path) -> list[str]:
    """Reads the users and writes as many rows without a model: no contender can be faster."""
    code = (
        "import sys, polars as pl, onnxruntime\n"
        "users = pl.read_parquet(sys.argv[1])\n"
        "keys = users.select('user_id', 'snapshot_date', purchase_probability=pl.lit(0.18))\n"
        "keys.write_parquet(sys.argv[2])\n"
    )
    return [sys.executable, "-c", code, str(users), str(out)]
