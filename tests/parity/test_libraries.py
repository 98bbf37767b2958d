"""Why some graphs are built here: what the converters do instead.

A test that fails here is good news: a converter has become exact, and could take over.
"""

import numpy as np
import onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType as LightGbmFloat
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.cluster import KMeans
from sklearn.impute import SimpleImputer

from engine.bundle.manifest import Calibration
from tests.fitting import session, splits, trees
from training.export.drivers import drivers_graph
from training.model.classifier import sigmoid
from training.model.shapley.effects import model_effects
from training.model.shapley.leaves import exact_threshold
from training.model.trees import raw_scores


def test_onnxmltools_rounds_thresholds_to_nearest():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2_000, 2)).astype(np.float32)
    booster = trees(features, features[:, 0] + features[:, 1] > 0, rounds=20, num_leaves=8)
    asked = splits(booster)
    nearest = np.array([threshold for _, threshold in asked], np.float32)
    at_threshold = np.zeros((len(asked), 2), np.float32)
    at_threshold[range(len(asked)), [feature for feature, _ in asked]] = nearest
    assert (nearest != [exact_threshold(threshold) for _, threshold in asked]).any()

    native = sigmoid(raw_scores(booster, at_threshold))
    converted = onnxmltools.convert_lightgbm(
        booster, initial_types=[("features", LightGbmFloat([None, 2]))], zipmap=False
    )
    theirs = session(converted).run(["probabilities"], {"features": at_threshold})[0][:, 1]
    graph = session(drivers_graph(model_effects(booster, Calibration(1.0, 0.0), 2), 2))
    ours = graph.run(["probability"], {"features": at_threshold})[0][:, 0]
    assert np.abs(theirs - native).max() > 1e-3
    assert np.abs(ours - native).max() < 1e-6


def test_skl2onnx_distances_are_not_numbers_at_a_centroid():
    points = np.random.default_rng(0).normal(size=(500, 8))
    model = KMeans(8, n_init=1, random_state=0).fit(points)
    converted = to_onnx(model, initial_types=[("X", DoubleTensorType([None, 8]))])
    distances = session(converted).run(None, {"X": model.cluster_centers_})[1]
    assert not (np.diag(distances) < 1e-9).all()


def test_skl2onnx_keeps_imputed_values_in_single_precision():
    value = 1 / 3
    model = SimpleImputer(strategy="median").fit(np.array([[value], [value]]))
    converted = to_onnx(model, initial_types=[("X", DoubleTensorType([None, 1]))])
    numbers = next(n for n in converted.graph.node if n.op_type == "Imputer")
    stored = next(a for a in numbers.attribute if a.name == "imputed_value_floats").floats[0]
    assert stored != value
