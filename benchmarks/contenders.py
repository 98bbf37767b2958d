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
FLOOR_COLUMNS = (
    *("user_id", "snapshot_date", "country", "device_type", "acquisition_channel", "loyalty_tier"),
    *("age_band", "preferred_language", "avg_session_duration", "cart_add_rate", "avg_order_value"),
    *("total_spend_last_365d", "email_open_rate", "sessions_last_7d", "orders_last_365d"),
    "account_age_days",
)
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
    """Reads every column of the users and writes sixteen, without a model: no contender can be faster.

    The sixteen are of the kinds that a score file has: the id, the date, texts that repeat, and numbers.
    """
    code = (
        "import sys, polars as pl, onnxruntime\n"
        "users = pl.read_parquet(sys.argv[1])\n"
        f"users.select({list(FLOOR_COLUMNS)}).write_parquet(sys.argv[2])\n"
    )
    return [sys.executable, "-c", code, str(users), str(out)]
