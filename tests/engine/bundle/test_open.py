import hashlib
import json
import shutil
from dataclasses import replace

import pytest

import engine.bundle.open
from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import BUNDLE_FORMAT, manifest_from_json, manifest_to_json
from engine.bundle.open import (
    CURRENT,
    EVALUATION,
    MANIFEST,
    MANIFEST_HASH,
    copy_bundle,
    open_bundle,
    write_bundle,
    write_current,
)
from engine.errors import BundleError, VersionError
from engine.storage import write_atomic
from tests.bundles import rewrite_manifest, with_a_wrong_value
from tests.golden.make import BUNDLE as FORMAT_1
from tests.helpers import BUNDLE


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(BUNDLE, tmp_path / "shopnow")
    return tmp_path / "shopnow"


@pytest.fixture
def version(copy):
    return copy / (copy / CURRENT).read_text().split()[0]


def test_a_bundle_opens_by_its_folder_and_by_current(copy, version):
    assert open_bundle(copy).manifest == open_bundle(version).manifest


def test_the_current_bundle_is_named_after_its_version(copy, version):
    assert open_bundle(copy).manifest.bundle_id == f"shopnow/{version.name}"


def test_a_manifest_survives_json():
    manifest = replace(open_bundle(BUNDLE).manifest, format=BUNDLE_FORMAT)
    assert manifest_from_json(manifest_to_json(manifest), "here") == manifest


def file_bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_written_bundle_opens_and_has_the_same_bytes_when_written_again(tmp_path):
    bundle = open_bundle(BUNDLE)
    written = write_bundle(tmp_path / "one", replace(bundle.manifest, files={}), bundle.contents)
    one = open_bundle(tmp_path / "one")
    assert one.manifest == written
    write_bundle(tmp_path / "two", one.manifest, one.contents)
    assert file_bytes(tmp_path / "two") == file_bytes(tmp_path / "one")


@pytest.mark.parametrize("source", [BUNDLE, FORMAT_1], ids=["committed", "format 1"])
def test_a_copy_has_the_same_bytes(tmp_path, source):
    bundle = open_bundle(source)
    copy_bundle(tmp_path / "copy", bundle)
    assert file_bytes(tmp_path / "copy") == file_bytes(bundle.path)


@pytest.mark.parametrize(
    ("earlier", "verdict"),
    [
        ({"segments_usable": False, "segments_unusable": ["x"]}, "chance"),
        ({"segments_usable": True, "segments_unusable": ["x"]}, "weak"),
        ({"segments_usable": True, "segments_unusable": []}, "sound"),
    ],
)
def test_a_manifest_without_a_verdict_on_segments_is_read(earlier, verdict):
    document = json.loads(open_bundle(BUNDLE).contents[MANIFEST])
    document.pop("segments_verdict", None)
    text = json.dumps({**document, **earlier}).encode()
    assert manifest_from_json(text, "test").segments_verdict == verdict


def test_a_bundle_of_the_format_before_is_read_as_one_of_this(tmp_path):
    old = open_bundle(FORMAT_1)
    document = json.loads(old.contents[MANIFEST])
    assert old.manifest.format == document["format"] == BUNDLE_FORMAT - 1
    assert old.manifest.segments_unusable == tuple(document["clustering"]["reasons"])
    found = read_evaluation(old)
    assert found.metrics["roc_auc"] == document["metrics"]["roc_auc"]
    assert found.fit.leakage == document["metrics"]["leakage"]
    assert found.fit.search == document["training"]["classifier"]
    assert found.fit.profiles == {s["id"]: s["profile"] for s in document["segments"]}
    assert found.fit.parity == document["parity"]
    written = write_bundle(tmp_path / "new", old.manifest, old.contents)
    assert written == replace(old.manifest, files=written.files, format=BUNDLE_FORMAT)
    assert read_evaluation(open_bundle(tmp_path / "new")) == found


def test_an_unlisted_evaluation_is_refused_in_the_format_before(tmp_path):
    shutil.copytree(FORMAT_1, tmp_path / "old")
    (tmp_path / "old" / EVALUATION).write_text("{}")
    with pytest.raises(BundleError, match="1 unlisted file present .'evaluation.json'"):
        open_bundle(tmp_path / "old")


def test_a_bundle_is_not_written_without_a_required_file(tmp_path):
    bundle = open_bundle(BUNDLE)
    with pytest.raises(
        BundleError, match="without 'evaluation.json', 'native/classifier.txt', 'playbook.json'"
    ):
        write_bundle(
            tmp_path,
            bundle.manifest,
            {n: c for n, c in bundle.contents.items() if n[0] in "cps" and n != "playbook.json"},
        )


@pytest.mark.parametrize(
    "name", ["classifier.onnx", "scorer.onnx", "native/classifier.txt", MANIFEST]
)
def test_one_flipped_bit_is_refused(version, name):
    content = bytearray((version / name).read_bytes())
    content[len(content) // 2] ^= 1
    (version / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: altered: SHA-256"):
        open_bundle(version)


@pytest.mark.parametrize("name", ["segmenter.onnx", MANIFEST, MANIFEST_HASH])
def test_an_absent_file_is_named(copy, version, name):
    (version / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing from the bundle"):
        open_bundle(copy)


def test_another_manifest_than_current_states_is_refused(copy, version):
    rewrite_manifest(version, threshold=0.9)
    assert open_bundle(version).manifest.threshold == 0.9
    with pytest.raises(BundleError, match="expected by CURRENT"):
        open_bundle(copy)


@pytest.mark.parametrize(
    "number", [BUNDLE_FORMAT + 1, BUNDLE_FORMAT - 2, -1, "1", 1.0, True, False, None]
)
def test_another_format_is_refused_by_number(version, number):
    rewrite_manifest(version, format=number)
    with pytest.raises(VersionError, match=f"bundle format {number}; this engine reads"):
        open_bundle(version)


def test_a_field_that_a_later_engine_may_add_is_ignored(version):
    rewrite_manifest(version, surprise=1)
    assert open_bundle(version).manifest.bundle_id


def test_a_manifest_that_is_no_json_is_refused():
    with pytest.raises(BundleError, match="here: not a manifest"):
        manifest_from_json(b"[]", "here")


@pytest.mark.parametrize("text", ["", "one", "../elsewhere abc", "a b c"])
def test_a_broken_current_is_refused(copy, text):
    (copy / CURRENT).write_text(text)
    with pytest.raises(BundleError, match="CURRENT"):
        open_bundle(copy)


def test_a_version_that_is_a_link_is_named_as_one(copy, version, tmp_path):
    version.rename(tmp_path / "elsewhere")
    version.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="named by CURRENT, but is a link"):
        open_bundle(copy)
    (tmp_path / "linked").symlink_to(copy)
    version.unlink()
    (tmp_path / "elsewhere").rename(version)
    assert open_bundle(tmp_path / "linked").manifest.bundle_id


def test_a_folder_without_a_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="not a bundle"):
        open_bundle(tmp_path)


CUTS = "must be . increasing"
VALUE = "not valid in a manifest: '{name}|not a manifest"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("calibration", 3, "manifest"),
        ("segments", 1, "manifest"),
        ("schema", {}, "manifest"),
        ("files", {"a": {"b": 1}}, "manifest"),
        ("threshold", None, f"threshold {CUTS}"),
        ("threshold", "0.5", f"threshold {CUTS}"),
        ("decile_cuts", [0.5], f"decile_cuts {CUTS}"),
        ("band_cuts", [0.9, 0.5, 0.7], f"band_cuts {CUTS}"),
        ("band_cuts", [0.1, 0.2, 1.5], f"band_cuts {CUTS}"),
        ("bundle_id", 7, VALUE),
        ("bundle_id", "two\nlines", VALUE),
        ("categories", {}, VALUE),
        ("base_value", None, VALUE),
        ("segments", [], VALUE),
        ("unusable", [1], VALUE),
        ("retired_segments", ["1"], VALUE),
    ],
)
def test_values_that_scoring_cannot_rely_on_are_refused(version, name, value, message):
    rewrite_manifest(version, **{name: value})
    with pytest.raises(BundleError, match=message.format(name=name)):
        open_bundle(version)


@pytest.mark.parametrize("text", ['{"format": NaN}', "[" * 100_000, '{"format": 1e999}', "\xff"])
def test_hostile_json_is_no_manifest(text):
    with pytest.raises((BundleError, VersionError), match="here: (not a manifest|bundle format)"):
        manifest_from_json(text.encode("latin-1"), "here")


def test_any_value_in_the_place_of_another_is_refused_or_harmless(scorer):
    document = json.loads(manifest_to_json(scorer.manifest))
    for seed in range(200):
        changed = with_a_wrong_value(document, seed)
        try:
            manifest_from_json(json.dumps(changed).encode(), "here")
        except (BundleError, VersionError):
            continue


def test_current_names_version_and_hash(copy, version, monkeypatch):
    written = []
    monkeypatch.setattr(
        engine.bundle.open,
        "write_atomic",
        lambda path, *arguments: (written.append(path), write_atomic(path, *arguments)),
    )
    write_current(copy, version.name)
    assert written == [copy / CURRENT]
    name, digest = (copy / CURRENT).read_text().split()
    assert name == version.name
    assert digest == hashlib.sha256((version / MANIFEST).read_bytes()).hexdigest()
