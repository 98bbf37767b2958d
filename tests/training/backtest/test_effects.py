import numpy as np
import pytest
from scipy import stats

from tests.training.backtest.campaign_worlds import campaign
from training.backtest.effects import (
    balance_weight,
    differences,
    enough_users,
    holm,
    moments,
    permutation_p,
    pooled_variance,
)
from training.backtest.ratio import ALARM, balance_test, lost_test, planned_test, ratio_document
from training.backtest.shrinkage import shrink


def two_samples(contacted: np.ndarray, control: np.ndarray):
    """Both as groups of one cell."""
    values = np.concatenate([contacted, control]).astype(float)
    group = np.repeat([0, 1], [len(contacted), len(control)])
    sums = moments(values, group, (2, 1))
    return sums[0], sums[1]


def test_rates_have_newcombes_interval_from_wilsons():
    contacted, control = np.arange(300) < 45, np.arange(120) < 9
    found = differences(*two_samples(contacted, control))
    (p, (a, b)), (q, (c, d)) = (
        (x.mean(), stats.binomtest(x.sum(), len(x)).proportion_ci(method="wilson"))
        for x in (contacted, control)
    )
    low, high = p - q - np.hypot(p - a, d - q), p - q + np.hypot(b - p, q - c)
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=1e-8)


def test_values_have_welchs_interval():
    rng = np.random.default_rng(0)
    contacted, control = rng.lognormal(2, 1, 400), rng.lognormal(1.8, 0.5, 60)
    found = differences(*two_samples(contacted, control))
    expected = stats.ttest_ind(contacted, control, equal_var=False).confidence_interval()
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected))
    assert found.contacted.variance[0] == pytest.approx(contacted.var(ddof=1))


def test_a_side_without_variance_has_no_interval_of_values():
    found = differences(*two_samples(np.r_[np.zeros(30), 12.5], np.zeros(30)))
    assert np.isnan([found.low[0], found.high[0]]).all()
    nobody = differences(*two_samples(np.zeros(30), np.zeros(30)))
    assert nobody.p_value[0] == 1
    assert nobody.difference[0] == 0


@pytest.mark.parametrize(("bought", "of_control"), [(3, 4), (40, 1), (60, 12)])
def test_the_test_of_rates_is_close_to_fishers(bought, of_control):
    found = permutation_p(*two_samples(np.arange(900) < bought, np.arange(60) < of_control))
    table = stats.hypergeom(960, bought + of_control, 60)
    tails = table.sf(of_control - 1), table.cdf(of_control)
    # Half of the probability of what was found counts, as the curve is continuous.
    middle = 2 * (min(tails) - table.pmf(of_control) / 2)
    assert found[0] == pytest.approx(min(1, middle), rel=0.7, abs=2e-3)


def test_the_test_of_values_agrees_with_permutations():
    rng = np.random.default_rng(1)
    values = (rng.random(500) < 0.15) * rng.lognormal(3, 1, 500)
    values[:40] += (rng.random(40) < 0.3) * 60
    found = permutation_p(*two_samples(values[40:], values[:40]))[0]
    drawn = np.array([rng.permutation(values)[:40].mean() for _ in range(4_000)])
    share = (drawn >= values[:40].mean()).mean()
    assert 0 < share < 0.1
    assert share < found < 4 * share + 0.005


def test_holm_is_the_step_down_of_bonferroni():
    adjusted = holm(np.array([[0.01, 0.04], [0.03, 0.5]]))
    assert adjusted == pytest.approx(np.array([[0.04, 0.09], [0.09, 0.5]]))


def test_intervals_cover_and_cells_without_effect_are_seldom_called_one():
    rng = np.random.default_rng(11)
    covered, called, campaigns = [], 0, 60
    for _ in range(campaigns):
        real = campaign(rng, 8_000, segments=5, effects=(0.01,))
        for outcome, truth in (("purchase", 0.01), ("value", 0.01 * np.exp(3.5 + 0.32))):
            bands = real.moments(outcome).summed((1,))
            found = differences(bands[1], bands[0])
            covered += ((found.low <= truth) & (truth <= found.high)).tolist()
        null = campaign(rng, 12_000, segments=25, effects=(0.0,), control=0.25)
        for outcome in ("purchase", "value"):
            cells = null.moments(outcome).summed(())
            enough = enough_users(cells[1], cells[0])
            adjusted = holm(permutation_p(cells[1][enough], cells[0][enough]))
            called += bool((adjusted <= 0.05).any())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert called / (2 * campaigns) <= 0.05


def test_shrunken_cells_are_nearer_to_the_truth_than_the_luckiest():
    rng = np.random.default_rng(2)
    own, drawn, luck = [], [], []
    for _ in range(20):
        effect = rng.normal(0.04, 0.01, (1, 24))
        units = campaign(rng, 12_000, segments=6, by_cell=effect, control=0.5)
        cells = units.moments("purchase").summed(())
        found = differences(cells[1], cells[0])
        variance = pooled_variance(cells[1], cells[0])
        weight, kind = balance_weight(cells[1], cells[0]), np.zeros(24, np.int64)
        shrunken = shrink(found.difference, variance, weight, kind)
        own.append(np.mean((found.difference - effect[0]) ** 2))
        drawn.append(np.mean((shrunken.estimate - effect[0]) ** 2))
        best = found.difference.argmax()
        luck.append([x[best] - effect[0, best] for x in (found.difference, shrunken.estimate)])
    assert np.mean(drawn) < 0.4 * np.mean(own)
    raw, shrunken_luck = np.mean(luck, axis=0)
    assert raw > 0.02
    assert abs(shrunken_luck) < 0.01


def test_cells_that_clearly_differ_are_hardly_drawn():
    difference = np.array([0.0, 0.5, 1.0, 1.5])
    kind = np.zeros(4, np.int64)
    found = shrink(difference, np.full(4, 1e-4), np.ones(4), kind)
    assert found.estimate == pytest.approx(difference, abs=0.01)
    assert found.towards == pytest.approx(0.75)
    one = shrink(np.array([0.3]), np.array([0.01]), np.ones(1), kind[:1])
    assert (one.estimate[0], one.spread) == (0.3, 0.0)


def test_a_cell_that_is_alone_is_drawn_towards_all():
    difference, weight = np.array([0.0, 0.02, 0.3]), np.array([3.0, 3.0, 2.0])
    found = shrink(difference, np.full(3, 0.01), weight, np.array([0, 0, 2]))
    assert found.towards == pytest.approx([0.01, 0.01, (0.06 + 0.6) / 8])
    assert found.towards[2] < found.estimate[2] < 0.3


@pytest.mark.parametrize("bought", [0, 1])
def test_cells_of_which_nobody_or_everybody_buys_have_no_spread(bought):
    cells = moments(np.full(400, float(bought)), np.arange(400) % 4, (2, 2))
    variance = pooled_variance(cells[0], cells[1])
    found = shrink(cells[0].mean - cells[1].mean, variance, np.ones(2), np.zeros(2, np.int64))
    assert (found.spread, *found.towards, *found.estimate) == (0, 0, 0, 0, 0)


def test_a_cell_without_buyers_is_not_known_exactly():
    values = np.r_[np.ones(50), np.zeros(350)]
    group = np.r_[np.zeros(200), np.ones(200)].astype(int) * 2 + np.arange(400) % 2
    values[group % 2 == 1] = 0
    cells = moments(values, group, (2, 2))
    variance = pooled_variance(cells[0], cells[1])
    assert 0 < variance[1] < variance[0]
    assert not pooled_variance(cells[0][:0], cells[1][:0]).size


def test_arm_sizes_are_compared_with_their_plan():
    found = planned_test(np.array([480, 520]), np.array([0.5, 0.5]))
    expected = stats.chisquare([480, 520])
    assert (found["chi_square"], found["p_value"]) == pytest.approx(tuple(expected))
    assert ratio_document([found, None]) == {"tests": [found], "alarm": False}
    lost = planned_test(np.array([4_500, 5_000]), np.array([1, 1]))
    assert lost["p_value"] < ALARM
    assert planned_test(np.array([10, 0]), np.array([1.0, 0.0])) is None


def test_arms_must_be_spread_alike_over_cells():
    rng = np.random.default_rng(4)
    units = campaign(rng, 5_000, effects=(0.0, 0.0))
    assert balance_test(units.arm, units.cell, 3)["p_value"] > ALARM
    chosen = np.where((units.cell == 2) & (rng.random(5_000) < 0.3), 1, units.arm)
    assert balance_test(chosen, units.cell, 3)["p_value"] < ALARM
    assert balance_test(np.array([0, 1]), np.array([0, 0]), 2) is None


def test_losing_users_of_one_arm_is_noticed():
    assert lost_test(np.array([1_000, 1_000]), np.array([990, 930]))["p_value"] < ALARM
    assert lost_test(np.array([1_000, 1_000]), np.array([985, 990]))["p_value"] > ALARM
    assert lost_test(np.array([1_000, 1_000]), np.array([1_000, 1_000])) is None
    # Two lost users of a small control group are chance, which a chi-square test cannot say.
    assert lost_test(np.array([100_000, 5_000]), np.array([100_000, 4_998])) is None
