"""A bundle as a model repository of Triton: its configuration, and MLServer's answers.

Triton itself is not among the packages that can be installed here.
"""

import json

import numpy as np
import pytest

from engine.bundle.open import CONFORMANCE, SCORER, open_bundle
from engine.model.conformance import TOLERANCES, differences, read_vectors, run_engine
from engine.model.session import Session, load_graph
from tests.helpers import BUNDLE, ROOT, run
from tests.integration.javascript import run as run_program
from tests.integration.model_server import ask, free_ports, running

SERVER = ROOT / "build" / "mlserver" / "bin"
MODEL = "shopnow"
TYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}

pytestmark = pytest.mark.skipif(
    not (SERVER / "mlserver").exists(),
    reason="needs MLServer on Python 3.11 or 3.12: make mlserver",
)


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "repository"
    said = run("training", "export", BUNDLE, "--to", "triton", "--out", folder)
    assert said.returncode == 0, said.stderr
    return folder


@pytest.fixture(scope="module")
def ports(repository):
    http, grpc, metrics = free_ports(3)
    variables = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": http,
        "MLSERVER_GRPC_PORT": grpc,
        "MLSERVER_METRICS_PORT": metrics,
        "MLSERVER_PARALLEL_WORKERS": 0,
        "MLSERVER_DEBUG": "false",
        "MLSERVER_METRICS_DIR": repository.parent,
    }
    ready = f"http://127.0.0.1:{http}/v2/models/{MODEL}/ready"
    log = repository.with_name("log")
    with running([SERVER / "mlserver", "start", repository], log, ready, variables):
        yield http, grpc


@pytest.fixture(scope="module")
def answered(repository, ports, bundle):
    """What the server answered to Triton's client, and how the client read the configuration."""
    outputs = repository.with_name("outputs.npz")
    client = (SERVER / "python", ROOT / "tests" / "integration" / "v2_client.py")
    conformance, config = bundle.path / CONFORMANCE, repository / MODEL / "config.pbtxt"
    said = run_program(*client, f"127.0.0.1:{ports[1]}", MODEL, conformance, config, outputs)
    assert said.returncode == 0, said.stderr
    with np.load(outputs) as found:
        return json.loads(said.stdout), dict(found)


def signature(tensors):
    """Name, type and shape of each tensor, with -1 for rows."""
    shapes = [[size if isinstance(size, int) else -1 for size in each.shape] for each in tensors]
    return [(t.name, TYPES[t.type], shape) for t, shape in zip(tensors, shapes, strict=True)]


def test_configuration_and_server_declare_the_tensors_of_the_graph(answered, bundle):
    said, _ = answered
    config, metadata = said["config"], said["metadata"]
    graph = load_graph(bundle, SCORER)
    types = {"TYPE_FP32": "FP32", "TYPE_INT64": "INT64", "TYPE_STRING": "BYTES"}
    for field, tensors in (("input", graph.get_inputs()), ("output", graph.get_outputs())):
        configured = [
            (t["name"], types[t["dataType"]], [int(size) for size in t["dims"]])
            for t in config[field]
        ]
        declared = [
            (t["name"], t["datatype"], [int(size) for size in t["shape"]])
            for t in metadata[f"{field}s"]
        ]
        assert configured == declared == signature(tensors)
    assert (config["name"], config["backend"]) == (MODEL, "onnxruntime")
    assert config["parameters"]["bundle_id"]["stringValue"] == bundle.manifest.bundle_id


def test_triton_s_client_gets_the_numbers_of_the_engine(answered, bundle):
    _, found = answered
    vectors = read_vectors(bundle)
    expected = run_engine(bundle.manifest, Session(bundle), vectors)
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
    worst = differences(vectors, found)
    assert worst.keys() == TOLERANCES.keys()
    assert all(worst[name] <= allowed for name, allowed in TOLERANCES.items())


def test_json_gets_the_same_numbers(answered, ports, bundle):
    _, expected = answered
    rows = json.loads((bundle.path / CONFORMANCE).read_text())["inputs"]
    kinds = {t.name: TYPES[t.type] for t in load_graph(bundle, SCORER).get_inputs()}
    inputs = [
        {"name": name, "datatype": kinds[name], "shape": [len(values), 1], "data": values}
        for name, values in rows.items()
    ]
    for tensor in inputs:
        if tensor["datatype"] == "BYTES":
            tensor["data"] = [text or "" for text in tensor["data"]]
    address = f"http://127.0.0.1:{ports[0]}/v2/models/{MODEL}/infer"
    status, answer = ask(address, {"inputs": inputs})
    assert status == 200, answer
    for output in answer["outputs"]:
        values = np.array(output["data"], expected[output["name"]].dtype).reshape(output["shape"])
        assert np.array_equal(values, expected[output["name"]])
    wanted = {"inputs": inputs, "outputs": [{"name": "probability"}]}
    _, answer = ask(address, wanted)
    assert [output["name"] for output in answer["outputs"]] == ["probability"]
