"""A night in which today's users are scored over the scores of yesterday."""

import shutil
import time
from contextlib import chdir

import polars as pl
import pytest

from engine import score
from tests.faults.nights import BUNDLE, OPTIONS, OUTPUTS, Night, engine


@pytest.fixture(scope="session")
def template(users, tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("yesterday", "today")]
    outputs = []
    for day, folder in enumerate(folders):
        rows = users[day * 400 : day * 400 + 400].with_row_index("n")
        bad = pl.col("n") < 3 + day
        rows = rows.with_columns(
            sessions_last_7d=pl.when(bad).then(-1).otherwise("sessions_last_7d")
        ).drop("n")
        rows.write_parquet(folder / "users.parquet")
        with chdir(folder):
            score(["users.parquet"], BUNDLE, "scores.parquet", OPTIONS)
        outputs.append({name: (folder / name).read_bytes() for name in OUTPUTS})
    shutil.copy(folders[1] / "users.parquet", folders[0] / "users.parquet")
    return Night(folders[0], *outputs)


@pytest.fixture
def night(template, tmp_path):
    shutil.copytree(template.folder, tmp_path / "night")
    return Night(tmp_path / "night", template.before, template.undisturbed)


@pytest.fixture(scope="session")
def run_seconds(template):
    """How long a run takes here and now."""
    started = time.monotonic()
    assert engine(template, "--dry-run").returncode == 0
    return time.monotonic() - started


@pytest.fixture(scope="session")
def few(users):
    return users[:30]


@pytest.fixture(scope="session")
def csv(few):
    return few.write_csv().encode()


@pytest.fixture(scope="session")
def expected(few, scorer):
    return scorer.score(few)
