from dataclasses import replace

import numpy as np
import pytest

from engine.errors import BundleError, UsageError
from tests.training.backtest.campaign_worlds import campaign
from training.backtest.money import Money
from training.backtest.policy import best_choices, cell_effects
from training.backtest.recommendation import policy_figures
from training.backtest.units import Units

BANDS = 4
SPENT = np.exp(3.5 + 0.32)
"""What a buyer spends in the mean."""


def persuadable(seed: int, users: int = 24_000) -> Units:
    """Arm 1 works in the middle bands, arm 2 in the low one; the others are put off."""
    effect = np.array([[-0.01, 0.04, 0.04, -0.05], [0.03, -0.02, -0.02, -0.05]])
    rng = np.random.default_rng(seed)
    return campaign(rng, users, segments=2, effects=(0.0, 0.0), by_cell=np.tile(effect, 2))


def values(policy) -> dict[str, float]:
    return {found["policy"]: found["gain"]["value"] for found in policy["policies"]}


def test_each_cell_gets_its_best_arm_and_nobody_who_loses():
    policy = policy_figures(persuadable(0), Money())
    arms = [cell["arm"] for cell in policy["cells"]]
    assert arms == ["arm 2", "arm 1", "arm 1", None] * 2
    sleeping = policy["cells"][3]
    assert sleeping["gain"] < 0
    assert sleeping["evidence"]["shrunken"] == sleeping["gain"]


def test_the_value_of_the_playbook_is_that_of_users_who_did_not_choose_it():
    policy = policy_figures(persuadable(1), Money())
    best = (0.03 + 0.04 + 0.04) / 4
    found = {each["policy"]: each for each in policy["policies"]}
    low, high = found["playbook"]["gain"]["interval"]
    assert low < best < high
    assert found["playbook"]["contacted"] == pytest.approx(0.75, abs=0.01)
    assert found["nobody"]["gain"]["value"] == 0
    # A rule that is clearly better is shown to be so.
    assert found["arm 1 to everybody"]["playbook_minus"]["interval"][0] > 0
    assert found["best arm to as many of the highest scores"]["gain"]["value"] < best / 2


def test_the_value_of_a_policy_is_unbiased():
    truth = (-0.01 + 0.04 + 0.04 - 0.05) / 4
    found = [values(policy_figures(persuadable(seed, 6_000), Money())) for seed in range(12)]
    gains = np.array([each["arm 1 to everybody"] for each in found])
    assert abs(gains.mean() - truth) < 3 * gains.std() / np.sqrt(len(gains) - 1)


def test_without_effects_cross_fitting_promises_nothing():
    gains = []
    for seed in range(8):
        units = campaign(np.random.default_rng(seed), 4_000, segments=6, effects=(0.0, 0.0))
        policy = policy_figures(units, Money())
        gains.append((values(policy)["playbook"], max(c["gain"] for c in policy["cells"])))
    honest, promised = np.mean(gains, axis=0)
    error = np.std(gains, axis=0)[0] / np.sqrt(len(gains))
    assert abs(honest) < 3 * error
    assert promised > honest + 3 * error


def test_the_estimate_of_everybody_is_the_difference_of_the_means():
    units = persuadable(2, 5_000)
    bought = units.outcomes["purchase"]
    plain = bought[units.arm == 1].mean() - bought[units.arm == 0].mean()
    assert values(policy_figures(units, Money()))["arm 1 to everybody"] == pytest.approx(
        plain, abs=0.004
    )


def test_profit_counts_margin_and_cost():
    units = persuadable(3)
    dear = Money("spent", margin=0.3, currency="EUR", arms={"arm 1": 0.9, "arm 2": 0.001})
    policy = policy_figures(units, dear)
    assert policy["unit"] == "profit"
    assert {cell["arm"] for cell in policy["cells"]} == {"arm 2", None}
    cell = policy["cells"][0]
    assert cell["gain"] == pytest.approx(0.3 * cell["evidence"]["shrunken"] - 0.001)
    of_orders = policy_figures(units, Money(margin=0.3, order_value=SPENT, channels={"mail": 0.02}))
    first = of_orders["cells"][0]
    assert first["gain"] == pytest.approx(0.3 * SPENT * first["evidence"]["shrunken"] - 0.02)


def test_a_season_in_which_more_users_buy_is_no_effect():
    one, other = persuadable(4, 9_000), campaign(np.random.default_rng(5), 9_000, segments=2)
    # In the second campaign everybody buys more, and it has more control users and no arm 2.
    bought = np.r_[one.outcomes["purchase"], np.maximum(other.outcomes["purchase"], 0.5)]
    names = replace(one.names, campaigns=("spring", "summer"))
    both = Units(
        names,
        campaign=np.repeat([0, 1], 9_000),
        arm=np.r_[one.arm, other.arm],
        cell=np.r_[one.cell, other.cell],
        probability=np.r_[one.probability, other.probability],
        ids=one.ids.append(other.ids),
        outcomes={"purchase": bought},
    )
    effects = cell_effects(both, "purchase")
    assert np.abs(effects.difference[0, [3, 7]] + 0.025).max() < 0.04
    # Policies are judged where every arm could have been drawn.
    alone = policy_figures(both, Money())["policies"]
    assert alone[0]["policy"] == "playbook"


def test_a_cell_that_was_not_tested_has_the_effect_in_its_band_or_on_all_users():
    units = persuadable(6, 4_000)
    few = units[(units.arm != 2) | (units.cell == 0)]
    found = cell_effects(few, "purchase")
    assert np.isnan(found.difference[1, 1:]).all()
    assert found.shrunken[1, 4] == found.shrunken[1, 0]
    others = [found.shrunken[1, band + 4 * segment] for band in (1, 2, 3) for segment in (0, 1)]
    assert len({found.shrunken[1, 0], *others}) == 2
    evidence = [cell["evidence"] for cell in policy_figures(few, Money())["cells"]]
    assert all(found is None or found["users"] >= 20 for found in evidence)


def test_nobody_is_chosen_where_every_arm_loses():
    gains = np.array([[0.1, -0.2, 0.0], [0.2, -0.1, -np.inf]])
    assert best_choices(gains).tolist() == [2, 0, 0]


def test_costs_must_be_known():
    channels = {"e-mail": 0.002, "push": 0.001}
    money = Money("spent", margin=0.3, channels=channels, arms={"arm 1": 0.01})
    with pytest.raises(BundleError, match="costs in 1 arm: 'arm 2'; .* --cost 'arm 2' AMOUNT"):
        money.costs(["arm 1", "arm 2", "push"])
    assert money.costs(["push", "arm 1"]) == [0.001, 0.01]
    assert (money.channel("push"), money.channel("arm 1")) == ("push", None)
    with pytest.raises(UsageError, match="--value COLUMN"):
        Money(margin=0.3, channels=channels)
    with pytest.raises(UsageError, match="--cost: costs are set against a margin"):
        Money(arms={"offer": 0.1})
