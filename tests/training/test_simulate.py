import hashlib
import io
import subprocess
import sys
from datetime import date
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.simulated import CONSISTENT, NEVER, SCHEMA, STRUCTURAL, best_auc, best_f1
from training.simulate import (
    BLOCK_ROWS,
    SimulateOptions,
    output_schema,
    simulate,
    true_probability,
)
from training.simulate.climate import DEFAULT_DATE, climate
from training.simulate.columns import FEATURES, MARKETING, PROFILE
from training.simulate.history import WINDOWS

ROOT = Path(__file__).parents[2]
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


def draw(**options) -> pl.DataFrame:
    return pl.concat(simulate(SimulateOptions(truth=True, **options)))


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


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


# Shape and reproducibility


def test_same_arguments_give_same_bytes():
    first, second = (parquet_bytes(draw(rows=70_000, drift=0.3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"rows": 2_000, "seed": 3},
            "587339795c085d07748f3ef8659e6c02a9b824f1734c6b19a50067622af22bbb",
        ),
        (
            {"rows": 2_000, "seed": 5, "drift": 0.7, "as_of": date(2027, 3, 1)},
            "74536e77bcd6b405405fb717a0c9ea6a2d7d82c9fb393f210e662e4d3a252351",
        ),
    ],
    ids=["plain", "moved"],
)
def test_users_stay_those_of_earlier_versions(options, expected):
    # Rounded, because two processors' exp may differ in the last bit.
    rounded = draw(**options).with_columns(pl.col(pl.Float32, pl.Float64).cast(pl.Float64).round(3))
    assert hashlib.sha256(rounded.write_csv().encode()).hexdigest() == expected


def test_another_seed_gives_other_users(users, few):
    assert not users.head(len(few)).equals(few)


def test_fewer_rows_are_a_prefix(users):
    assert draw(rows=61_234).equals(users.head(61_234))


def test_chunks_are_bounded():
    frames = simulate(SimulateOptions(rows=2 * BLOCK_ROWS + 5))
    assert [len(frame) for frame in frames] == [BLOCK_ROWS, BLOCK_ROWS, 5]


def test_chunks_are_made_when_asked_for():
    assert len(next(simulate(SimulateOptions(rows=24_000_000)))) == BLOCK_ROWS


def test_chunks_differ(users):
    values = users.select("avg_order_value", "account_age_days")
    assert not values.head(BLOCK_ROWS).equals(values.slice(BLOCK_ROWS, BLOCK_ROWS))


def test_no_rows_give_no_frames():
    assert list(simulate(SimulateOptions(rows=0))) == []


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("truth", [True, False])
def test_frame_has_the_announced_columns(label, truth):
    options = SimulateOptions(rows=10, label=label, truth=truth)
    (frame,) = simulate(options)
    assert frame.schema == pl.Schema(output_schema(options))
    assert ("purchased_next_7d" in frame.columns) == label
    assert ("true_probability" in frame.columns) == truth


def test_label_and_truth_columns_change_nothing_else(few):
    options = SimulateOptions(rows=20_000, seed=3, label=False)
    bare = pl.concat(simulate(options))
    assert bare.equals(few.select(bare.columns))


def test_features_stand_in_the_order_of_the_schema():
    assert list(FEATURES) == [feature["name"] for feature in SCHEMA["feature"]]


def test_user_ids_are_unique(users):
    assert users["user_id"].n_unique() == len(users)
    assert users["user_id"][0] == "U00000001"


# Ranges, missing values, consistency


@pytest.mark.parametrize("feature", SCHEMA["feature"], ids=lambda feature: feature["name"])
def test_values_are_in_range(users, feature):
    column = users[feature["name"]]
    if feature["kind"] == "numeric":
        assert column.min() >= feature["min"]
        assert column.max() <= feature["max"]
        assert column.dtype.is_integer() or not column.is_nan().any()
    else:
        assert set(column.drop_nulls().unique()) == set(feature["values"])
    if feature["missing"] == "never":
        assert column.null_count() == 0


@pytest.mark.parametrize("name", STRUCTURAL)
def test_structural_nulls_stand_where_the_quantity_does_not_exist(users, name):
    wrong = users.filter(pl.col(name).is_null() != STRUCTURAL[name])
    assert len(wrong) == 0
    assert 0.05 < users[name].null_count() / len(users) < 0.60


def test_other_fields_are_never_null(users):
    assert users.select(NEVER).null_count().sum_horizontal().item() == 0


def test_refused_consent_empties_all_marketing_fields(users):
    nulls = users.select(pl.col(name).is_null() for name in MARKETING)
    refused = nulls.select(pl.all_horizontal(pl.all())).to_series().mean()
    assert refused == pytest.approx(0.098, abs=0.003)
    for name in MARKETING:
        assert nulls[name].mean() - refused == pytest.approx(0.005 * 0.902, abs=0.001)


def test_guests_have_no_profile_at_all(users):
    missing = users.select(pl.sum_horizontal(pl.col(name).is_null() for name in PROFILE))
    assert set(missing.to_series().unique()) == {0, len(PROFILE)}
    assert users["country"].null_count() / len(users) == pytest.approx(0.04, abs=0.002)


@pytest.mark.parametrize("rule", CONSISTENT)
def test_features_agree(users, rule):
    assert users.select(CONSISTENT[rule].fill_null(value=True).all()).item()


# What the population is like


def test_many_users_are_inactive(users):
    assert 0.2 < (users["sessions_last_30d"] == 0).mean() < 0.4
    assert 0.2 < (users["orders_last_365d"] == 0).mean() < 0.4


@pytest.mark.parametrize("name", ["avg_order_value", "total_spend_last_365d"])
def test_money_is_heavy_tailed(users, name):
    assert users[name].quantile(0.999) > 15 * users[name].median()


def test_last_week_looks_like_the_next(users):
    assert 0.14 < (users["days_since_last_purchase"] < 7).fill_null(value=False).mean() < 0.19


def test_language_nearly_follows_from_country(users):
    pairs = users.drop_nulls("country").group_by("country", "preferred_language").len()
    main = pairs.group_by("country").agg(pl.col("len").max(), pl.col("len").sum().alias("all"))
    assert main["len"].sum() / main["all"].sum() > 0.9


def test_users_who_refund_more_also_buy_more(users):
    buyers = users.filter(pl.col("orders_last_365d") > 0)
    groups = buyers.group_by(pl.col("refund_rate") > 0).agg(
        pl.col("orders_last_365d", "purchased_next_7d").mean()
    )
    never, ever = groups.sort("refund_rate").drop("refund_rate").rows()
    assert ever[0] > 2 * never[0]
    assert ever[1] > 1.3 * never[1]


@pytest.mark.parametrize("orders", [2, 4, 8])
def test_refunders_buy_more_also_among_equal_order_counts(users, orders):
    buyers = users.filter(pl.col("orders_last_365d") == orders)
    p = pl.col("true_probability")
    ever, never = buyers.select(
        p.filter(pl.col("refund_rate") > 0).mean(),
        p.filter(pl.col("refund_rate") == 0).mean().alias("0"),
    ).row(0)
    assert ever > never + 0.02


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


# Without the training extra, and at full size


def test_simulate_needs_polars_and_numpy_only():
    code = "import sys, training.simulate as s; next(s.simulate(s.SimulateOptions(rows=1)));"
    code += "print([m for m in ('sklearn', 'scipy', 'lightgbm', 'onnx', 'pyarrow') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.slow
def test_figures_of_the_docstring_over_ten_seeds():
    frames = [draw(seed=seed) for seed in range(10)]
    p = np.concatenate([frame["true_probability"].to_numpy() for frame in frames])
    assert p.mean() == pytest.approx(0.1800, abs=0.0005)
    assert best_auc(p) == pytest.approx(0.8600, abs=0.0005)
    assert best_f1(p) == pytest.approx(0.593, abs=0.001)
    shares = [interaction_share(frame) for frame in frames[:3]]
    assert shares == pytest.approx([0.078, 0.079, 0.078], abs=0.001)


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_rows():
    def peak_kib(rows):
        code = "import resource, training.simulate as s\n"
        code += f"for frame in s.simulate(s.SimulateOptions(rows={rows})): pass\n"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
        )
        return int(run.stdout)

    assert peak_kib(20 * BLOCK_ROWS) < 1.2 * peak_kib(4 * BLOCK_ROWS)
