"""What is in the conformance files of the committed bundle, and that others can read them."""

import json

import lightgbm as lgb
import numpy as np
import onnx
import pytest
from onnx import numpy_helper, reference
from onnx.reference import op_run

from engine.bundle.open import (
    CONFORMANCE,
    CONFORMANCE_INPUT,
    CONFORMANCE_OUTPUT,
    NATIVE_CLASSIFIER,
    SCORER,
    open_bundle,
)
from engine.model.conformance import (
    CORE_ROWS,
    TOLERANCES,
    differences,
    read_vectors,
    refuse_differences,
)
from tests.helpers import BUNDLE
from training.export.conformance_rows import SPECIAL_NUMBERS, UNSEEN
from training.model.shapley.effects import model_effects

MAX_BYTES = 2_000_000
MAX_ROWS = 4_096


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def document(bundle):
    return json.loads(bundle.contents[CONFORMANCE])


def read_test_data(bundle, names, position):
    return numpy_helper.to_array(
        onnx.load_tensor_from_string(bundle.contents[names.format(position)])
    )


def of_kind(bundle, kind):
    return [f for f in bundle.manifest.schema.model_features if f.kind == kind]


def float32(values):
    return np.array(values, np.float64).astype(np.float32)


@pytest.fixture(scope="module")
def thresholds(bundle):
    """Of each feature, as the native model has them."""
    features = bundle.manifest.schema.model_features
    booster = lgb.Booster(model_str=bundle.contents[NATIVE_CLASSIFIER].decode())
    effects = model_effects(booster, bundle.manifest.calibration, len(features))
    return {f.name: t for f, t in zip(features, effects.thresholds, strict=True)}


def test_the_files_are_small(bundle, document):
    sizes = [len(c) for name, c in bundle.contents.items() if name.startswith("conformance/")]
    assert sum(sizes) < MAX_BYTES
    assert CORE_ROWS == document["core_rows"] < document["rows"] <= MAX_ROWS
    assert document["tolerances"] == TOLERANCES


def test_both_sides_of_every_threshold_are_there(bundle, document, thresholds):
    for feature in of_kind(bundle, "numeric"):
        splits = np.asarray(thresholds[feature.name], np.float32)
        found = np.array([np.nan if v is None else v for v in document["inputs"][feature.name]])
        for wanted in (
            splits,
            np.nextafter(splits, np.float32(np.inf)),
            np.nextafter(splits, np.float32(-np.inf)),
        ):
            within = wanted[(wanted >= (feature.min or 0)) & (wanted <= (feature.max or np.inf))]
            assert np.isin(within, found.astype(np.float32)).all(), feature.name


def test_every_category_unseen_ones_and_missing_ones_are_there(bundle, document):
    for feature in of_kind(bundle, "categorical"):
        wanted = {*bundle.manifest.categories[feature.name], *UNSEEN, None}
        assert set(document["inputs"][feature.name]) == wanted
    for feature in of_kind(bundle, "numeric"):
        assert None in document["inputs"][feature.name]


def test_special_numbers_are_there_within_the_bounds(bundle, document):
    for feature in of_kind(bundle, "numeric"):
        found = {float(v) for v in document["inputs"][feature.name] if v is not None}
        low, high = feature.min, feature.max
        wanted = {float(np.float32(n)) for n in SPECIAL_NUMBERS}
        within = {n for n in wanted if (low is None or n >= low) and (high is None or n <= high)}
        assert within <= {float(np.float32(n)) for n in found}, feature.name


def test_probabilities_lie_near_every_cut_point_on_either_side(bundle, document):
    manifest = bundle.manifest
    p = np.array(document["outputs"]["probability"])[:, 0]
    for cut in (manifest.threshold, *manifest.decile_cuts, *manifest.band_cuts):
        assert 0 <= (p[p >= cut] - cut).min() < 0.01
        assert 0 < (cut - p[p < cut]).min() < 0.01


def test_every_segment_is_there(bundle, document):
    wanted = {segment.id for segment in bundle.manifest.segments}
    assert set(document["outputs"]["segment"]) == wanted
    assert set(document["outputs"]["segment"][:CORE_ROWS]) == wanted


def test_the_document_has_the_bits_of_the_test_data(bundle, document):
    graph = onnx.load_from_string(bundle.contents[SCORER]).graph
    for names, ports, part in (
        (CONFORMANCE_INPUT, graph.input, "inputs"),
        (CONFORMANCE_OUTPUT, graph.output, "outputs"),
    ):
        for n, port in enumerate(ports):
            tensor = onnx.load_tensor_from_string(bundle.contents[names.format(n)])
            values, told = numpy_helper.to_array(tensor), document[part][port.name]
            assert tensor.name == port.name
            if values.dtype == object:
                assert values[:, 0].tolist() == [text or "" for text in told]
            elif part == "inputs":
                shown = float32([np.nan if v is None else v for v in told]).view(np.uint32)
                assert (np.isnan(values[:, 0]) | (shown == values[:, 0].view(np.uint32))).all()
            else:
                assert np.array(told).astype(values.dtype).tobytes() == values.tobytes()


def test_the_native_models_agree_as_on_all_users(document):
    native = document["native"]
    assert native["max_probability_difference"] < 1e-6
    assert native["max_margin_difference"] < 1e-5
    assert native["max_impact_difference"] < 1e-5


class GatherElements(op_run.OpRun):
    """As ONNX says; the evaluator's own cannot choose among more than 64 values."""

    op_domain = ""

    def _run(self, data, indices, axis=0):
        return (np.take_along_axis(data, indices, axis),)


def test_another_runtime_passes_with_the_read_test_data(bundle, document):
    """The onnx package's own evaluator, in NumPy: it shares no kernel with ONNX Runtime."""
    model = onnx.load_from_string(bundle.contents[SCORER])
    inputs = {
        p.name: read_test_data(bundle, CONFORMANCE_INPUT, n)
        for n, p in enumerate(model.graph.input)
    }
    evaluator = reference.ReferenceEvaluator(model, new_ops=[GatherElements])
    with np.errstate(invalid="ignore"):  # It warns of the byte that it makes of a missing value.
        found = dict(zip(evaluator.output_names, evaluator.run(None, inputs), strict=True))
    vectors = read_vectors(bundle)
    worst = differences(vectors, found)
    assert worst.keys() == TOLERANCES.keys()
    refuse_differences(worst, document["rows"], "onnx.reference")
