"""Outcomes under contact: who is contacted, what that changes, and what it must not change."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

import training.simulate
from engine.activate.arms import CONTROL
from engine.errors import InputError
from training.simulate import SimulateOptions, panel, simulate
from training.simulate.campaign import ARMS, NO_LISTS, read_contact_lists
from training.simulate.uplift import ARM_SHIFTS, contacted_probability

DAY = date(2026, 11, 22)
WEEK = timedelta(days=7)
KEYS = ["user_id", "snapshot_date"]


def draw(campaign=NO_LISTS, **options) -> pl.DataFrame:
    return pl.concat(simulate(SimulateOptions(truth=True, campaign=campaign, **options)))


@pytest.fixture
def listed(tmp_path):
    """Writes users as a list of contacts, arm after arm, and reads it."""

    def write(users: pl.DataFrame, arms=ARMS, name="list.csv"):
        place = pl.int_range(pl.len()) % len(arms)
        arm = place.replace_strict(range(len(arms)), list(arms), return_dtype=pl.String)
        users.select(*KEYS, arm=arm).write_csv(tmp_path / name)
        return read_contact_lists([str(tmp_path / name)])

    return write


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(training.simulate, "BLOCK_ROWS", 4_000)
    monkeypatch.setattr(panel, "BLOCK_USERS", 1_000)
    monkeypatch.setattr(panel, "SETTLING_WEEKS", 4)


@pytest.fixture(scope="module")
def users():
    return draw(rows=60_000, seed=5)


@pytest.fixture(scope="module")
def effects(users):
    """The true effect of each arm on each user."""
    before = users["true_probability"].to_numpy()
    return {name: contacted_probability(users, before, name) - before for name in ARM_SHIFTS}


def by_user(plain: pl.DataFrame, contacted: pl.DataFrame) -> pl.DataFrame:
    """The users of both, the columns of the second with `_now`."""
    return plain.join(contacted, on=KEYS, suffix="_now", maintain_order="left")


# The truth under contact


def test_the_effect_is_a_function_of_the_row(users, effects):
    order = np.random.default_rng(1).permutation(users.height)[:5_000]
    some = users[order].drop(*KEYS, "purchased_next_7d")
    for name, effect in effects.items():
        before = some["true_probability"].to_numpy()
        assert np.array_equal(contacted_probability(some, before, name) - before, effect[order])


def test_users_in_the_middle_respond_most(users, effects):
    p = users["true_probability"].to_numpy()
    for name, effect in effects.items():
        mean = [effect[(p >= low) & (p < high)].mean() for low, high in ((0, 0.05), (0.2, 0.5))]
        assert mean[1] > max(0.01, 5 * mean[0]), name
        assert effect[p > 0.9].mean() < 0, name


def test_each_arm_persuades_some_and_puts_off_others(effects):
    for name, effect in effects.items():
        assert (effect > 0.02).mean() > 0.1, name
        assert (effect < -0.005).mean() > 0.02, name
        assert np.abs(effect).max() < 0.25, name


def test_the_best_arm_depends_on_the_user(effects):
    better = effects["offer"] - effects["reminder"]
    assert (better > 0.01).mean() > 0.1
    assert (better < -0.01).mean() > 0.1


def test_offers_work_on_bargain_hunters_and_reminders_do_not(users, effects):
    share, p = (users[c].to_numpy() for c in ("discounted_order_share", "true_probability"))
    middle = (p > 0.1) & (p < 0.5)
    for name, more in (("offer", True), ("reminder", False)):
        hunters, others = (
            effects[name][middle & rows].mean() for rows in (share > 0.6, share < 0.3)
        )
        assert (hunters > others) == more, name


# What a campaign changes


@pytest.mark.parametrize("weeks", [None, 1])
def test_a_campaign_changes_nothing_but_the_labels_of_contacted_users(small_blocks, listed, weeks):
    options = {"rows": 5_000, "weeks": weeks, "seed": 3}
    plain = draw(**options)
    contacted = draw(listed(plain[::2]), **options)
    features = plain.drop("purchased_next_7d", "true_probability")
    assert contacted.select(features.columns).equals(features)
    arm = np.full(plain.height, -1)
    arm[::2] = np.arange(plain.height // 2) % len(ARMS)
    untouched = pl.Series(arm <= ARMS.index(CONTROL))
    truth = ["purchased_next_7d", "true_probability"]
    assert contacted.filter(untouched).select(plain.columns).equals(plain.filter(untouched))
    assert set(contacted.filter(untouched)["true_effect"]) == {0.0}
    assert (
        not contacted.filter(~untouched)
        .select(truth)
        .equals(plain.filter(~untouched).select(truth))
    )


def test_truth_and_effect_give_the_probability_without_contact(listed, users, effects):
    contacted = draw(listed(users, ["offer", "reminder"]), rows=60_000, seed=5)
    both = by_user(users, contacted)
    effect = np.where(np.arange(users.height) % 2, effects["reminder"], effects["offer"])
    assert both["true_effect"].to_numpy() == pytest.approx(effect, abs=1e-9)
    untouched = both["true_probability_now"] - both["true_effect"]
    assert untouched.to_numpy() == pytest.approx(both["true_probability"].to_numpy(), abs=1e-9)


def test_labels_follow_the_effect(listed, users):
    contacted = draw(listed(users, ["offer", "reminder"]), rows=60_000, seed=5)
    both = by_user(users, contacted)
    gain = (both["purchased_next_7d_now"] - both["purchased_next_7d"]).to_numpy()
    effect = both["true_effect"].to_numpy()
    # The same draws on both sides: nobody is lost to a contact that helps, or won by one that harms.
    assert (gain[effect > 0] >= 0).all()
    assert (gain[effect < 0] <= 0).all()
    for arm in (0, 1):
        own = slice(arm, None, 2)
        noise = np.sqrt(np.abs(effect[own]).sum()) / len(effect[own])
        assert gain[own].mean() == pytest.approx(effect[own].mean(), abs=4 * noise)


def test_the_weeks_before_stay_and_the_week_after_follows(small_blocks, listed):
    options = {"rows": 2_000, "weeks": 3, "seed": 4}
    plain = draw(**options)
    first, second, third = sorted(set(plain["snapshot_date"]))
    contacted = draw(listed(plain.filter(snapshot_date=second), ["offer"]), **options)
    before = contacted.filter(snapshot_date=first).select(plain.columns)
    assert before.equals(plain.filter(snapshot_date=first))
    pairs = contacted.filter(snapshot_date=second).join(
        contacted.filter(snapshot_date=third), on="user_id", suffix="_then"
    )
    ordered = (pairs["days_since_last_purchase_then"] < 7).fill_null(value=False)
    assert pairs.height > 1_900
    assert ordered.cast(pl.Int8).equals(pairs["purchased_next_7d"])


def test_each_week_may_have_a_campaign_made_after_the_one_before(small_blocks, listed, tmp_path):
    options = {"rows": 1_000, "seed": 4}
    first = draw(weeks=1, as_of=DAY - WEEK, **options)
    listed(first, name="first.csv")
    one = read_contact_lists([str(tmp_path / "first.csv")])
    now = draw(one, weeks=2, **options).filter(snapshot_date=DAY)
    listed(now, name="second.csv")
    both = read_contact_lists([str(tmp_path / name) for name in ("first.csv", "second.csv")])
    found = draw(both, weeks=2, **options)
    features = now.drop("purchased_next_7d", "true_probability", "true_effect")
    assert found.filter(snapshot_date=DAY).select(features.columns).equals(features)
    assert found.filter(pl.col("true_effect") != 0).height > 1_000


def test_fewer_rows_are_still_the_first_users(small_blocks, listed):
    few = draw(rows=500)
    campaign = listed(few)
    assert draw(campaign, rows=5_000).head(500).equals(draw(campaign, rows=500))


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".csv.gz"])
def test_lists_come_in_every_form_and_may_name_the_date_otherwise(tmp_path, ending):
    path = str(tmp_path / f"log{ending}")
    users = {"date": [DAY, DAY], "arm": ["offer", "control"], "campaign": ["a", "a"]}
    frame = pl.DataFrame({"user_id": ["U1000000002", "U00000002"], **users})
    if ending == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, compression="gzip" if ending == ".csv.gz" else "uncompressed")
    contacts = read_contact_lists([path]).contacts[DAY]
    assert contacts.account.tolist() == [2, 1_000_000_002]
    assert [ARMS[code] for code in contacts.arm] == ["control", "offer"]


# Lists that are wrong

GOOD = {
    "user_id": ["U00000001", "U00000002"],
    "snapshot_date": [DAY, DAY],
    "arm": ["offer", "offer"],
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"arm": ["offer", "nudge"]},
            r"list\.csv: 1 contact in arms without a known effect: 'nudge'",
        ),
        ({"arm": ["offer", None]}, r"arm\|missing 1\. Give each user at most once"),
        ({"user_id": ["U00000001"] * 2}, r"user_id\|duplicate 1"),
        ({"user_id": ["U00000001", None]}, r"user_id\|missing 1"),
        ({"snapshot_date": [DAY, None]}, r"snapshot_date\|missing 1"),
        ({"snapshot_date": ["soon", "later"]}, r"snapshot_date\|not_a_date 2"),
    ],
)
def test_a_list_with_wrong_rows_is_refused(tmp_path, changed, message):
    pl.DataFrame(GOOD | changed).write_csv(tmp_path / "list.csv")
    with pytest.raises(InputError, match=message):
        read_contact_lists([str(tmp_path / "list.csv")])


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("arm", "1 missing column: 'arm'; a campaign needs 2"),
        ("user_id", "1 missing column: 'user_id'"),
        ("snapshot_date", "no column 'snapshot_date' or 'date'"),
    ],
)
def test_a_list_without_a_column_is_refused(tmp_path, left_out, message):
    pl.DataFrame(GOOD).drop(left_out).write_parquet(tmp_path / "list.parquet")
    with pytest.raises(InputError, match=message):
        read_contact_lists([str(tmp_path / "list.parquet")])


def test_an_empty_list_is_refused(tmp_path):
    pl.DataFrame(GOOD).clear().write_parquet(tmp_path / "list.parquet")
    with pytest.raises(InputError, match="no row of contacts"):
        read_contact_lists([str(tmp_path / "list.parquet")])


def test_a_user_in_two_lists_of_a_date_is_refused(tmp_path):
    for name in ("a.csv", "b.csv"):
        pl.DataFrame(GOOD).write_csv(tmp_path / name)
    with pytest.raises(InputError, match=r"a\.csv, .*b\.csv: user_id\|duplicate 2"):
        read_contact_lists([str(tmp_path / name) for name in ("a.csv", "b.csv")])


@pytest.mark.parametrize(
    "stranger", ["U00000501", "U000000001", "U1000000001", "u00000001", "1", "U00000001 "]
)
def test_contacts_with_other_users_are_counted(small_blocks, listed, stranger):
    frame = pl.DataFrame(GOOD | {"user_id": ["U00000001", stranger]})
    with pytest.raises(
        InputError, match="1 of 2 contacts with users who are not simulated"
    ) as found:
        draw(listed(frame), rows=500)
    assert "1 at 2026-11-22. Simulate the users" in str(found.value)


def test_contacts_at_other_dates_are_counted(listed):
    frame = pl.DataFrame(GOOD | {"snapshot_date": [DAY, DAY - WEEK]})
    campaign = listed(frame)
    with pytest.raises(InputError, match="1 contact at dates that are not simulated: '2026-11-15'"):
        SimulateOptions(campaign=campaign)
    assert SimulateOptions(weeks=2, campaign=campaign).dates == (DAY - WEEK, DAY)
