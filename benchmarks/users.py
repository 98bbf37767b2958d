"""The users that a measurement reads: a file that was given, or simulated ones."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders import ROWS

SIMULATE = "import sys; from training.cli import main; main(sys.argv[1:])"


@contextmanager
def given_or_simulated(users: Path | None) -> Iterator[Path]:
    """The file itself, or one of simulated users that goes when the block ends.

    Another process simulates them, so that this one has not imported the libraries before.
    """
    if users is not None:
        yield users
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.parquet"
        command = ["simulate", "--rows", str(ROWS), "--no-label", "--out", str(path)]
        subprocess.run([sys.executable, "-c", SIMULATE, *command], check=True)
        yield path
