"""Spark on this machine: checks that it can start, and opens a session for trials and tests."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UnavailableError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA_VERSION = 17


def local_session(cores: int) -> "SparkSession":
    """Open a Spark session on this machine, for trials and tests.

    Args:
        cores: Tasks that run in parallel.

    Raises:
        UnavailableError: PySpark or Java is missing.
    """
    check_installed()
    from pyspark.sql import SparkSession

    # This is the only way to set the workers' Python; the default is the first on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(2 * cores))
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )


def check_installed() -> None:
    """Check that Spark can start here.

    Raises:
        UnavailableError: PySpark or Java is missing, or Java is too old.
    """
    if find_spec("pyspark") is None:
        raise UnavailableError(
            "spark: pyspark is not installed. Install it: pip install 'shopnow-scoring[spark]'"
        )
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if java is None:
        raise UnavailableError(
            f"spark: no Java {'in JAVA_HOME ' + home if home else 'on the PATH'}; Spark needs Java "
            f"{JAVA_VERSION} or later. Install it, for instance: apt-get install "
            f"openjdk-{JAVA_VERSION}-jre-headless"
        )
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - Java itself
    version = re.search(r'version "(\d+)', answer)
    if version is None or int(version[1]) < JAVA_VERSION:
        raise UnavailableError(
            f"spark: {java} is not Java {JAVA_VERSION} or later; it says: {answer.strip()[:80]!r}. "
            "Install a later one, and set JAVA_HOME to it."
        )
