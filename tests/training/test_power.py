import numpy as np
import pytest

from engine.bundle.manifest import BANDS
from training.playbook.plan import MAX_CAMPAIGNS, Measured
from training.playbook.plan import test_plans as plans_of
from training.playbook.power import detectable_lift, sample_size

CONTACTED = {"channel": "e-mail", "lift_to_see": 0.1, "control_share": 0.05, "window_days": 7}
NOBODY = {**CONTACTED, "channel": "none"}
NEEDED = sample_size(0.2, 0.1, 0.05)


def test_a_sample_of_that_size_finds_the_lift_as_often_as_promised():
    # A simulation of the test itself: two proportions, two-sided 5 %, power 80 %.
    rate, lift, share = 0.2, 0.1, 0.25
    users = sample_size(rate, lift, share)
    control = round(users * share)
    rng = np.random.default_rng(3)
    a = rng.binomial(control, rate, 20_000) / control
    b = rng.binomial(users - control, rate * (1 + lift), 20_000) / (users - control)
    pooled = (a * control + b * (users - control)) / users
    error = np.sqrt(pooled * (1 - pooled) * (1 / control + 1 / (users - control)))
    # Four standard deviations of a share of 0.8 in 20,000 trials, and the test's own approximation.
    assert (np.abs(b - a) / error > 1.959964).mean() == pytest.approx(0.80, abs=0.015)


def test_equal_groups_need_what_the_published_formula_gives():
    # Fleiss, Levin & Paik, chapter 4: n per group for 0.60 against 0.70, two-sided 5 %, power 80 %.
    assert sample_size(0.60, 1 / 6, 0.5) == pytest.approx(2 * 356, abs=2)


def test_the_detectable_lift_is_the_one_that_its_users_suffice_for():
    lift = detectable_lift(0.2, 20_000, 0.05)
    assert sample_size(0.2, lift, 0.05) <= 20_000 < sample_size(0.2, lift - 0.002, 0.05)


@pytest.mark.parametrize(
    ("rate", "users", "share"), [(0.0, 10**6, 0.05), (0.2, 10, 0.05), (0.2, 10**6, 0.0)]
)
def test_what_no_sample_can_show_is_none(rate, users, share):
    assert detectable_lift(rate, users, share) is None


def planned(*measured, settings=None):
    """The plans of runs of bands with so many users, of whom 20 % buy."""
    chosen = dict.fromkeys(BANDS, CONTACTED) | (settings or {})
    return plans_of([Measured(bands, users, 0.2) for bands, users in measured], chosen)


def alone(*users):
    return [((band,), count) for band, count in zip(BANDS, users, strict=True)]


def test_one_campaign_is_enough_where_the_users_suffice():
    plan = planned(*alone(*[NEEDED] * 4))["high"]
    assert (plan["tested_with"], plan["campaigns"]) == (["high"], 1)
    assert plan["test"] == (
        "A test of +10 % needs 69,000 users, control group included; the cell has 69,000. "
        "One campaign of 7 days is enough."
    )


def test_several_campaigns_are_run_where_they_do_not():
    plan = planned(*alone(NEEDED, NEEDED, NEEDED // 3, NEEDED))["high"]
    assert plan["campaigns"] == 4
    assert "Run at least 4 campaigns of 7 days" in plan["test"]


def test_a_band_too_small_for_a_test_is_tested_with_its_neighbour():
    small = NEEDED // MAX_CAMPAIGNS - 1
    plans = planned(*alone(NEEDED, small, NEEDED, small))
    assert [plans[band]["tested_with"] for band in BANDS] == [
        ["low"],
        ["medium", "high", "very_high"],
        ["medium", "high", "very_high"],
        ["medium", "high", "very_high"],
    ]
    assert "the bands medium, high and very high together have" in plans["high"]["test"]


def test_where_no_test_can_work_that_is_said():
    plan = planned(*alone(100, 100, 100, 100))["low"]
    assert (plan["tested_with"], plan["campaigns"]) == (None, None)
    assert plan["test"].startswith("No test of +10 % can work here: it needs 69,000 users, control")
    lift = detectable_lift(0.2, 400 * MAX_CAMPAIGNS, 0.05)
    assert f"Only a lift of +{100 * lift + 0.5:.0f} % or more shows in 8 campaigns" in plan["test"]


def test_a_band_in_which_nearly_all_buy_spoils_no_test():
    runs = [Measured(("low",), NEEDED, 0.2), Measured(("medium",), 100 * NEEDED, 0.99)]
    plans = plans_of(runs, dict.fromkeys(BANDS, CONTACTED))
    assert plans["low"]["tested_with"] == ["low"]
    assert "99 % buy anyway" in plans["medium"]["test"]


def test_nobody_is_tested_with_users_who_are_not_contacted():
    runs = [(("low", "medium"), NEEDED), (("high",), NEEDED)]
    plans = planned(*runs, settings={"low": NOBODY})
    assert plans["low"]["test"] == "Nobody is contacted here, so there is nothing to test."
    assert plans["medium"]["test"] == (
        "The bands low and medium were measured together, but the playbook treats them differently, so no "
        "test can be planned."
    )
    assert plans["very_high"]["test"] == "Too few users were measured here to plan a test."
    assert plans["high"]["tested_with"] == ["high"]


def test_bands_measured_together_have_one_test_or_none():
    other = {**CONTACTED, "window_days": 14}
    plans = planned((("low",), NEEDED), (BANDS[1:], NEEDED), settings={"very_high": other})
    assert plans["low"]["tested_with"] == ["low"]
    for band in BANDS[1:]:
        assert plans[band]["campaigns"] is None
        assert plans[band]["test"].startswith("The bands medium, high and very high were measured")


def test_bands_of_different_tests_are_not_pooled():
    other = {**CONTACTED, "control_share": 0.1}
    plans = planned(*alone(NEEDED, 100, NEEDED, NEEDED), settings={"medium": other})
    assert plans["medium"]["tested_with"] is None
    assert plans["low"]["tested_with"] == ["low"]


@pytest.mark.parametrize(
    ("rate", "share", "why"),
    [
        (0.0, 0.05, "None of the users measured here bought"),
        (0.95, 0.05, "No test of +10 % can work here: 95 % buy anyway"),
        (0.2, 0.0, "There is no control group here"),
    ],
)
def test_a_lift_that_no_number_of_users_shows(rate, share, why):
    settings = {band: {**CONTACTED, "control_share": share} for band in BANDS}
    plan = plans_of([Measured(("low",), 10**6, rate)], settings)["low"]
    assert plan["test"].startswith(why)
    assert plan["campaigns"] is None
