import dataclasses
import json
import shutil

import numpy as np
import pytest
from onnx import numpy_helper

from engine.bundle.open import CONFORMANCE, CONFORMANCE_INPUT, SCORER, open_bundle
from engine.errors import BundleError, SelfCheckError
from engine.model.conformance import (
    CORE_ROWS,
    TOLERANCES,
    check_core,
    differences,
    read_vectors,
    refuse_differences,
    run_engine,
)
from engine.model.session import Session
from engine.model.verify import check_document, verify
from tests.bundles import change_graph
from tests.helpers import BUNDLE, run


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def vectors(bundle):
    return read_vectors(bundle)


@pytest.fixture
def said(vectors):
    """What a runtime says that makes no mistake."""
    return {name: values.copy() for name, values in vectors.outputs.items()}


def replaced(bundle, name, content):
    return dataclasses.replace(bundle, contents={**bundle.contents, name: content})


def test_the_core_is_the_first_rows_of_all(bundle, vectors):
    core = read_vectors(bundle, CORE_ROWS)
    assert core.rows == CORE_ROWS < vectors.rows
    assert core.inputs.equals(vectors.inputs.head(CORE_ROWS))
    assert all(np.array_equal(core.outputs[n], vectors.outputs[n][:CORE_ROWS]) for n in TOLERANCES)


def test_the_engine_gives_what_it_must(bundle, vectors):
    worst = differences(vectors, run_engine(bundle.manifest, Session(bundle), vectors))
    assert worst.keys() == TOLERANCES.keys() - {"distances"}
    refuse_differences(worst, vectors.rows, "engine")


@pytest.mark.parametrize("name", ["margin", "probability", "impacts", "driver_impact", "distances"])
@pytest.mark.parametrize("change", [np.nan, np.inf, 0.001])
def test_a_number_that_is_off_is_told(vectors, said, name, change):
    # Beside an expected value of at most 1, a difference counts as it is.
    flat = said[name].reshape(-1)
    place = int(np.abs(flat).argmin())
    flat[place] += change
    worst = differences(vectors, said)
    assert worst[name] == pytest.approx(np.inf if change != 0.001 else 0.001, rel=1e-3)
    assert [n for n in worst if worst[n] > 0] == [name]
    with pytest.raises(SelfCheckError, match=f"here: 1 output of 7 not as expected .* {name} by"):
        refuse_differences(worst, vectors.rows, "here")


def test_large_numbers_may_differ_by_a_share(vectors, said):
    place = np.unravel_index(said["distances"].argmax(), said["distances"].shape)
    said["distances"][place] *= 1 + 5e-6
    assert 0 < differences(vectors, said)["distances"] <= TOLERANCES["distances"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("driver_index", -1), ("driver_index", 10_000), ("segment", 10_000)],
)
def test_a_driver_or_a_segment_that_is_none_is_told(vectors, said, name, value):
    said[name][0] = value
    assert differences(vectors, said)[name] == np.inf


def test_a_driver_named_twice_is_told(vectors, said):
    said["driver_index"][0, 1] = said["driver_index"][0, 0]
    assert differences(vectors, said)["driver_index"] == np.inf


def test_drivers_of_equal_size_may_change_places(vectors, said):
    impacts = np.abs(said["impacts"])
    impacts[0] = 0
    outputs = {**said, "impacts": impacts, "driver_impact": said["driver_impact"].copy()}
    outputs["driver_impact"][0] = 0
    equal = dataclasses.replace(vectors, outputs=outputs)
    found = {"driver_index": said["driver_index"].copy()}
    found["driver_index"][0] = found["driver_index"][0, ::-1]
    assert differences(equal, found)["driver_index"] < TOLERANCES["driver_index"]


def test_another_segment_is_as_far_off_as_it_is_farther(vectors, said):
    distances = vectors.outputs["distances"][0].astype(float)
    farthest = int(distances.argmax())
    said["segment"][0] = vectors.segments[farthest]
    wanted = (distances.max() - distances.min()) / max(1, distances.min())
    assert differences(vectors, said)["segment"] == pytest.approx(wanted)


def test_an_output_of_another_type_or_shape_is_told(vectors, said):
    worst = differences(
        vectors, {**said, "margin": said["margin"][:, 0], "segment": said["segment"].astype(float)}
    )
    assert worst["margin"] == worst["segment"] == np.inf


def test_a_machine_that_is_off_does_not_start(bundle):
    class Off(Session):
        def run(self, features):
            found = super().run(features)
            return dataclasses.replace(found, margin=found.margin + np.float32(1e-3))

    with pytest.raises(SelfCheckError, match="256 conformance rows .*: margin by 0.001"):
        check_core(bundle, Off(bundle))


def test_vectors_of_other_inputs_are_refused(bundle):
    first, second = CONFORMANCE_INPUT.format(0), CONFORMANCE_INPUT.format(1)
    with pytest.raises(BundleError, match=rf"{first}: .* expected '\w+' of type tensor.float."):
        read_vectors(replaced(bundle, first, bundle.contents[second]))


def test_vectors_that_are_not_listed_are_refused(bundle):
    rest = {n: c for n, c in bundle.contents.items() if not n.endswith("output_6.pb")}
    with pytest.raises(BundleError, match="output_6.pb: not listed"):
        read_vectors(dataclasses.replace(bundle, contents=rest))


def test_a_verification_tells_what_was_checked():
    done = run("engine", "verify")
    assert done.returncode == 0
    assert "every SHA-256 matches" in done.stdout
    told = json.loads(run("engine", "verify", "--json").stdout)
    found = verify(BUNDLE)
    assert told["rows"] == found.rows > told["core_rows"] == CORE_ROWS
    assert told["worst"][SCORER].keys() == TOLERANCES.keys()
    assert told["operators"]["ai.onnx.ml.LabelEncoder"] > 0
    assert told["versions"].keys() >= {"onnxruntime", "polars", "python"}


def test_a_verification_that_fails_is_told_and_ends_with_70(tmp_path, bundle):
    def shift(model):
        constant = next(c for c in model.graph.initializer if "base_value" in c.name)
        values = numpy_helper.to_array(constant) + np.float32(0.01)
        constant.CopyFrom(numpy_helper.from_array(values, constant.name))

    shutil.copytree(bundle.path, tmp_path / "bundle")
    change_graph(tmp_path / "bundle", SCORER, shift)
    done = run("engine", "verify", tmp_path / "bundle")
    assert done.returncode == 70
    assert "margin: engine 0, scorer.onnx 0.01" in done.stdout
    assert "scorer.onnx: 2 outputs of 7 not as expected" in done.stderr
    # The engine itself does not use that graph.
    check_core(open_bundle(tmp_path / "bundle"), Session(bundle))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(rows=1),
        lambda document: document.update(bundle_id="other/1"),
        lambda document: document["outputs"]["margin"][0].__setitem__(0, 9.0),
        lambda document: next(iter(document["inputs"].values())).__setitem__(0, 77.0),
        lambda document: document["inputs"].clear(),
        lambda document: document.update(inputs=[]),
    ],
)
def test_a_document_that_says_other_than_the_test_data_is_refused(bundle, vectors, change):
    document = json.loads(bundle.contents[CONFORMANCE])
    check_document(bundle, vectors)
    change(document)
    changed = replaced(bundle, CONFORMANCE, json.dumps(document).encode())
    with pytest.raises(BundleError, match="differs from the ONNX test data|not conformance rows"):
        check_document(changed, vectors)
