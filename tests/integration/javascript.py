"""Node, npm and the packages that the examples name in their lock files."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers import BUNDLE, ROOT

EXAMPLES = ROOT / "examples"
needs_npm = pytest.mark.skipif(
    None in (shutil.which("node"), shutil.which("npm")),
    reason="needs Node and npm: apt-get install nodejs npm",
)


def bundle_folder() -> Path:
    """The version in force of the committed bundle."""
    return BUNDLE / (BUNDLE / "CURRENT").read_text().split()[0]


def install(example: str) -> None:
    """What the lock file of an example names, once for each state of that file."""
    with (EXAMPLES / example / "package-lock.json").open() as lock:
        # Two files of tests may come at once, and npm begins by removing what is there.
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = run("make", "--silent", f"examples/{example}/node_modules")
    assert made.returncode == 0, made.stderr


def run(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=300
    )
