from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from tests.fitting import number, schema_of
from tests.helpers import BUNDLE, write_table
from training.data.dataset import load_dataset
from training.data.freshness import doubt
from training.data.scored import ScoredUsers

SCHEMA = schema_of(number("x"), snapshot="day", horizon_days=7)


@pytest.fixture
def manifest():
    return replace(open_bundle(BUNDLE).manifest, schema=SCHEMA)


@pytest.fixture
def fit():
    return record_of("2026-11-01", "2026-11-08")


def record_of(*snapshots, fingerprint="0"):
    """What the fit to users of these dates knows."""
    training = {"data_fingerprint": fingerprint, "snapshots": list(snapshots)}
    return replace(read_evaluation(open_bundle(BUNDLE)).fit, training=training)


@pytest.fixture
def users_of(tmp_path):
    """Users with these dates, or without any."""

    def loaded(*days):
        frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "bought": [0, 1, 0, 1]})
        if days:
            frame = frame.with_columns(day=pl.Series([date(2026, 11, d) for d in days]))
        return load_dataset([str(write_table(frame, tmp_path / "users.parquet"))], SCHEMA)

    return loaded


def words(dataset, manifest, fit):
    """The doubt on users who were not scored; "" if there is none."""
    found = doubt(ScoredUsers(dataset, np.zeros((4, 1), np.float32), None), manifest, fit)
    return found.words if found else ""


def test_the_users_of_training_are_recognised(manifest, users_of):
    dataset = users_of()
    found = words(dataset, manifest, record_of(fingerprint=dataset.fingerprint))
    assert f"the users that {manifest.bundle_id} was fitted to" in found


def test_users_of_the_days_of_training_are_counted(manifest, fit, users_of):
    found = words(users_of(8, 14, 15, 15), manifest, fit)
    assert found.startswith("2 rows of 4 are of 2026-11-08 to 2026-11-14; ")
    one_day = words(users_of(8, 8, 15, 15), manifest, fit)
    assert one_day.startswith("2 rows of 4 are of 2026-11-08; ")
    assert "fitted to users up to 2026-11-08, whose outcomes end 7 days later" in found


def test_later_users_and_users_without_a_date_need_no_caution(manifest, fit, users_of):
    assert words(users_of(15, 15, 22, 29), manifest, fit) == ""
    assert words(users_of(), manifest, fit) == ""
    assert words(users_of(1, 1, 1, 1), manifest, record_of()) == ""
