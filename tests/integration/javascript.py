"""Node, npm and the packages that lock files of npm name."""

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


def install(folder: Path) -> None:
    """What the lock file of a folder names, once for each state of that file."""
    with (folder / "package-lock.json").open() as lock:
        # Two files of tests may come at once, and npm begins by removing what is there.
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = run("make", "--silent", folder.relative_to(ROOT) / "node_modules")
    assert made.returncode == 0, made.stderr


def run(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=300
    )
