"""What the benchmarks share: the users, and a folder for files."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.contenders import ROWS
from training.simulate import SimulateOptions, simulate


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="session")
def users(folder) -> Path:
    path = folder / "users.parquet"
    pl.concat(simulate(SimulateOptions(rows=ROWS, seed=8, label=False))).write_parquet(path)
    return path
