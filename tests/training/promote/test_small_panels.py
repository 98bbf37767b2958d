"""Weekly refits on a small panel: what a holdout cannot tell refuses nobody, what it can tell does."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from tests.fitted import LEAST
from tests.fitting import number, schema_of
from tests.helpers import write_table
from tests.weekly import FIRST
from training.pipeline import FitOptions, fit
from training.promote.gate import RefusedError
from training.promote.promotion import promote

CUSTOMERS = 2_500
WINDOW = 4
REFITS = 6
BEFORE = 30
FEATURES = ("recency", "orders", "spend", "tenure", "age", "visits")
PANEL = schema_of(*map(number, FEATURES), id="customer", snapshot="day", horizon_days=7)


@pytest.fixture(scope="module")
def weeks():
    """The same customers every week, of three kinds, with what they did until then."""
    rng = np.random.default_rng(0)
    kind, ago = rng.integers(0, 3, CUSTOMERS), np.arange(26)[:, None]
    rate = np.array([0.03, 0.12, 0.35])[kind] * rng.lognormal(0, 0.5, CUSTOMERS)
    basket = np.array([20, 45, 90])[kind] * rng.lognormal(0, 0.3, CUSTOMERS)
    age = np.array([60, 30, 45])[kind] + rng.normal(0, 4, CUSTOMERS)
    tenure = rng.integers(50, 1_500, CUSTOMERS)
    shape = (BEFORE + WINDOW + REFITS + 1, CUSTOMERS)
    bought = rng.random(shape) < 1 - np.exp(-rate)
    visits = rng.poisson(np.maximum(8 * rate, 0.2), shape)
    frames = []
    for week in range(WINDOW + REFITS + 1):
        now = BEFORE + week
        past = bought[now - 26 : now][::-1]
        frames.append(
            pl.DataFrame(
                {
                    "customer": [f"c{n}" for n in range(CUSTOMERS)],
                    "day": [FIRST + timedelta(days=7 * week)] * CUSTOMERS,
                    "recency": 7 * np.where(past, ago, 26).min(axis=0)
                    + rng.integers(0, 7, CUSTOMERS),
                    "orders": past.sum(axis=0),
                    "spend": past.sum(axis=0) * basket,
                    "tenure": tenure + 7 * week,
                    "age": age,
                    "visits": visits[now - 4 : now].sum(axis=0),
                    "bought": bought[now].astype(np.int8),
                }
            )
        )
    return frames


def refit(users, folder, name, previous=None):
    """A bundle fitted to a window of the panel."""
    path = write_table(pl.concat(users), folder / f"{name}.parquet")
    fit([str(path)], FitOptions(PANEL, effort=LEAST, previous=previous), folder / name)
    return folder / name


@pytest.fixture(scope="module")
def followed(weeks, tmp_path_factory):
    """What was measured of each refit, one after another; None if refused."""
    folder = tmp_path_factory.mktemp("panel")
    root = folder / "root"
    promote(refit(weeks[:WINDOW], folder, "first"), root)
    reports = []
    for week in range(1, REFITS + 1):
        candidate = refit(weeks[week : week + WINDOW], folder, f"week {week}", root)
        later = write_table(weeks[week + WINDOW], folder / "later.parquet")
        try:
            reports.append(promote(candidate, root, [str(later)]).report)
        except RefusedError:
            reports.append(None)
    return reports


@pytest.fixture(scope="module")
def champion(weeks, tmp_path_factory):
    """A folder of versions with a bundle fitted to the last weeks but one."""
    folder = tmp_path_factory.mktemp("champion")
    promote(refit(weeks[-WINDOW - 1 : -1], folder, "honest"), folder / "root")
    return folder / "root"


def test_honest_refits_are_promoted(followed):
    assert sum(report is not None for report in followed) >= REFITS - 1
    # The holdouts are too small for every bound, and the reports say so.
    assert any(report["undecided"] for report in followed if report)


def test_labels_of_which_half_are_dealt_out_anew_are_refused(weeks, champion, tmp_path):
    rng = np.random.default_rng(1)
    dealt = [
        users.with_columns(
            bought=pl.when(pl.Series(rng.random(CUSTOMERS) < 0.5))
            .then(pl.Series(rng.permutation(users["bought"].to_numpy())))
            .otherwise("bought")
        )
        for users in weeks[-WINDOW - 1 : -1]
    ]
    candidate = refit(dealt, tmp_path, "dealt", champion)
    later = write_table(weeks[-1], tmp_path / "later.parquet")
    with pytest.raises(RefusedError):
        promote(candidate, champion, [str(later)])


def test_labels_of_an_earlier_week_are_refused(weeks, champion, tmp_path):
    stale = [
        users.with_columns(before["bought"])
        for before, users in zip(weeks[-WINDOW - 4 : -4], weeks[-WINDOW - 1 : -1], strict=True)
    ]
    candidate = refit(stale, tmp_path, "stale", champion)
    later = write_table(weeks[-1], tmp_path / "later.parquet")
    with pytest.raises(RefusedError):
        promote(candidate, champion, [str(later)])
