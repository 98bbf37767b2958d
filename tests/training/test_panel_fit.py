"""Fits to users who live on: what is known of tomorrow stays out, or is found."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.bundle.schema import Feature, default_schema_path, load_schema
from engine.errors import InputError
from tests.fitted import LEAST
from tests.simulated import best_auc
from training.data.dataset import load_dataset
from training.data.split import split
from training.pipeline import FitOptions, fit
from training.simulate import SimulateOptions, panel, simulate

ROWS = 1_500
WEEKS = 8
LAST = date(2026, 11, 22)
SHOPNOW = load_schema(default_schema_path())


@pytest.fixture(scope="module")
def users():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel, "BLOCK_USERS", ROWS)
        yield pl.concat(simulate(SimulateOptions(rows=ROWS, weeks=WEEKS + 1, seed=3, truth=True)))


def orders_tomorrow(users: pl.DataFrame) -> np.ndarray:
    """Whether a user orders in the next 7 days, as the snapshot of the next week knows it."""
    later = users.select(
        "user_id",
        pl.col("snapshot_date") - timedelta(days=7),
        tomorrow=(pl.col("days_since_last_purchase") < 7).fill_null(value=False),
    )
    found = users.join(later, on=["user_id", "snapshot_date"], how="left", maintain_order="left")
    return found["tomorrow"].fill_null(value=False).to_numpy().astype(np.float64)


def fitted(users: pl.DataFrame, folder, **leaks: np.ndarray):
    """A bundle of the weeks whose next week is known, with further features."""
    table = folder / "users.parquet"
    users.with_columns(**{name: pl.Series(values) for name, values in leaks.items()}).filter(
        pl.col("snapshot_date") < LAST
    ).write_parquet(table)
    features = (*SHOPNOW.features, *(Feature(name, "numeric") for name in leaks))
    options = FitOptions(replace(SHOPNOW, features=features), seed=3, effort=LEAST)
    return fit([str(table)], options, folder / "bundle").evaluation


@pytest.mark.parametrize(("horizon_days", "left_out"), [(7, 0), (14, 2 * ROWS)])
def test_no_part_knows_the_orders_that_another_learns_from(users, tmp_path, horizon_days, left_out):
    users.write_parquet(tmp_path / "users.parquet")
    schema = replace(SHOPNOW, horizon_days=horizon_days)
    dataset = load_dataset([str(tmp_path / "users.parquet")], schema)
    parts = split(dataset)
    train, validation, calibration, test = (dataset.snapshots.gather(r) for r in parts.rows)
    mature = timedelta(days=horizon_days)
    assert train.max() + mature <= validation.min()
    assert validation.max() + mature <= min(calibration.min(), test.min())
    calibrators = set(dataset.ids.gather(parts.calibration))
    assert not calibrators & set(dataset.ids.gather(parts.test))
    assert parts.description["rows_in_gaps"] == left_out


def test_labels_that_are_not_known_yet_are_refused(users, tmp_path):
    unknown = pl.when(pl.col("snapshot_date") == LAST).then(None).otherwise("purchased_next_7d")
    users.with_columns(purchased_next_7d=unknown).write_parquet(tmp_path / "users.parquet")
    with pytest.raises(InputError, match="1,500 rows of 13,500 .* not over yet"):
        load_dataset([str(tmp_path / "users.parquet")], SHOPNOW)


def test_an_honest_panel_gives_no_reason_to_suspect_a_leak(users, tmp_path):
    found = fitted(users, tmp_path)
    assert found.fit.training["split"]["kind"] == "time"
    assert found.fit.training["users"] < 1.15 * ROWS
    assert found.fit.leakage["reasons"] == []
    tested = users.filter(
        pl.col("snapshot_date").cast(pl.String) >= found.fit.training["split"]["first_test_date"],
        pl.col("snapshot_date") < LAST,
    )
    best = best_auc(tested["true_probability"].to_numpy())
    assert best - 0.04 < found.metrics["roc_auc"] < best + 0.02


def test_a_feature_that_knows_the_next_week_is_named(users, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.3, users.height)
    found = fitted(users, tmp_path, soon=orders_tomorrow(users) + noise)
    (reason,) = found.fit.leakage["reasons"]
    assert "soon alone reaches a ROC-AUC of 0.99" in reason


def test_features_that_know_the_next_week_together_are_noticed(users, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1.0, (5, users.height))
    leaks = {f"hint_{n}": orders_tomorrow(users) + noise[n] for n in range(5)}
    found = fitted(users, tmp_path, **leaks)
    (caution,) = found.fit.leakage["cautions"]
    assert "several may know a part of the outcome" in caution
