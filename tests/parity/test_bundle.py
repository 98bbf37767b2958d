"""A whole bundle against the native models, and what happens when they differ."""

import dataclasses
import json
import re

import lightgbm as lgb
import numpy as np
import onnx
import pytest

from engine.bundle.open import (
    CLASSIFIER,
    CORE,
    NATIVE_CLASSIFIER,
    PREPROCESS,
    SCORER,
    SEGMENTER,
    Bundle,
)
from engine.errors import SelfCheckError
from engine.model.session import Session, load_graph
from engine.rows.typed import to_features
from tests.fitted import SMALL
from tests.fitting import SHOP, halved, shop_users
from tests.helpers import write_table
from training.data.dataset import load_dataset
from training.data.scored import run_engine
from training.export.bundle import bundle_contents, bundle_manifest
from training.export.parity import CHUNK_SIZES, check_rows, different_bits, driver_changes
from training.export.scorer import OUTPUTS
from training.model.categories import fit_categories
from training.model.classifier import fit_classifier
from training.model.trees import Sample
from training.segments.segments import fit_segments

WITH_TEXTS = (PREPROCESS, SCORER)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Users, native models and their bundle, in memory."""
    path = write_table(shop_users(3_000, 5), tmp_path_factory.mktemp("users") / "users.parquet")
    dataset = load_dataset([str(path)], SHOP)
    categories = fit_categories(dataset.typed, dataset.label, SHOP)
    features = to_features(dataset.typed, SHOP.model_features, categories)
    taught, calibration = (Sample(features[n::2], dataset.label[n::2]) for n in range(2))
    names = tuple(f.name for f in SHOP.model_features)
    pool = halved(taught)
    classifier = fit_classifier(pool, calibration, names, 1, SMALL, (0.5, 0.8, 0.95))
    parts = (features, features, features)
    segmentation = fit_segments(*parts, SHOP.model_features, categories, 1, SMALL)
    models = (SHOP, categories, classifier, segmentation)
    manifest = bundle_manifest("tiny/1", *models, segmentation.segments)
    bundle = Bundle(path, manifest, bundle_contents("tiny/1", *models))
    return dataset.typed, classifier, segmentation, bundle


def changed(bundle, name, attribute, value):
    """The bundle with one number of one graph changed."""
    model = onnx.load_from_string(bundle.contents[name])
    found = [a for n in model.graph.node for a in n.attribute if a.name == attribute]
    if found:
        found[0].floats[0] += value
    else:
        constant = next(c for c in model.graph.initializer if attribute in c.name)
        old = onnx.numpy_helper.to_array(constant)
        numbers = (old + value).astype(old.dtype)
        constant.CopyFrom(onnx.numpy_helper.from_array(numbers, constant.name))
    contents = {**bundle.contents, name: model.SerializeToString()}
    return dataclasses.replace(bundle, contents=contents)


def test_figures_of_an_exact_bundle(fitted):
    typed, classifier, segmentation, bundle = fitted
    figures = check_rows(bundle, typed, classifier, segmentation)
    assert figures["rows"] == 3_000
    assert figures["max_probability_difference"] < 1e-6
    assert figures["max_margin_difference"] < 1e-5
    assert figures["max_impact_difference"] < 1e-5
    assert not any(v for k, v in figures.items() if k.startswith("changed_"))
    json.dumps(figures, allow_nan=False)


def test_the_native_text_predicts_the_same_and_tells_of_no_users_values(fitted):
    typed, classifier, _, bundle = fitted
    text = bundle.contents[NATIVE_CLASSIFIER].decode()
    features = to_features(typed, SHOP.model_features, bundle.manifest.categories)
    read = lgb.Booster(model_str=text)
    for kind in ({"raw_score": True}, {"pred_contrib": True}):
        expected = classifier.booster.predict(features, **kind)
        assert (read.predict(features, **kind) == expected).all()
    assert read.feature_name() == classifier.booster.feature_name()
    (infos,) = re.findall("^feature_infos=(.*)$", text, re.MULTILINE)
    assert infos.split() == ["[-inf:inf]"] * features.shape[1]
    # Every other user has taught the trees.
    spend = features[::2, [f.name for f in SHOP.model_features].index("spend")]
    largest = float(np.nanmax(spend))
    assert f"{largest:.17g}" in classifier.booster.model_to_string()
    assert f"{largest:.17g}" not in text


@pytest.mark.parametrize(
    ("name", "attribute", "value", "message"),
    [
        (CORE, "/drivers/base_value", 1e-4, "margins differ by up to"),
        (CORE, "/drivers/main", 1e-4, "impacts differ by up to"),
        (SCORER, "/drivers/main", 1e-6, r"in_scorer: [\d,]+ users? changed"),
        (CORE, "/drivers/base_value", 1e-4, "probabilities differ by up to"),
        (CORE, "/drivers/base_value", 1.0, r"will_purchase: [\d,]+ users changed"),
        (CORE, "/drivers/base_value", 1e-4, r"in_scorer: [\d,]+ users changed"),
        (SCORER, "/drivers/base_value", 1e-4, r"in_scorer: [\d,]+ users changed"),
        (SCORER, "values_floats", 1.0, r"in_scorer: [\d,]+ users? changed"),
        (CORE, "/segmenter/mean", 0.5, r"segment: [\d,]+ users changed"),
    ],
)
def test_a_graph_that_differs_is_refused(fitted, name, attribute, value, message):
    typed, classifier, segmentation, bundle = fitted
    with pytest.raises(SelfCheckError, match=message) as caught:
        check_rows(changed(bundle, name, attribute, value), typed, classifier, segmentation)
    assert caught.value.exit_code == 70


def test_a_threshold_that_differs_is_refused(fitted):
    typed, classifier, segmentation, bundle = fitted
    with pytest.raises(SelfCheckError, match="differ"):
        check_rows(
            changed(bundle, CORE, "/drivers/thresholds", 2.0), typed, classifier, segmentation
        )


def test_drivers_may_change_places_only_where_they_tie():
    impacts = np.array([[0.3, -0.5, 0.1, 0.3 + 1e-7]])
    for order, changes in (([1, 3, 0], 0), ([1, 0, 3], 0), ([0, 1, 3], 1), ([1, 3, 3], 1)):
        assert driver_changes(np.array([order]), impacts) == changes


@pytest.mark.parametrize("size", [*CHUNK_SIZES, 128, 1_000, 2_999, 3_000])
def test_scores_do_not_depend_on_the_chunk(fitted, size):
    typed, _, _, bundle = fitted
    features = to_features(typed, SHOP.model_features, bundle.manifest.categories)
    session = Session(bundle)
    whole = run_engine(session, features)
    for start in range(0, min(3_000, 40 * size), size):
        found = session.run(features[start : start + size])
        rows = slice(start, start + size)
        for name in (f.name for f in dataclasses.fields(found)):
            expected = getattr(whole[rows], name)
            assert getattr(found, name).tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("name", [PREPROCESS, CLASSIFIER, SEGMENTER, CORE, SCORER])
def test_graphs_are_portable(fitted, name):
    model = onnx.load_from_string(fitted[-1].contents[name])
    assert model.ir_version <= 8
    limits = {"": 17, "ai.onnx.ml": 3}
    assert all(o.version <= limits[o.domain] for o in model.opset_import)
    assert {n.domain for n in model.graph.node} | {""} == {o.domain for o in model.opset_import}
    assert ("ai.onnx.ml" in {o.domain for o in model.opset_import}) == (name in WITH_TEXTS)
    assert not model.functions
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {p.key: p.value for p in model.metadata_props} == {"bundle_id": "tiny/1"}


def test_the_scorer_has_named_inputs_and_all_outputs(fitted):
    model = onnx.load_from_string(fitted[-1].contents[SCORER])
    assert [i.name for i in model.graph.input] == [f.name for f in SHOP.model_features]
    assert tuple(o.name for o in model.graph.output) == OUTPUTS


def test_the_core_is_classifier_and_segmenter_to_the_bit(fitted):
    typed, _, _, bundle = fitted
    features = to_features(typed, SHOP.model_features, bundle.manifest.categories)
    parts = {n: c for n, c in bundle.contents.items() if n != CORE}
    apart, whole = (
        Session(dataclasses.replace(bundle, contents=contents)).run(features)
        for contents in (parts, bundle.contents)
    )
    assert different_bits(apart, whole) == 0
    expected = load_graph(bundle, SEGMENTER).run(["distances"], {"features": features})[0]
    found = load_graph(bundle, CORE).run(["distances"], {"features": features})[0]
    np.testing.assert_array_equal(found, expected)


def test_manifest_order_is_the_order_of_distances(fitted):
    typed, _, segmentation, bundle = fitted
    features = to_features(typed, SHOP.model_features, bundle.manifest.categories)
    graph = onnx.load_from_string(bundle.contents[SEGMENTER]).SerializeToString()
    from tests.fitting import session

    segment, distances = session(graph).run(["segment", "distances"], {"features": features})
    ids = np.array([s.id for s in segmentation.segments])
    assert (ids[distances.argmin(axis=1)] == segment).all()
