import json

import numpy as np
import pytest

from engine.errors import SelfCheckError
from tests.fitting import trees
from training.fit.candidates import (
    Figures,
    cheapest,
    choose_trees,
    log_losses,
    measure_candidates,
    strongest_pairs,
)
from training.fit.classifier import sigmoid
from training.fit.trees import Sample
from training.shapley.leaves import read_leaves

NAMES = ("a", "b", "c", "d")


def sample(rows, seed, margin, width=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    return Sample(x, (rng.random(rows) < sigmoid(margin(x))).astype(np.int8))


def together(x):
    return 2 * np.sign(x[:, 0] * x[:, 2]) + x[:, 1]


def apart(x):
    return x[:, 0] - x[:, 1]


def chosen(margin, rows=3_000, width=4):
    parts = [sample(rows, seed, margin, width) for seed in range(2)]
    return choose_trees(*parts, NAMES[:width], seed=1)


@pytest.fixture(scope="module")
def joint():
    """The choice where two features work together."""
    return chosen(together)


def test_features_that_work_together_are_found(joint):
    booster, report = joint
    assert strongest_pairs(booster)[0] == (0, 2)
    assert report["chosen"] != "0 pairs"


def test_features_that_work_apart_need_no_pairs():
    booster, report = chosen(apart)
    assert report["chosen"] == "0 pairs"
    assert max(len(leaf.factors) for leaf in read_leaves(booster)) == 1
    assert strongest_pairs(booster) == []


def test_paths_hold_at_most_two_features_where_pairs_are_limited():
    booster, report = chosen(lambda x: together(x) + apart(x))
    if report["chosen"] != "free":
        assert max(len(leaf.factors) for leaf in read_leaves(booster)) == 2


def test_the_figures_of_all_candidates_are_kept(joint):
    _, report = joint
    found = {f["name"]: f for f in report["candidates"]}
    assert min(f["difference"] for f in found.values()) == 0
    assert found["0 pairs"]["difference"] > found["0 pairs"]["standard_error"] > 0
    assert found["0 pairs"]["cost"] < found["free"]["cost"]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("width", [1, 2])
def test_one_and_two_features(width):
    booster, report = chosen(lambda x: 2 * x[:, 0], rows=500, width=width)
    assert booster.num_trees() == report["trees"]


def test_the_same_seed_gives_the_same_trees(joint):
    assert chosen(together)[0].model_to_string() == joint[0].model_to_string()


def figures(name, difference, error, cost):
    return Figures(name, 1, 0.3 + difference, difference, error, cost)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([figures("near", 0.01, 0.02, 50)], "near"),
        ([figures("far", 0.03, 0.02, 50)], "best"),
        ([figures("no cheaper", 0.01, 0.02, 200)], "best"),
        ([figures("too large", 0.0, 0.0, None)], "best"),
        ([figures("near", 0.01, 0.02, 50), figures("nearest", 0.005, 0.02, 50)], "nearest"),
    ],
)
def test_the_cheapest_as_good_as_the_best_is_chosen(others, expected):
    assert cheapest([figures("best", 0.0, 0.0, 100), *others]) == expected


def test_log_losses_are_those_of_the_probabilities():
    users = sample(300, 0, together)
    booster = trees(users.features, users.label)
    p = booster.predict(users.features)
    expected = -np.where(users.label == 1, np.log(p), np.log(1 - p))
    np.testing.assert_allclose(log_losses(booster, users), expected)


def test_what_cannot_be_exported_is_not_chosen():
    users = sample(2_000, 0, together)
    many = trees(users.features, users.label, num_leaves=31, rounds=20)
    few = trees(users.features, users.label, num_leaves=4, rounds=2)
    found = measure_candidates({"many": many, "few": few}, users, len(NAMES))
    assert [f.cost is None for f in found] == [True, False]
    assert cheapest(found) == "few"
    with pytest.raises(SelfCheckError, match="tree 0 has 31 leaves"):
        measure_candidates({"many": many}, users, len(NAMES))
