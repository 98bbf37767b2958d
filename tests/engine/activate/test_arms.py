import hashlib

import polars as pl
import pytest

from engine.activate.arms import arm_column, check_arms, check_name
from engine.errors import UsageError

IDS = pl.Series([f"user {n}" for n in range(2_000)])
ARMS = {"offer": 0.5, "reminder": 0.3, "late": 0.2}


def drawn(user, campaign, arms):
    text = f"arm-v1:{campaign}:{user}".encode()
    draw = int(hashlib.sha256(text).hexdigest()[:8], 16) / 2**32
    total = 0.0
    for name, share in arms.items():
        total += share
        if draw < total:
            return name
    return name


def test_the_arm_of_a_user_follows_from_the_hash_of_campaign_and_id():
    found = arm_column(IDS, "spring", ARMS)
    assert found.to_list() == [drawn(user, "spring", ARMS) for user in IDS]
    shares = dict(found.value_counts(normalize=True).iter_rows())
    assert shares == pytest.approx(ARMS, abs=0.04)


def test_a_user_is_drawn_anew_in_each_campaign():
    spring, autumn = (arm_column(IDS, name, ARMS) for name in ("spring", "autumn"))
    agree = (spring == autumn).mean()
    # Independent draws agree in 0.5² + 0.3² + 0.2² = 0.38 of the users.
    assert agree == pytest.approx(0.38, abs=0.05)


def test_whole_numbers_are_hashed_as_decimal_text():
    numbers = pl.Series([1, 2, 30_000_000_000])
    assert arm_column(numbers, "c", ARMS).equals(arm_column(numbers.cast(pl.String), "c", ARMS))


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"a": 0.5, "b": 0.4}, "sum to 0.9, expected 1"),
        ({"a": 1.0, "b": 0.0}, "shares of 'b' must be above 0"),
        ({"a": 1.5, "b": -0.5}, "shares of 'a', 'b' must be"),
        ({"a": float("nan")}, "shares of 'a' must be"),
        ({"control": 1.0}, "only 'control', who are not contacted"),
        ({"a:b": 1.0}, "'a:b' is not a name"),
    ],
)
def test_arms_that_contradict_themselves_are_refused(arms, message):
    with pytest.raises(UsageError, match=message):
        check_arms(arms)


def test_shares_may_miss_one_by_rounding_only():
    check_arms(dict.fromkeys("abcdefghij", 0.1))
    check_arms({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


@pytest.mark.parametrize("name", ["", "spring:2", "frühling", "a b", "x" * 101])
def test_names_of_another_grammar_are_refused(name):
    with pytest.raises(UsageError, match="--campaign: .* is not a name of 1 to 100 letters"):
        check_name(name, "--campaign")
