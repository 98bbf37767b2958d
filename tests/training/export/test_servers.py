"""Folders for model servers: what is written, and what is refused. `tests/integration` asks the servers."""

import json
import re
import shutil

import onnxruntime as ort
import pytest

from engine.bundle.open import SCORER, open_bundle
from tests.helpers import BUNDLE, folder_bytes


@pytest.fixture
def export(command):
    def run(*arguments, to="triton"):
        return command("training", "export", *arguments, "--to", to)

    return run


def test_a_repository_is_the_graph_and_how_to_serve_it(export, tmp_path):
    said = export(BUNDLE, "--out", tmp_path / "repository")
    assert (said.returncode, said.stdout) == (0, "")
    bundle = open_bundle(BUNDLE)
    assert f"{bundle.manifest.bundle_id} in {tmp_path / 'repository'}" in said.stderr
    files = folder_bytes(tmp_path / "repository")
    assert files.pop("shopnow/1/model.onnx") == bundle.contents[SCORER]
    config = files.pop("shopnow/config.pbtxt").decode()
    session = ort.InferenceSession(bundle.contents[SCORER])
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        assert config.count(f'name: "{tensor.name}"') == 1
    settings = json.loads(files.pop("shopnow/model-settings.json"))
    assert settings == {"name": "shopnow", "implementation": "mlserver_runtime.OnnxModel"}
    assert list(files) == ["shopnow/mlserver_runtime.py"]


def test_the_same_bundle_gives_the_same_bytes(export, tmp_path):
    for name in ("one", "two"):
        assert export(BUNDLE, "--out", tmp_path / name).returncode == 0
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")


def test_an_altered_bundle_is_refused_and_nothing_is_left(export, tmp_path):
    altered = shutil.copytree(BUNDLE, tmp_path / "altered")
    graph = next(altered.glob(f"*/{SCORER}"))
    graph.write_bytes(graph.read_bytes() + b" ")
    said = export(altered, "--out", tmp_path / "repository")
    assert said.returncode == 78
    assert "altered" in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["altered"]


@pytest.mark.parametrize(
    ("out", "code", "message"),
    [
        ("full", 73, "exists and is not an empty folder"),
        ("gone/repository", 73, "does not exist. Make it first"),
        ("models/repository", 2, "lies in .*models, a bundle or a folder of bundles"),
    ],
)
def test_a_place_that_is_not_free_is_refused(export, tmp_path, out, code, message):
    (tmp_path / "full" / "of").mkdir(parents=True)
    shutil.copytree(BUNDLE, tmp_path / "models")
    before = folder_bytes(tmp_path)
    said = export(BUNDLE, "--out", tmp_path / out)
    assert said.returncode == code
    assert re.search(message, " ".join(said.stderr.split()))
    assert folder_bytes(tmp_path) == before


def test_missing_packages_are_said(export, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.cli.options.find_spec", lambda _: None)
    said = export(BUNDLE, "--out", tmp_path / "model", to="mlflow")
    assert said.returncode == 2
    assert "pip install 'shopnow-scoring[mlflow]'" in said.stderr


def test_another_server_is_a_wrong_call(export, tmp_path):
    said = export(BUNDLE, "--out", tmp_path / "model", to="seldon")
    assert said.returncode == 2
    assert "'mlflow', 'triton'" in said.stderr
