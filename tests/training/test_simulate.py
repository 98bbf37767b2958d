import hashlib
import io
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tests.simulated import CONSISTENT, NEVER, SCHEMA, STRUCTURAL, draw, in_range
from training.simulate import (
    BLOCK_ROWS,
    SimulateOptions,
    output_schema,
    simulate,
)
from training.simulate.columns import FEATURES, MARKETING, PROFILE

ROOT = Path(__file__).parents[2]


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


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
    assert in_range(column, feature)
    if feature["kind"] == "categorical":
        assert column.drop_nulls().n_unique() == len(feature["values"])
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


# Without the training extra, and at full size


def test_simulate_needs_polars_and_numpy_only():
    code = "import sys, training.simulate as s; next(s.simulate(s.SimulateOptions(rows=1)));"
    code += "print([m for m in ('sklearn', 'scipy', 'lightgbm', 'onnx', 'pyarrow') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


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
