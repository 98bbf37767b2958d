"""`scorer.onnx` alone says what it is."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import PLAYBOOK, SCORER, open_bundle
from tests.helpers import BUNDLE


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def told(bundle):
    """What a binding of ONNX Runtime shows of the file."""
    session = ort.InferenceSession(bundle.contents[SCORER], providers=["CPUExecutionProvider"])
    found = session.get_modelmeta()
    texts = dict(found.custom_metadata_map)
    bundle_id = texts.pop("bundle_id")
    return found, {"bundle_id": bundle_id, **{k: json.loads(v) for k, v in texts.items()}}


def test_the_metadata_are_those_of_the_manifest(bundle, told):
    manifest, found = bundle.manifest, told[1]
    assert found["bundle_id"] == manifest.bundle_id
    assert found["threshold"] == manifest.threshold
    assert tuple(found["decile_cuts"]) == manifest.decile_cuts
    assert tuple(found["band_cuts"]) == manifest.band_cuts
    assert found["base_value"] == manifest.base_value
    assert [f["name"] for f in found["features"]] == [
        f.name for f in manifest.schema.model_features
    ]
    values = {f["name"]: tuple(f["values"]) for f in found["features"] if "values" in f}
    assert values == manifest.categories
    assert [(s["id"], s["name"]) for s in found["segments"]] == [
        (s.id, s.name) for s in manifest.segments
    ]


def test_every_action_of_the_playbook_is_told(bundle, told):
    rows = json.loads(bundle.contents[PLAYBOOK])["rows"]
    assert len(told[1]["actions"]) == len(rows) == 4 * len(bundle.manifest.segments)
    for said, row in zip(told[1]["actions"], rows, strict=True):
        assert said == {key: row[key] for key in ("segment_id", "band", "action")}


def test_the_file_has_a_version_and_words(bundle, told):
    date = read_evaluation(bundle).fit.training["snapshots"][-1]
    assert told[0].version == int(date.replace("-", ""))
    assert bundle.manifest.bundle_id in told[0].description
    graph = onnx.load_from_string(bundle.contents[SCORER]).graph
    for port in (*graph.input, *graph.output):
        assert len(port.doc_string) > 10, port.name
    words = {port.name: port.doc_string for port in graph.input}
    features = bundle.manifest.schema.model_features
    assert all(words[f.name].startswith(f.title) for f in features)


def test_metadata_alone_turn_outputs_into_words(bundle, told):
    """The few lines that any runtime needs, here in Python."""
    found = told[1]
    session = ort.InferenceSession(bundle.contents[SCORER], providers=["CPUExecutionProvider"])
    user = {
        f["name"]: np.array([[""]], object)
        if f["kind"] == "categorical"
        else np.full((1, 1), np.nan, np.float32)
        for f in found["features"]
    }
    names = [output.name for output in session.get_outputs()]
    scores = dict(zip(names, session.run(None, user), strict=True))
    impacts = scores["impacts"][0]
    assert scores["margin"][0, 0] == pytest.approx(found["base_value"] + impacts.sum(), abs=1e-5)
    first = found["features"][scores["driver_index"][0, 0]]["name"]
    assert first == found["features"][int(np.abs(impacts).argmax())]["name"]
    band = found["bands"][int((np.array(found["band_cuts"]) <= scores["probability"][0, 0]).sum())]
    segment = int(scores["segment"][0])
    assert [a for a in found["actions"] if (a["segment_id"], a["band"]) == (segment, band)]
