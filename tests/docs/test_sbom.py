"""The bills of materials are valid, complete and the same each time."""

import hashlib
import json
import re
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from engine.bundle.open import MANIFEST, file_digests, open_bundle
from tests.helpers import BUNDLE, ROOT


def documents(folder):
    command = [sys.executable, ROOT / "deploy" / "sbom.py", BUNDLE, "--into", folder]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return documents(tmp_path_factory.mktemp("sbom"))


def test_they_are_valid_and_the_same_each_time(written, tmp_path):
    assert written.keys() == {"engine.cdx.json", "bundle.cdx.json"}
    assert documents(tmp_path) == written
    for text in written.values():
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_every_package_and_every_hash_of_the_lock_file_is_in_that_of_the_engine(written):
    lock = (ROOT / "requirements.lock").read_text()
    document = json.loads(written["engine.cdx.json"])
    packages = [part for part in document["components"] if part["purl"].startswith("pkg:pypi/")]
    pins = re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE)
    assert [(part["name"], part["version"]) for part in packages] == pins
    hashes = [
        found["content"]
        for part in packages
        for reference in part["externalReferences"]
        for found in reference["hashes"]
    ]
    assert hashes == re.findall("sha256:([0-9a-f]{64})", lock)
    needs = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    reached, waiting = set(), [document["metadata"]["component"]["bom-ref"]]
    while waiting:
        reached.add(ref := waiting.pop())
        waiting += set(needs.get(ref, [])) - reached
    assert reached == {document["metadata"]["component"]["bom-ref"]} | {
        part["bom-ref"] for part in document["components"]
    }


def test_the_files_of_onnx_runtime_web_are_in_that_of_the_engine(written):
    components = json.loads(written["engine.cdx.json"])["components"]
    (web,) = (part for part in components if part["name"] == "onnxruntime-web")
    assert len(web["components"]) == 2
    for file in web["components"]:
        found = hashlib.sha256((ROOT / file["name"]).read_bytes()).hexdigest()
        assert file["hashes"] == [{"alg": "SHA-256", "content": found}]


def test_the_model_and_each_of_its_files_are_in_that_of_the_bundle(written):
    bundle = open_bundle(BUNDLE)
    document = json.loads(written["bundle.cdx.json"])
    model = document["metadata"]["component"]
    assert f"{model['name']}/{model['version']}" == bundle.manifest.bundle_id
    digests = file_digests(bundle)
    assert model["hashes"] == [{"alg": "SHA-256", "content": digests[MANIFEST]}]
    assert {
        part["name"]: part["hashes"][0]["content"] for part in document["components"]
    } == digests
