"""The classifier graph against LightGBM's own `predict` and `pred_contrib`."""

import re
from itertools import combinations

import lightgbm as lgb
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle.manifest import Calibration
from engine.errors import SelfCheckError
from tests.fitting import session, splits, trees
from training.export.drivers import drivers_graph
from training.export.parity import TOLERANCES
from training.model.classifier import calibrated
from training.model.shapley.effects import model_effects
from training.model.shapley.leaves import exact_threshold

OUTPUTS = ["impacts", "margin", "probability", "driver_index", "driver_impact"]
TOLERANCE = 1e-5
PLATT = Calibration(0.93, -0.11)
HUGE = np.finfo(np.float32).max


def graph_of(booster, calibration, width):
    return drivers_graph(model_effects(booster, calibration, width), width)


def run(model, x):
    return dict(zip(OUTPUTS, session(model).run(OUTPUTS, {"features": x}), strict=True))


def together(most, features):
    """The limit of so many features on a path, however deep the tree is."""
    sets = combinations(range(features), min(most, features))
    return {"interaction_constraints": [list(some) for some in sets]}


def fit(x, y, rounds=12, **parameters):
    settings = {"min_sum_hessian_in_leaf": 1e-3, "num_leaves": 8, "seed": 1, **parameters}
    if "interaction_constraints" not in settings:
        settings.setdefault("max_depth", 3)
    booster = trees(x, y, rounds, **settings)
    return lgb.Booster(model_str=booster.model_to_string())


def draw(seed, rows=400, features=5, missing=0.2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)) * 10.0 ** rng.integers(-3, 6, features)
    x[:, ::2] = np.round(x[:, ::2])
    x = x.astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    y = (np.nan_to_num(x[:, 0]) / (1 + np.nanstd(x[:, 0])) + rng.normal(size=rows) > 0).astype(int)
    return x, y


def around(value):
    """The float32 that decides at a threshold, and its neighbours on both sides."""
    v = np.float32(exact_threshold(value))
    with np.errstate(over="ignore"):
        return np.array([np.nextafter(v, -HUGE), v, np.nextafter(v, HUGE)], np.float32)


def hard_rows(booster, x):
    """Rows with values on thresholds, an ulp beside, missing everywhere, and very large."""
    rng = np.random.default_rng(0)
    rows = [x, *(np.full((1, x.shape[1]), v) for v in (np.nan, HUGE, -HUGE, 0.0, -0.0))]
    for feature, threshold in splits(booster):
        block = x[rng.integers(len(x), size=3)].copy()
        block[:, feature] = around(threshold)
        rows.append(block)
    return np.concatenate(rows).astype(np.float32)


def check(booster, x, calibration=PLATT):
    slope, intercept = calibration.slope, calibration.intercept
    model = graph_of(booster, calibration, x.shape[1])
    ours = run(model, x)
    theirs = slope * booster.predict(x, pred_contrib=True)
    raw = slope * booster.predict(x, raw_score=True) + intercept
    scale = max(1.0, np.abs(theirs).max())
    assert np.abs(ours["impacts"] - theirs[:, :-1]).max(initial=0) <= TOLERANCE * scale
    assert np.abs(ours["margin"][:, 0] - raw).max() <= TOLERANCE * scale
    probability = calibrated(booster, calibration, x)
    assert (
        np.abs(ours["probability"][:, 0] - probability).max() <= TOLERANCES["probability"] * scale
    )
    check_drivers(ours, theirs[:, :-1], TOLERANCE * scale)
    return model


def check_drivers(ours, impacts, tolerance):
    index, count = ours["driver_index"], min(3, impacts.shape[1])
    assert index.dtype == np.int64
    assert index.shape == ours["driver_impact"].shape == (len(impacts), count)
    picked = np.take_along_axis(ours["impacts"], index, axis=1)
    np.testing.assert_array_equal(ours["driver_impact"], picked)
    largest = -np.sort(-np.abs(ours["impacts"]), axis=1)[:, :count]
    np.testing.assert_array_equal(np.abs(picked), largest)
    assert (
        np.diff(np.sort(index, axis=1), axis=1) > 0
    ).all()  # of equal sizes, any, but none twice
    size = -np.sort(-np.abs(impacts), axis=1)
    clear = np.ones(len(impacts), bool)
    for n in range(min(count, size.shape[1] - 1)):
        clear &= size[:, n] - size[:, n + 1] > tolerance
    native = np.argsort(-np.abs(impacts), axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(index[clear], native[clear])


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("leaves", [8, 63])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_impacts_equal_tree_shap(most, leaves, missing):
    x, y = draw(most, missing=missing)
    booster = fit(x, y, num_leaves=leaves, rounds=20, **together(most, x.shape[1]))
    check(booster, hard_rows(booster, np.concatenate([x, draw(99)[0]])))


@given(
    seed=st.integers(0, 2**31),
    most=st.integers(1, 3),
    leaves=st.integers(2, 40),
    features=st.integers(1, 9),
    missing=st.sampled_from([0.0, 0.1, 0.6]),
    use_missing=st.booleans(),
    max_bin=st.sampled_from([4, 15, 255]),
    rate=st.sampled_from([0.1, 0.4, 1.0]),
    slope=st.sampled_from([1.0, 0.7, 0.0, -0.5]),
)
def test_random_models(seed, most, leaves, features, missing, use_missing, max_bin, rate, slope):
    x, y = draw(seed, 300, features, missing)
    booster = fit(
        x,
        y,
        num_leaves=leaves,
        **together(most, features),
        use_missing=use_missing,
        max_bin=max_bin,
        learning_rate=rate,
    )
    check(
        booster,
        hard_rows(booster, np.concatenate([x, draw(seed + 1, 100, features)[0]])),
        Calibration(slope, -0.2),
    )


def test_trees_without_splits():
    x, y = draw(1)
    check(fit(x, y, min_data_in_leaf=1000), x)


def test_no_trees():
    x, y = draw(1)
    text = fit(x, y, rounds=1).model_to_string()
    text = text[: text.index("Tree=0")] + text[text.index("end of trees") :]
    booster = lgb.Booster(model_str=re.sub(r"tree_sizes=.*\n", "tree_sizes=\n", text))
    assert booster.num_trees() == 0
    ours = run(graph_of(booster, PLATT, x.shape[1]), x)
    assert not ours["impacts"].any()
    np.testing.assert_array_equal(ours["margin"], np.float32(PLATT.intercept))


def test_two_features_are_two_drivers():
    x, y = draw(2, features=2)
    check(fit(x, y), x)


def test_features_that_no_tree_has_seen_have_no_impact():
    x, y = draw(2)
    ours = run(graph_of(fit(x, y), PLATT, x.shape[1] + 2), np.pad(x, [(0, 0), (0, 2)]))
    assert ours["impacts"].shape == (len(x), x.shape[1] + 2)
    assert not ours["impacts"][:, -2:].any()


def stump(threshold, missing_type="NaN", *, default_left=True):
    """A model of one split, its text rewritten: decision_type as in LightGBM's tree.h."""
    features = np.arange(20, dtype=np.float32).reshape(-1, 1)
    text = trees(features, (features[:, 0] > 9).astype(int), rounds=1).model_to_string()
    code = {"None": 0, "Zero": 4, "NaN": 8}[missing_type] + 2 * default_left
    text = re.sub(r"\nthreshold=\S+", f"\nthreshold={threshold!r}", text)
    text = re.sub(r"\ndecision_type=\d+", f"\ndecision_type={code}", text)
    # The sizes that the header states are those of the trees before they were rewritten.
    return lgb.Booster(model_str=re.sub(r"\ntree_sizes=.*", "", text))


@pytest.mark.parametrize("missing_type", ["None", "NaN"])
@pytest.mark.parametrize("default_left", [True, False])
@pytest.mark.parametrize("threshold", [-1.5, 0.0, 1.5])
def test_every_corner_of_missing_values(missing_type, default_left, threshold):
    booster = stump(threshold, missing_type, default_left=default_left)
    values = [np.nan, -0.0, 0.0, 1e-40, -1e-40, *around(threshold), HUGE, -HUGE]
    check(booster, np.array(values, np.float32).reshape(-1, 1))


@pytest.mark.parametrize(
    "threshold",
    [0.1, -0.1, 1 / 3, 1.0000000180025095e-35, 16777217.0, 2.5e9, 1e300, -1e300, HUGE, 1e-46],
)
def test_a_value_at_a_threshold_and_one_step_beside_it(threshold):
    threshold = float(threshold)
    values = np.concatenate([around(threshold), around(np.clip(threshold, -HUGE, HUGE))])
    check(stump(threshold), values[np.isfinite(values)].reshape(-1, 1))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_exact_threshold_is_the_largest_float32_below(value):
    found = exact_threshold(value)
    if abs(value) > 1e-35 and value < 1e300:
        assert found == float(np.float32(found)) <= value
        with np.errstate(over="ignore"):
            assert float(np.nextafter(np.float32(found), np.float32(np.inf))) > value


def test_probabilities_keep_their_tail():
    found = run(graph_of(stump(0.5), Calibration(0.0, -30.0), 1), np.zeros((1, 1), np.float32))
    assert found["probability"][0, 0] == pytest.approx(np.exp(-30.0), rel=1e-5)


def test_infinity_is_not_missing():
    x, y = draw(3)
    booster = fit(x, y)
    x[::2, 0], x[1::2, 1] = np.inf, -np.inf
    check(booster, x)


def test_thresholds_beyond_float32():
    x, y = draw(4)
    text = fit(x, y, rounds=3).model_to_string()
    lines = [
        re.sub(r"^(threshold=)\S+ \S+", r"\g<1>1e200 -1e200", line) for line in text.split("\n")
    ]
    text = re.sub(r"tree_sizes=.*\n", "", "\n".join(lines))
    booster = lgb.Booster(model_str=text)
    check(booster, hard_rows(booster, x))


def edit_decisions(text, decision):
    def repeat(match):
        return "decision_type=" + " ".join([str(decision)] * len(match[1].split()))

    return re.sub(r"tree_sizes=.*\n", "", re.sub(r"decision_type=(.*)", repeat, text))


@pytest.mark.parametrize("decision", [0, 2, 8, 10])
def test_every_missing_type_that_is_not_refused(decision):
    x, y = draw(5)
    booster = lgb.Booster(model_str=edit_decisions(fit(x, y).model_to_string(), decision))
    check(booster, hard_rows(booster, x))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"zero_as_missing": True}, "tree 0 treats zero as missing"),
        ({"linear_tree": True}, "tree 0 has linear leaves"),
        ({"categories": [1], "max_cat_to_onehot": 1}, "tree 0 has a categorical split"),
        (
            {"max_depth": 6, "num_leaves": 31, "noise": True},
            "a path of its trees has 4 features; at most 3",
        ),
        ({"objective": "multiclass", "num_class": 3}, "one score"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "one score"),
    ],
)
def test_what_cannot_be_exact_is_refused(parameters, message):
    parameters = dict(parameters)
    x, y = draw(6, missing=0.1)
    x[:, 1] = np.abs(np.nan_to_num(x[:, 1]) % 7).astype(int)
    y = (x[:, 1].astype(int) % 3 == 1).astype(int) + (x[:, 1] > 5)
    if parameters.get("objective") != "multiclass":
        y = (y > 0).astype(int)
    if parameters.pop("noise", False):
        x, y = draw(6)
    booster = fit(x, y, **parameters)
    with pytest.raises(SelfCheckError, match=message):
        graph_of(booster, PLATT, x.shape[1])


def test_infinite_leaf_is_refused():
    x, y = draw(11408, 300, 1, 0.0)
    booster = fit(x, y, num_leaves=4, learning_rate=1.0, min_sum_hessian_in_leaf=0.0)
    with pytest.raises(SelfCheckError, match="not finite"):
        graph_of(booster, PLATT, x.shape[1])


def test_too_large_a_graph_is_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 4)).astype(np.float32)
    y = (np.sin(9 * x[:, 0]) * np.sin(7 * x[:, 1]) + x[:, 2] * x[:, 3] > 0).astype(int)
    booster = fit(
        x, y, max_bin=5000, rounds=400, num_leaves=31, learning_rate=1.0, **together(3, 4)
    )
    with pytest.raises(SelfCheckError, match="14 tables of .* MB"):
        graph_of(booster, PLATT, x.shape[1])


def test_bits_do_not_depend_on_the_chunk():
    x, y = draw(7, 5000, 9)
    booster = fit(x, y, rounds=60, max_depth=3)
    graph = session(graph_of(booster, PLATT, x.shape[1]))
    whole = graph.run(OUTPUTS, {"features": x[:4992]})
    for rows in (128, 256, 640, 2048):
        for start in range(0, 4992 - rows + 1, rows):
            part = graph.run(OUTPUTS, {"features": x[start : start + rows]})
            for a, b in zip(part, whole, strict=True):
                np.testing.assert_array_equal(a, b[start : start + rows])


def test_graph_is_portable():
    x, y = draw(8)
    model = graph_of(fit(x, y), PLATT, x.shape[1])
    assert model.ir_version == 8
    assert {(o.domain, o.version) for o in model.opset_import} <= {("", 17), ("ai.onnx.ml", 3)}
    assert all(node.domain == "" for node in model.graph.node)
    onnx.checker.check_model(model, full_check=True)
    assert run(model, x[:0])["impacts"].shape == (0, x.shape[1])
