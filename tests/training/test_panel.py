import subprocess
import sys
import tracemalloc
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.errors import UsageError
from tests.helpers import ROOT
from tests.simulated import CONSISTENT, NEVER, SCHEMA, STRUCTURAL, best_auc, best_f1, in_range
from training.simulate import SimulateOptions, output_schema, panel, simulate, true_probability
from training.simulate.columns import MARKETING, PROFILE

ROWS = 6_000
WEEKS = 9
LAST = date(2026, 11, 22)
FIXED = ("country", "age_band", "preferred_language", "acquisition_channel")


def draw(**options) -> pl.DataFrame:
    return pl.concat(simulate(SimulateOptions(truth=True, **options)))


@pytest.fixture(scope="module")
def users():
    """Two blocks of users, smaller than usual, over nine weeks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel, "BLOCK_USERS", ROWS // 2)
        yield draw(rows=ROWS, weeks=WEEKS, seed=3)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks that soon reach their first date, for what holds of any population."""
    monkeypatch.setattr(panel, "BLOCK_USERS", 500)
    monkeypatch.setattr(panel, "SETTLING_WEEKS", 4)


@pytest.fixture(scope="module")
def pairs(users):
    """Each user with the same user a week later, whose columns end with `_then`."""
    before = users.with_columns(next_date=pl.col("snapshot_date") + timedelta(days=7))
    keys = {"left_on": ["user_id", "next_date"], "right_on": ["user_id", "snapshot_date"]}
    return before.join(users, **keys, suffix="_then")


def all_true(frame: pl.DataFrame, rule: pl.Expr) -> bool:
    return frame.height > 0 and frame.select(rule.fill_null(value=True).all()).item()


# Shape and reproducibility


def test_each_date_has_the_same_number_of_users(users):
    counts = users["snapshot_date"].value_counts(sort=False).sort("snapshot_date")
    dates = [LAST - timedelta(days=7 * back) for back in range(WEEKS)][::-1]
    assert counts.rows() == [(day, ROWS) for day in dates]
    assert users.schema == pl.Schema(output_schema(SimulateOptions(truth=True)))


def test_a_user_has_one_row_at_a_date(users):
    assert not users.select("user_id", "snapshot_date").is_duplicated().any()


def test_rows_come_by_block_of_users_then_date(users):
    expected = [day for _ in range(2) for day in sorted(set(users["snapshot_date"]))]
    assert users["snapshot_date"].gather_every(ROWS // 2).to_list() == expected


def test_same_arguments_give_the_same_panel(small_blocks):
    options = {"rows": 700, "weeks": 2, "drift": 0.3, "as_of": date(2027, 3, 7)}
    first = draw(**options)
    assert first.equals(draw(**options))
    assert not first.equals(draw(**options, seed=8))


def test_fewer_rows_are_the_first_users_of_each_date(small_blocks):
    many = draw(rows=800, weeks=2)
    few = draw(rows=600, weeks=2)
    first = many.with_row_index("place").with_columns(pl.col("place").rank().over("snapshot_date"))
    assert first.filter(pl.col("place") <= 600).drop("place").equals(few)


def test_label_and_truth_columns_change_nothing_else(small_blocks):
    options = {"rows": 500, "weeks": 2}
    bare = pl.concat(simulate(SimulateOptions(label=False, **options)))
    assert bare.columns == [*output_schema(SimulateOptions(label=False))]
    assert bare.equals(draw(**options).select(bare.columns))


def test_weeks_begin_in_the_years_of_the_trend():
    with pytest.raises(UsageError, match="1999-12-26 is outside 2000 to 2100"):
        SimulateOptions(as_of=date(2000, 1, 2), weeks=2)


# Ranges, missing values, consistency: at every date


@pytest.mark.parametrize("feature", SCHEMA["feature"], ids=lambda feature: feature["name"])
def test_values_are_in_range(users, feature):
    assert in_range(users[feature["name"]], feature)


def test_features_agree(users):
    agree = users.select(
        rule.fill_null(value=True).all().alias(name) for name, rule in CONSISTENT.items()
    )
    assert [name for name in CONSISTENT if not agree[name].item()] == []


def test_nulls_stand_where_the_quantity_does_not_exist(users):
    wrong = users.select(
        (pl.col(name).is_null() != rule).sum().alias(name) for name, rule in STRUCTURAL.items()
    )
    assert wrong.sum_horizontal().item() == 0
    assert users.select(NEVER).null_count().sum_horizontal().item() == 0


def test_consent_and_guests_empty_their_fields_together(users):
    profile = users.select(pl.sum_horizontal(pl.col(name).is_null() for name in PROFILE))
    assert set(profile.to_series().unique()) == {0, len(PROFILE)}
    refused = users.select(pl.all_horizontal(pl.col(name).is_null() for name in MARKETING))
    assert refused.to_series().mean() == pytest.approx(0.098, abs=0.015)


def test_truth_is_a_function_of_the_row(users):
    shuffled = users.sample(fraction=0.2, shuffle=True, seed=1)
    bare = shuffled.drop("user_id", "snapshot_date", "purchased_next_7d", "true_probability")
    assert np.array_equal(true_probability(bare), shuffled["true_probability"].to_numpy())


# The label of one week is the orders of the next


def test_a_user_with_the_label_orders_in_the_next_week_and_no_other_does(pairs):
    ordered = (pl.col("days_since_last_purchase_then") < 7).fill_null(value=False)
    assert all_true(pairs, ordered == (pl.col("purchased_next_7d") == 1))


def test_orders_are_counted(pairs):
    bought = pl.col("purchased_next_7d") == 1
    assert all_true(pairs.filter(bought), pl.col("orders_last_90d_then") >= 1)
    assert all_true(pairs.filter(bought), pl.col("sessions_last_7d_then") >= 1)
    others = pairs.filter(~bought)
    for name in ("orders_last_90d", "orders_last_365d", "coupon_redemptions"):
        assert all_true(others, pl.col(f"{name}_then") <= pl.col(name)), name
    assert all_true(
        others,
        pl.col("days_since_last_purchase_then") == pl.col("days_since_last_purchase") + 7,
    )


def test_users_do_not_leave_with_an_order_to_come(users):
    last = users.group_by("user_id").agg(
        pl.col("snapshot_date", "purchased_next_7d").sort_by("snapshot_date").last()
    )
    assert last.filter(pl.col("snapshot_date") < LAST)["purchased_next_7d"].sum() == 0


def test_label_agrees_with_the_truth(users):
    label, p = users.select("purchased_next_7d", "true_probability").to_numpy().T
    noise = np.sqrt((p * (1 - p)).mean() / len(p))
    assert label.mean() == pytest.approx(p.mean(), abs=4 * noise)


# Windows roll


def test_sessions_roll_on(pairs):
    new = pl.col("sessions_last_7d_then")
    assert all_true(pairs, pl.col("sessions_last_30d_then") <= pl.col("sessions_last_30d") + new)
    assert all_true(pairs, pl.col("sessions_last_30d_then") >= new)
    quiet = pairs.filter(new == 0)
    assert all_true(
        quiet,
        pl.col("days_since_last_session_then")
        == pl.min_horizontal(pl.col("days_since_last_session") + 7, 365),
    )
    for name in ("pages_viewed", "searches_last_30d", "wishlist_adds_last_30d"):
        assert all_true(quiet, pl.col(f"{name}_then") <= pl.col(name)), name


def test_sessions_of_four_weeks_are_within_those_of_30_days(users):
    weeks = users.sort("user_id", "snapshot_date").with_columns(
        four=pl.col("sessions_last_7d").rolling_sum(4).over("user_id"),
        five=pl.col("sessions_last_7d").rolling_sum(5).over("user_id"),
    )
    within = pl.col("sessions_last_30d").is_between(pl.col("four"), pl.col("five"))
    assert all_true(weeks.drop_nulls("five"), within)


def test_what_was_spent_stays_until_an_order_is_added_or_forgotten(pairs):
    same = pairs.filter(
        (pl.col("purchased_next_7d") == 0)
        & (pl.col("orders_last_365d") == pl.col("orders_last_365d_then"))
    )
    for name in (
        *("total_spend_last_365d", "avg_order_value", "refund_rate"),
        *("avg_items_per_order", "discounted_order_share"),
    ):
        assert all_true(same, pl.col(name) == pl.col(f"{name}_then")), name


def test_the_account_stays_as_it_was(pairs):
    for name in FIXED:
        assert all_true(pairs, pl.col(name).eq_missing(pl.col(f"{name}_then"))), name
    aged = pl.min_horizontal(pl.col("account_age_days") + 7, 7_300)
    assert all_true(pairs, pl.col("account_age_days_then") == aged)
    same_tier = pairs.select((pl.col("loyalty_tier") == pl.col("loyalty_tier_then")).mean()).item()
    assert 0.95 < same_tier < 1
    changed = pl.col("loyalty_tier") != pl.col("loyalty_tier_then")
    spent = pl.col("total_spend_last_365d") != pl.col("total_spend_last_365d_then")
    aged_only = pairs.filter(changed & ~spent).height / pairs.height
    assert aged_only < 0.005


def test_most_of_what_is_known_of_a_user_is_the_same_a_week_later(pairs):
    for name, at_least in (("orders_last_365d", 0.98), ("sessions_last_30d", 0.85)):
        assert pairs.select(pl.corr(name, f"{name}_then")).item() > at_least


# Arrivals and departures


def test_some_users_leave_and_as_many_arrive(users):
    ids = {day: set(part["user_id"]) for (day,), part in users.group_by("snapshot_date")}
    seen: set[str] = set()
    for before, after in zip(sorted(ids), sorted(ids)[1:], strict=False):
        seen |= ids[before]
        stay = len(ids[before] & ids[after]) / ROWS
        assert 0.98 < stay < 0.998
        assert not (ids[after] - ids[before]) & seen


def test_who_arrives_has_a_new_account(users):
    first = min(users["snapshot_date"])
    newest = users.sort("snapshot_date").unique("user_id", keep="first")
    arrived = newest.filter(pl.col("snapshot_date") > first)
    assert all_true(arrived, pl.col("account_age_days") < 7)
    assert all_true(arrived, pl.col("sessions_last_30d") == 1)
    assert set(arrived["orders_last_365d"].unique()) <= {0, 1}
    assert all_true(arrived, pl.col("email_open_rate") == 0)
    registered = users.filter(pl.col("account_age_days") < 7, pl.col("snapshot_date") > first)
    assert registered.height == arrived.filter(pl.col("country").is_not_null()).height


def test_who_leaves_had_stopped_coming(users):
    last = users.sort("snapshot_date").unique("user_id", keep="last")
    left = last.filter(pl.col("snapshot_date") < LAST)
    assert left["days_since_last_session"].median() > 60
    assert left.filter(pl.col("days_since_last_session") < 7).height < 0.05 * left.height


# What the population is like


def test_every_week_is_like_one_snapshot(users):
    for (day,), part in users.group_by("snapshot_date"):
        p = part["true_probability"].to_numpy()
        single = draw(rows=ROWS, as_of=day)
        assert p.mean() == pytest.approx(single["true_probability"].mean(), abs=0.02), day
        assert best_auc(p) == pytest.approx(0.86, abs=0.02), day
        assert best_f1(p) == pytest.approx(0.59, abs=0.04), day
        nulls = (
            frame.select(pl.all().is_null().mean()).row(0, named=True) for frame in (part, single)
        )
        found, expected = nulls
        assert all(abs(found[name] - expected[name]) < 0.08 for name in found), day


def test_drift_grows_from_week_to_week(small_blocks):
    plain, moved = (draw(rows=1_500, weeks=4, drift=drift) for drift in (0.0, 3.0))
    apps = pl.col("device_type").is_in(["ios_app", "android_app"]).mean()
    shares = [
        frame.group_by("snapshot_date").agg(apps).sort("snapshot_date")["device_type"].to_numpy()
        for frame in (plain, moved)
    ]
    gained = shares[1] - shares[0]
    assert (np.diff(gained) > 0).all()
    assert gained[0] < 0.5 * gained[-1]
    assert np.array_equal(true_probability(moved), moved["true_probability"].to_numpy())


# Memory


def test_memory_does_not_grow_with_users_and_weeks(small_blocks):
    def peak_bytes(**options):
        tracemalloc.start()
        for _ in simulate(SimulateOptions(**options)):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    small = peak_bytes(rows=500, weeks=2)
    assert peak_bytes(rows=1_500, weeks=2) < 1.2 * small
    assert peak_bytes(rows=500, weeks=20) < 1.2 * small


@pytest.mark.slow
def test_a_process_with_many_users_needs_as_much_memory_as_one_with_few():
    def peak_kib(rows, weeks):
        code = "import resource, training.simulate as s\n"
        code += f"for frame in s.simulate(s.SimulateOptions(rows={rows}, weeks={weeks})): pass\n"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
        )
        return int(run.stdout)

    assert peak_kib(100_000, 12) < 1.2 * peak_kib(20_000, 4)
