from functools import cache

import numpy as np
import pytest

from tests.training.metrics.test_classification import CUTS, drawn
from training.evaluate.quality import QUALITY_BANDS, quality_band
from training.metrics.classification import classification_metrics
from training.metrics.metrics import Outcomes

CLEAN = {"reasons": [], "broken": []}


def blurred(rows, noise, seed=0):
    """Calibrated users and a score that knows less of them the more noise there is."""
    exact = drawn(rows, seed)
    margin = np.log(exact.truth / (1 - exact.truth)) + 1
    rng = np.random.default_rng(seed + 1)
    seen = margin + rng.normal(0, noise, rows)
    p = 1 / (1 + np.exp(1 - seen * 1.5**2 / (1.5**2 + noise**2)))
    return Outcomes(p, exact.label, exact.users)


def judged(outcomes):
    return quality_band(classification_metrics(outcomes, 0.3, CUTS), CLEAN, (), ())


@cache
def flawless():
    """Figures of many users whose probabilities are exact."""
    return classification_metrics(drawn(20_000), 0.3, CUTS)


@pytest.mark.parametrize(
    ("noise", "band"), [(0, "excellent"), (1.5, "good"), (3, "fair"), (5.5, "poor")]
)
def test_the_band_falls_as_the_model_knows_less(noise, band):
    found = judged(blurred(20_000, noise))
    assert (found["band"], found["may_be_used"]) == (band, True)
    assert found["sentence"].startswith(band.capitalize())
    assert bool(found["reasons"]) == (band != "excellent")


def test_a_small_test_part_earns_no_good_word():
    order = QUALITY_BANDS.index
    assert order(judged(drawn(150))["band"]) < order(
        quality_band(flawless(), CLEAN, (), ())["band"]
    )


@pytest.mark.parametrize(("rows", "seed"), [(300, 0), (300, 1), (300, 2), (20_000, 0)])
def test_scores_of_shuffled_labels_are_unusable(rows, seed):
    outcomes = drawn(rows, seed)
    label = np.random.default_rng(seed).permutation(outcomes.label)
    found = judged(Outcomes(outcomes.probability, label, outcomes.users))
    assert (found["band"], found["may_be_used"]) == ("unusable", False)
    assert "chance" in found["reasons"][0]


def test_constant_scores_are_unusable():
    outcomes = drawn(2_000)
    found = judged(Outcomes(np.full(2_000, 0.3), outcomes.label, outcomes.users))
    assert found["band"] == "unusable"


def test_scores_that_point_the_wrong_way_are_unusable():
    outcomes = drawn(2_000)
    found = judged(Outcomes(1 - outcomes.probability, outcomes.label, outcomes.users))
    assert "ROC-AUC" in found["reasons"][0]
    assert any("log-loss" in reason for reason in found["reasons"])


def test_a_ranking_barely_above_chance_is_unusable():
    found = judged(blurred(60_000, 16))
    assert found["band"] == "unusable"
    assert "hardly better than chance" in found["reasons"][0]


def test_grossly_wrong_probabilities_are_unusable():
    outcomes = drawn(5_000)
    found = judged(Outcomes(outcomes.probability / 3, outcomes.label, outcomes.users))
    assert any("the probabilities are wrong by" in reason for reason in found["reasons"])
    assert not found["may_be_used"]


def test_wrong_probabilities_cost_bands():
    outcomes = drawn(20_000)
    found = judged(Outcomes(outcomes.probability * 0.8, outcomes.label, outcomes.users))
    assert found["band"] in ("fair", "good")
    assert "the probabilities are wrong by" in found["reasons"][0]


def test_leaks_forbid_use_and_suspicions_make_it_poor():
    suspicious = quality_band(flawless(), {"reasons": ["f0 alone"], "broken": []}, (), ())
    assert (suspicious["band"], suspicious["reasons"]) == ("poor", ["f0 alone"])
    broken = quality_band(flawless(), {"reasons": [], "broken": ["rows leak"]}, (), ())
    assert (broken["band"], broken["reasons"]) == ("unusable", ["rows leak"])


def test_what_the_fit_found_forbids_use():
    found = quality_band(flawless(), CLEAN, ("negative slope",), ())
    assert found["sentence"] == "Unusable: do not use these scores: negative slope."


def test_bad_segments_cost_the_highest_word():
    found = quality_band(flawless(), CLEAN, (), ["low silhouette"])
    assert (found["band"], found["reasons"]) == ("good", ["segments: low silhouette"])


def test_too_few_users_are_said_to_be_too_few():
    assert "too few users" in judged(drawn(190))["sentence"]
