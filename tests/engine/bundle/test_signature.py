"""A bundle signed is accepted; altered, or signed by another key, it is refused."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from engine.bundle.open import MANIFEST, file_digests, open_bundle
from engine.bundle.signature import make_signature, signature_path
from engine.connectors.spark import score as score_in_spark
from engine.errors import BundleError, UsageError
from engine.model.verify import verify
from engine.scorer import load_bundle
from tests.bundles import replace_file
from tests.signing import copied_bundle, sign, write_keys


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A bundle, its signature, and the keys of its owner and of somebody else."""
    folder = tmp_path_factory.mktemp("original")
    owner, other = write_keys(folder, "owner"), write_keys(folder, "other")
    sign(copied_bundle(folder / "bundle"), owner[0])
    return folder, owner, other


@pytest.fixture
def signed(original, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(original[0] / "bundle", folder)
    shutil.copy(signature_path(original[0] / "bundle"), signature_path(folder))
    return folder


@pytest.fixture(scope="module")
def owner(original):
    return original[1]


@pytest.fixture(scope="module")
def other(original):
    return original[2]


def altered(folder):
    """Make one file of a bundle another one, with hashes that are right."""
    replace_file(folder, "MODEL_CARD.md", b"# A much better model\n")


def test_a_signed_bundle_opens_and_names_the_key(signed, owner):
    key = hashlib.sha256(owner[1].read_bytes()).hexdigest()
    assert open_bundle(signed, owner[1]).signed_by == key
    assert verify(signed, owner[1]).signed_by == key
    assert open_bundle(signed).signed_by is None


def test_an_altered_bundle_is_refused(signed, owner):
    altered(signed)
    assert open_bundle(signed)
    with pytest.raises(BundleError, match=r"3 files of \d+ \('MODEL_CARD.md', 'manifest.json'"):
        open_bundle(signed, owner[1])


def test_a_bundle_signed_again_by_another_key_is_refused(signed, owner, other):
    altered(signed)
    sign(signed, other[0])
    assert open_bundle(signed, other[1])
    with pytest.raises(BundleError, match=r"bundle\.sig: not signed by .*owner\.pub\.pem"):
        open_bundle(signed, owner[1])


def test_an_unsigned_bundle_is_refused(signed, owner):
    signature_path(signed).unlink()
    with pytest.raises(BundleError, match=r"bundle\.sig: missing.*training sign"):
        open_bundle(signed, owner[1])


@pytest.mark.parametrize("opened", [load_bundle, verify, partial(score_in_spark, None)])
def test_every_way_to_score_can_require_a_signature(signed, other, opened):
    with pytest.raises(BundleError, match="not signed by"):
        opened(signed, public_key=other[1])


@pytest.mark.parametrize("place", ["folder of versions", "link", "working directory"])
def test_the_signature_lies_beside_the_real_folder(signed, owner, tmp_path, monkeypatch, place):
    if place == "folder of versions":
        digest = hashlib.sha256((signed / MANIFEST).read_bytes()).hexdigest()
        (tmp_path / "CURRENT").write_text(f"bundle {digest}\n")
        path = tmp_path
    elif place == "link":
        (tmp_path / "links").mkdir()
        path = tmp_path / "links" / "latest"
        path.symlink_to(signed)
    else:
        monkeypatch.chdir(signed)
        path = signed.relative_to(signed)
    assert open_bundle(path, owner[1]).signed_by is not None


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_every_curve_of_the_format(signed, tmp_path, curve):
    private, public = write_keys(tmp_path, curve.name, ec.generate_private_key(curve))
    sign(signed, private)
    assert open_bundle(signed, public).signed_by is not None


def test_other_keys_are_refused_in_words(signed, owner, tmp_path):
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    edwards = write_keys(tmp_path, "edwards", ed25519.Ed25519PrivateKey.generate())
    unusual = write_keys(tmp_path, "unusual", ec.generate_private_key(ec.SECP256K1()))
    (tmp_path / "text.pem").write_text("no key")
    for private in (owner[1], encrypted, edwards[0], unusual[0], tmp_path / "text.pem"):
        with pytest.raises(BundleError, match="expected a private key as PEM"):
            make_signature("x", {}, private)
    for public in (owner[0], edwards[1], unusual[1], tmp_path / "text.pem"):
        with pytest.raises(BundleError, match="expected a public key as PEM"):
            open_bundle(signed, public)
    with pytest.raises(BundleError, match="no such key"):
        open_bundle(signed, tmp_path / "absent.pem")
    with pytest.raises(BundleError, match=r"Is a directory.*Name the file of a key"):
        open_bundle(signed, tmp_path)


def edited(document, payload):
    """A signature with another payload."""
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps(document)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "no JSON", '{"dsseEnvelope": {"payload": "", "signatures": []}}']
)
def test_a_file_that_is_no_signature_is_refused(signed, owner, content):
    signature_path(signed).write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.sig: not a signature of a bundle"):
        open_bundle(signed, owner[1])


def test_a_statement_that_was_edited_is_refused(signed, owner):
    """The hashes of an altered bundle, under the signature of the original."""
    altered(signed)
    document = json.loads(signature_path(signed).read_text())
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    found = file_digests(open_bundle(signed))
    for resource in statement["predicate"]["resources"]:
        resource["digest"] = found[resource["name"]]
    signature_path(signed).write_text(edited(document, statement))
    with pytest.raises(BundleError, match="signed by another key, or altered since"):
        open_bundle(signed, owner[1])


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_a_signature_that_is_no_file_is_refused(signed, owner, tmp_path, kind):
    path = signature_path(signed)
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(BundleError, match=r"bundle\.sig: "):
        open_bundle(signed, owner[1])


def test_without_the_package_the_message_names_the_extra(signed, owner, monkeypatch):
    monkeypatch.setattr("engine.bundle.signature.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install 'shopnow-scoring\[signing\]'"):
        open_bundle(signed, owner[1])
    assert open_bundle(signed)


def model_signing(*arguments):
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


needs_model_signing = pytest.mark.skipif(
    find_spec("model_signing") is None, reason="needs the package model-signing"
)


@needs_model_signing
def test_the_command_line_of_openssf_verifies_what_is_signed_here(signed, owner, other):
    def found(public):
        return model_signing(
            *("verify", "key", signed, "--signature", signature_path(signed)),
            *("--public_key", public),
        )

    accepted = found(owner[1])
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert found(other[1]).returncode != 0
    altered(signed)
    assert found(owner[1]).returncode != 0


@needs_model_signing
def test_the_engine_verifies_what_the_command_line_of_openssf_signs(signed, owner, other):
    signature = signature_path(signed)
    signature.unlink()
    done = model_signing("sign", "key", signed, "--signature", signature, "--private_key", owner[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert open_bundle(signed, owner[1]).signed_by is not None
    with pytest.raises(BundleError, match="not signed by"):
        open_bundle(signed, other[1])
    altered(signed)
    with pytest.raises(BundleError, match="3 files of"):
        open_bundle(signed, owner[1])
