"""The truth of simulated users, and how season, trend and drift move them."""

from datetime import date
from itertools import combinations_with_replacement

import numpy as np
import polars as pl
import pytest

from tests.simulated import CONSISTENT, best_auc, best_f1, draw
from training.simulate import (
    true_probability,
)
from training.simulate.climate import DEFAULT_DATE, climate
from training.simulate.columns import FEATURES
from training.simulate.history import WINDOWS

# One draw of 240,000 users differs from the population by about 0.0006 (prevalence), 0.0003 (AUC).
NOISE = 4 * 0.0006

USELESS = [
    "searches_last_30d",
    "avg_items_per_order",
    "sms_click_rate",
    "ad_clicks_last_30d",
    "age_band",
    "preferred_language",
    "weekend_activity_ratio",
    "evening_session_share",
]


def level_codes(column: pl.Series, bins: int) -> np.ndarray:
    """0 for missing, then levels or, for many-valued numbers, quantile bins."""
    if column.dtype == pl.String:
        return column.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    x = column.cast(pl.Float64).to_numpy()
    levels = np.unique(x[~np.isnan(x)])
    if len(levels) > bins:
        levels = np.unique(np.nanquantile(x, np.arange(bins) / bins))
    return np.where(np.isnan(x), 0, np.searchsorted(levels, x, side="right"))


def interaction_share(frame: pl.DataFrame, bins: int = 60) -> float:
    """Share of the variance of the log-odds left over by the best additive fit.

    Least squares on the one-hot levels of all 38 features, by normal equations: exact, no iteration.
    """
    codes = [level_codes(frame[name], bins) for name in FEATURES]
    sizes = [int(code.max()) + 1 for code in codes]
    ends = np.cumsum(sizes)
    spans = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    p = frame["true_probability"].to_numpy()
    y = np.log(p / (1 - p))
    y = y - y.mean()
    gram = np.zeros((ends[-1], ends[-1]))
    for i, j in combinations_with_replacement(range(len(codes)), 2):
        pairs = np.bincount(codes[i] * sizes[j] + codes[j], minlength=sizes[i] * sizes[j])
        gram[spans[i], spans[j]] = pairs.reshape(sizes[i], sizes[j])
        gram[spans[j], spans[i]] = gram[spans[i], spans[j]].T
    sums = np.concatenate(
        [np.bincount(c, weights=y, minlength=k) for c, k in zip(codes, sizes, strict=True)]
    )
    effects = np.linalg.solve(gram + 1e-3 * np.eye(len(gram)), sums)
    fit = sum(effects[span][code] for span, code in zip(spans, codes, strict=True))
    return float((y - fit).var() / y.var())


@pytest.fixture(scope="module")
def users() -> pl.DataFrame:
    return draw()


@pytest.fixture(scope="module")
def few() -> pl.DataFrame:
    return draw(rows=20_000, seed=3)


# The truth


def test_figures_of_one_draw(users):
    p = users["true_probability"].to_numpy()
    assert p.mean() == pytest.approx(0.18, abs=0.001 + NOISE)
    assert 0.855 <= best_auc(p) <= 0.865
    assert best_f1(p) >= 0.58
    assert 0.05 <= interaction_share(users) <= 0.10


def test_log_odds_are_skewed_to_the_right(users):
    p = users["true_probability"].to_numpy()
    y = np.log(p / (1 - p))
    assert ((y - y.mean()) ** 3).mean() / y.std() ** 3 > 0.5


def test_truth_is_recomputed_from_parquet(few, tmp_path):
    few.write_parquet(tmp_path / "users.parquet")
    read = pl.read_parquet(tmp_path / "users.parquet")
    assert np.array_equal(true_probability(read), few["true_probability"].to_numpy())


@pytest.mark.parametrize("overrides", [None, FEATURES], ids=["guessed types", "given types"])
def test_truth_is_recomputed_from_csv(few, tmp_path, overrides):
    few.write_csv(tmp_path / "users.csv")
    read = pl.read_csv(tmp_path / "users.csv", schema_overrides=overrides, infer_schema_length=None)
    assert np.array_equal(true_probability(read), few["true_probability"].to_numpy())
    assert read["true_probability"].equals(few["true_probability"])


def test_truth_needs_no_more_than_the_features_in_any_order(few):
    shuffled = few.sample(fraction=0.37, shuffle=True, seed=1)
    expected = shuffled["true_probability"].to_numpy()
    assert np.array_equal(true_probability(shuffled.select(sorted(FEATURES))), expected)


def test_nan_and_empty_text_are_missing_to_the_truth(few):
    rewritten = few.with_columns(
        pl.col(pl.Float32).fill_null(np.nan), pl.col(pl.String).fill_null("")
    )
    assert np.array_equal(true_probability(rewritten), few["true_probability"].to_numpy())


def test_useless_features_have_no_effect(few):
    other = few.with_columns(pl.col(name).reverse() for name in USELESS)
    assert np.array_equal(true_probability(other), few["true_probability"].to_numpy())


@pytest.mark.parametrize("name", ["email_open_rate", "loyalty_tier", "account_age_days"])
def test_a_missing_value_has_an_effect_of_its_own(few, name):
    emptied = few.with_columns(pl.lit(None, dtype=few[name].dtype).alias(name))
    changed = true_probability(emptied) != few["true_probability"].to_numpy()
    assert (changed & few[name].is_not_null().to_numpy()).mean() > 0.5


def test_label_agrees_with_the_truth_in_every_decile(users):
    order = np.argsort(users["true_probability"].to_numpy())
    label, p = users[order].select("purchased_next_7d", "true_probability").to_numpy().T
    for seen, told in zip(np.split(label, 10), np.split(p, 10), strict=True):
        noise = np.sqrt((told * (1 - told)).mean() / len(told))
        assert seen.mean() == pytest.approx(told.mean(), abs=4 * noise)


# Season, trend and drift


def test_climate_is_neutral_at_the_default_date():
    shifts = climate(DEFAULT_DATE, 0.0, WINDOWS)
    assert (*shifts.sessions, shifts.cart, shifts.coupon, shifts.app) == (0.0,) * 8


@pytest.mark.parametrize(
    "options", [{"drift": 1.0}, {"as_of": date(2026, 7, 1)}, {"as_of": date(2028, 2, 29)}]
)
def test_season_and_drift_move_features_but_not_the_truth(few, options):
    moved = draw(rows=20_000, seed=3, **options)
    assert not moved.select(*FEATURES).equals(few.select(*FEATURES))
    assert np.array_equal(true_probability(moved), moved["true_probability"].to_numpy())


def test_another_date_shows_the_same_people(few):
    moved = draw(rows=20_000, seed=3, as_of=date(2026, 11, 29))
    same = moved.select(
        (pl.col(name).eq_missing(few[name])).mean().alias(name)
        for name in ("country", "age_band", "account_age_days", "email_open_rate", "loyalty_tier")
    )
    shares = same.row(0, named=True)
    assert min(shares["country"], shares["age_band"], shares["email_open_rate"]) == 1
    # A tier follows from what was spent, which is drawn anew.
    assert 0.5 < shares["loyalty_tier"] < 1
    assert not moved["purchased_next_7d"].equals(few["purchased_next_7d"])


def test_drift_is_clearly_visible(few):
    moved = draw(rows=20_000, seed=3, drift=1.0)
    apps = pl.col("device_type").is_in(["ios_app", "android_app"]).mean()
    assert moved["sessions_last_7d"].mean() < 0.8 * few["sessions_last_7d"].mean()
    assert moved["coupon_redemptions"].sum() > 1.2 * few["coupon_redemptions"].sum()
    assert moved.select(apps).item() > few.select(apps).item() + 0.15


def test_summer_is_mildly_quieter_than_november(few):
    summer = draw(rows=20_000, seed=3, as_of=date(2026, 7, 1))
    ratio = summer["sessions_last_30d"].mean() / few["sessions_last_30d"].mean()
    assert 0.7 < ratio < 0.95
    assert summer["snapshot_date"].unique().to_list() == [date(2026, 7, 1)]


@pytest.mark.parametrize("options", [{"drift": 1.0}, {"as_of": date(2026, 7, 1)}])
def test_features_agree_also_when_moved(options):
    moved = draw(rows=20_000, seed=3, **options)
    agree = moved.select(
        rule.fill_null(value=True).all().alias(name) for name, rule in CONSISTENT.items()
    )
    assert [name for name in CONSISTENT if not agree[name].item()] == []


@pytest.mark.slow
def test_figures_of_the_docstring_over_ten_seeds():
    frames = [draw(seed=seed) for seed in range(10)]
    p = np.concatenate([frame["true_probability"].to_numpy() for frame in frames])
    assert p.mean() == pytest.approx(0.1800, abs=0.0005)
    assert best_auc(p) == pytest.approx(0.8600, abs=0.0005)
    assert best_f1(p) == pytest.approx(0.593, abs=0.001)
    shares = [interaction_share(frame) for frame in frames[:3]]
    assert shares == pytest.approx([0.078, 0.079, 0.078], abs=0.001)
