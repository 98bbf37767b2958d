"""LightGBM's trees against their ONNX graph: the corners of the encoding, then random models."""

import re

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.bundle import Calibration
from engine.errors import SelfCheckError
from tests.fitting import session, trees
from training.export.classifier import classifier_graph
from training.export.graph import floor32
from training.fit.classifier import calibrated, raw_scores
from training.parity import TOLERANCES

PLAIN = Calibration(1.0, 0.0)
LARGEST = float(np.finfo(np.float32).max)


def margins(booster, features, calibration=PLAIN):
    graph = classifier_graph(booster, calibration, features.shape[1])
    return session(graph).run(["margin", "probability"], {"features": features})


def assert_equal(booster, features, calibration=PLAIN):
    margin, probability = margins(booster, features, calibration)
    native = calibration.slope * raw_scores(booster, features) + calibration.intercept
    np.testing.assert_allclose(margin[:, 0], native, rtol=1e-5, atol=1e-5)
    found = calibrated(booster, calibration, features)
    assert np.abs(probability[:, 0] - found).max() <= TOLERANCES["probability"]


def stump(threshold, missing_type="NaN", *, default_left=True):
    """A model of one split, its text rewritten: decision_type as in LightGBM's tree.h."""
    features = np.arange(20, dtype=np.float32).reshape(-1, 1)
    text = trees(features, (features[:, 0] > 9).astype(int), rounds=1).model_to_string()
    code = {"None": 0, "Zero": 4, "NaN": 8}[missing_type] + 2 * default_left
    text = re.sub(r"\nthreshold=\S+", f"\nthreshold={threshold!r}", text)
    text = re.sub(r"\ndecision_type=\d+", f"\ndecision_type={code}", text)
    # The sizes that the header states are those of the trees before they were rewritten.
    return lgb.Booster(model_str=re.sub(r"\ntree_sizes=.*", "", text))


def around(value):
    """A float32 and its neighbours on both sides."""
    v = floor32(np.array([value]))[0]
    return [np.nextafter(v, np.float32(-LARGEST)), v, np.nextafter(v, np.float32(LARGEST))]


@pytest.mark.parametrize("missing_type", ["None", "NaN"])
@pytest.mark.parametrize("default_left", [True, False])
@pytest.mark.parametrize("threshold", [-1.5, 0.0, 1.5])
def test_every_corner_of_missing_values(missing_type, default_left, threshold):
    booster = stump(threshold, missing_type, default_left=default_left)
    values = [np.nan, -0.0, 0.0, 1e-40, -1e-40, *around(threshold), LARGEST, -LARGEST]
    assert_equal(booster, np.array(values, np.float32).reshape(-1, 1))


@pytest.mark.parametrize(
    "threshold",
    [0.1, -0.1, 1 / 3, 1.0000000180025095e-35, 16777217.0, 2.5e9, 1e300, -1e300, LARGEST, 1e-46],
)
def test_a_value_at_a_threshold_and_one_step_beside_it(threshold):
    values = [*around(threshold), *around(np.float32(min(max(threshold, -LARGEST), LARGEST)))]
    assert_equal(stump(threshold), np.array([v for v in values if np.isfinite(v)]).reshape(-1, 1))


def test_a_tree_without_splits():
    booster = trees(np.zeros((50, 2), np.float32), np.arange(50) % 3 == 0, rounds=3)
    assert_equal(booster, np.array([[0, 1], [np.nan, -5]], np.float32))


def test_a_model_without_trees():
    text = stump(0.5).model_to_string()
    head, tail = text.split("Tree=0")[0], text[text.index("end of trees") :]
    empty = lgb.Booster(model_str=re.sub(r"tree_sizes=.*", "tree_sizes=", head) + tail)
    assert empty.num_trees() == 0
    assert_equal(empty, np.zeros((2, 1), np.float32), Calibration(1.0, -0.5))


@pytest.mark.parametrize("slope", [0.0, 0.3, 2.5])
def test_calibration_is_in_the_margin(slope):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 3)).astype(np.float32)
    booster = trees(features, features[:, 0] > 0, rounds=30)
    assert_equal(booster, features, Calibration(slope, -1.25))


def test_probabilities_keep_their_tail():
    booster = stump(0.5)
    _, probability = margins(booster, np.array([[0.0]], np.float32), Calibration(0.0, -30.0))
    assert probability[0, 0] == pytest.approx(np.exp(-30.0), rel=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"zero_as_missing": True}, "tree 0 takes Zero as missing"),
        ({"linear_tree": True}, "tree 0 has linear leaves"),
        ({"categories": [0], "max_cat_to_onehot": 1}, "tree 0 has a categorical split"),
        ({"objective": "multiclass", "num_class": 3}, "not a plain binary"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "not a plain binary"),
    ],
)
def test_trees_that_onnx_cannot_hold_are_refused(parameters, message):
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.integers(0, 6, 400), rng.normal(size=400)]).astype(np.float32)
    label = (features[:, 0] % 3) if "num_class" in parameters else features[:, 0] % 2
    booster = trees(features, label, rounds=2, min_data_per_group=1, cat_smooth=0, **parameters)
    with pytest.raises(SelfCheckError, match=message):
        classifier_graph(booster, PLAIN, 2)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float64, 20, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_floor32_is_the_largest_float32_below(values):
    found = floor32(values)
    # Below the smallest float32 there is only minus infinity.
    assert (found.astype(np.float64) <= values).all()
    with np.errstate(over="ignore"):
        assert (np.nextafter(found, np.float32(np.inf)).astype(np.float64) > values).all()


@given(
    features=hnp.arrays(
        np.float32, (40, 3), elements=st.one_of(finite, st.just(np.nan), st.sampled_from([0, 1, 2]))
    ),
    label=hnp.arrays(np.int8, 40, elements=st.integers(0, 1)),
    leaves=st.integers(2, 8),
    unseen=hnp.arrays(np.float32, (30, 3), elements=st.one_of(finite, st.just(np.nan))),
)
def test_random_models(features, label, leaves, unseen):
    booster = trees(features, label, rounds=5, num_leaves=leaves)
    assert_equal(booster, np.concatenate([features, unseen]))
