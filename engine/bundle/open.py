"""A bundle on disk: how it is opened, checked and written. Start with `open_bundle`.

`graphs` checks the graphs before they are run.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.bundle.documents import parse_json
from engine.bundle.files import (
    BUNDLE_LIMIT_BYTES,
    FILE_LIMIT_BYTES,
    MANIFEST_LIMIT_BYTES,
    TEXT_LIMIT_BYTES,
    file_names,
    read_errors,
    read_file,
)
from engine.bundle.format_1 import evaluation_document
from engine.bundle.manifest import (
    BUNDLE_FORMAT,
    FileEntry,
    Manifest,
    manifest_from_json,
    manifest_to_json,
)
from engine.bundle.names import PLAIN_NAME, check_names, is_version
from engine.bundle.signature import check_signature
from engine.errors import BundleError, EngineError, pluralize, quoted
from engine.storage import SHARED_MODE, write_atomic

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
EVALUATION = "evaluation.json"
PREPROCESS = "preprocess.onnx"
CLASSIFIER = "classifier.onnx"
SEGMENTER = "segmenter.onnx"
CORE = "core.onnx"
"""Classifier and segmenter as one graph; bundles made before it have the two only."""

SCORER = "scorer.onnx"
NATIVE_CLASSIFIER = "native/classifier.txt"
PLAYBOOK = "playbook.json"
REFERENCE = "reference.json"
REPORT = "report.html"
ANALYST_REPORT = "report.analyst.html"
MODEL_CARD = "MODEL_CARD.md"
CONFORMANCE = "conformance/conformance.json"
CONFORMANCE_INPUT = "conformance/input_{}.pb"
CONFORMANCE_OUTPUT = "conformance/output_{}.pb"
"""ONNX test data of `scorer.onnx`, by the position of the input or output."""

REQUIRED_FILES = (
    *(PREPROCESS, CLASSIFIER, SEGMENTER, SCORER, NATIVE_CLASSIFIER),
    *(PLAYBOOK, REFERENCE, CONFORMANCE, EVALUATION),
)
CURRENT = "CURRENT"
_HASH_LINE = re.compile(r"([0-9a-f]{64})  manifest\.json\n?")
_CURRENT_LINE = re.compile(rf"({PLAIN_NAME}) ([0-9a-f]{{64}})\n?")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: Its folder.
        manifest: What scoring needs.
        contents: The bytes that were checked, by file name, including `manifest.json`.
        signed_by: The fingerprint of the key whose signature was checked; None if none was.
    """

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]
    signed_by: str | None = None


def is_bundle(folder: Path) -> bool:
    """Whether a folder looks like a bundle, valid or not."""
    return os.path.lexists(folder / MANIFEST_HASH)


def holds_bundles(folder: Path) -> bool:
    """Whether a folder has a `CURRENT` that names a bundle; other programs use this name too."""
    try:
        _words(folder, CURRENT, _CURRENT_LINE, "")
    except EngineError:
        return False
    return True


def open_bundle(path: Path, public_key: Path | None = None) -> Bundle:
    """Open a bundle folder, or the current bundle of a folder with `CURRENT`.

    Every file is read once, and the bytes that were checked are the bytes that are used. A bundle of
    the previous format is opened as one of this format.

    Args:
        path: The folder.
        public_key: The key that must have signed the bundle; without it no signature is looked at.

    Raises:
        BundleError: A file is missing, altered, not listed or invalid, or the signature is.
        VersionError: This engine does not read the bundle's format.
        AccessError: This user may not read a file.
        UsageError: A signature is required, but the extra [signing] is not installed.
    """
    folder, expected_hash = _resolve(path)
    present = file_names(folder)
    text = _read_manifest(folder, expected_hash)
    manifest = manifest_from_json(text, where=str(folder / MANIFEST))
    check_names(folder, manifest.files)
    _check_sizes(folder, manifest)
    contents = {name: _read_listed(folder, name, entry) for name, entry in manifest.files.items()}
    _check_listing(folder, manifest, present)
    if manifest.format == 1:
        made = json.dumps(evaluation_document(parse_json(text))).encode()
        contents = {EVALUATION: made, **contents}
    bundle = Bundle(folder, manifest, {**contents, MANIFEST: text})
    if public_key is None:
        return bundle
    return replace(bundle, signed_by=check_signature(folder, file_digests(bundle), public_key))


def file_digests(bundle: Bundle) -> dict[str, str]:
    """The SHA-256 of every file in the folder of an opened bundle, by name."""
    manifest = bundle.contents[MANIFEST]
    others = {MANIFEST: manifest, MANIFEST_HASH: _hash_file(manifest)}
    listed = {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    return listed | {name: hashlib.sha256(c).hexdigest() for name, c in others.items()}


def write_bundle(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Write a new bundle into an empty or absent folder.

    Args:
        folder: The folder of the bundle.
        manifest: Everything except `files`, which is derived from `contents`.
        contents: The bytes of every other file, by its name in the bundle.

    Returns:
        The manifest as written.

    Raises:
        BundleError: A required file is absent from `contents`.
    """
    others = {name: content for name, content in contents.items() if name != MANIFEST}
    absent = sorted(set(REQUIRED_FILES) - set(others))
    if absent:
        raise BundleError(f"{folder}: a bundle cannot be written without {quoted(absent)}.")
    entries = {n: FileEntry(hashlib.sha256(c).hexdigest(), len(c)) for n, c in others.items()}
    complete = replace(manifest, files=entries, format=BUNDLE_FORMAT)
    _write_files(folder, {**others, MANIFEST: manifest_to_json(complete)})
    return complete


def copy_bundle(folder: Path, bundle: Bundle) -> None:
    """Write an opened bundle into an empty or absent folder, byte for byte."""
    names = (*bundle.manifest.files, MANIFEST)
    _write_files(folder, {name: bundle.contents[name] for name in names})


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write every file, and the hash of the manifest."""
    for name, content in {**contents, MANIFEST_HASH: _hash_file(contents[MANIFEST])}.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _hash_file(manifest: bytes) -> bytes:
    """The content of `manifest.sha256`."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def write_current(root: Path, version: str) -> None:
    """Make one version of a folder of bundles the current one, in one atomic and durable step.

    Raises:
        BundleError: The version cannot be read back from `CURRENT`, or its manifest cannot be read.
    """
    if not is_version(version):
        raise BundleError(f"{root}: {version!r} is no version. Give the name of a folder in it.")
    digest = hashlib.sha256(read_file(root / version, MANIFEST, MANIFEST_LIMIT_BYTES)).hexdigest()
    write_atomic(root / CURRENT, f"{version} {digest}\n".encode(), SHARED_MODE)


def _resolve(path: Path) -> tuple[Path, str | None]:
    """The folder of the bundle, and the hash of its manifest if CURRENT gives it."""
    with read_errors(path):
        is_folder, has_manifest = path.is_dir(), (path / MANIFEST).is_file()
    if not is_folder:
        raise BundleError(
            f"{path}: no such bundle. Give one with --bundle or ENGINE_BUNDLE. To make one: training "
            "simulate --out history.parquet, then training fit history.parquet --out candidate"
        )
    if has_manifest:
        return path, None
    # A dangling link counts as present; reading it raises the error.
    if not os.path.lexists(path / CURRENT):
        raise BundleError(f"{path}: neither {MANIFEST} nor {CURRENT} is there: not a bundle.")
    version, digest = _words(path, CURRENT, _CURRENT_LINE, "<version> <SHA-256>")
    if not is_version(version):
        raise BundleError(
            f"{path / CURRENT}: {version[:80]!r} is no version. Copy the bundle again."
        )
    folder = path / version
    with read_errors(folder):
        is_link, is_folder = folder.is_symlink(), folder.is_dir()
    if is_link:
        raise BundleError(
            f"{folder}: named by {CURRENT}, but is a link, which could change during a run. Copy the folder "
            "there; the folder of bundles itself may be a link."
        )
    if not is_folder:
        raise BundleError(
            f"{folder}: named by {CURRENT}, but no folder is there. Copy the bundle again."
        )
    return folder, digest


def _read_manifest(folder: Path, expected_hash: str | None) -> bytes:
    """The bytes of the manifest, checked against its own hash and the one in CURRENT."""
    text = read_file(folder, MANIFEST, MANIFEST_LIMIT_BYTES)
    found = hashlib.sha256(text).hexdigest()
    (stated,) = _words(folder, MANIFEST_HASH, _HASH_LINE, f"<SHA-256>  {MANIFEST}")
    for source, wanted in ((MANIFEST_HASH, stated), (CURRENT, expected_hash)):
        if wanted not in (found, None):
            raise _altered(folder / MANIFEST, wanted, found, f"by {source}")
    return text


def _words(folder: Path, name: str, line: re.Pattern[str], form: str) -> tuple[str, ...]:
    """The fields of a one-line file, which must match to the last character."""
    text = read_file(folder, name, TEXT_LIMIT_BYTES).decode("utf-8", "replace")
    found = line.fullmatch(text)
    if found is None:
        raise BundleError(f"{folder / name}: expected {form!r}, found {text[:80]!r}.")
    return found.groups()


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    """Refuse files that are too large before reading them."""
    sizes = {name: entry.size_bytes for name, entry in manifest.files.items()}
    large = sorted(name for name, size in sizes.items() if size > FILE_LIMIT_BYTES)
    if large or sum(sizes.values()) > BUNDLE_LIMIT_BYTES:
        raise BundleError(
            f"{folder}: {sum(sizes.values()):,} bytes in {pluralize(len(sizes), 'file')}, at most "
            f"{BUNDLE_LIMIT_BYTES:,} are read, and {FILE_LIMIT_BYTES:,} of one; too large: "
            f"{quoted(large)}. Do not use this bundle; train again."
        )


def _read_listed(folder: Path, name: str, entry: FileEntry) -> bytes:
    content = read_file(folder, name, FILE_LIMIT_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    if (digest, len(content)) != (entry.sha256, entry.size_bytes):
        raise _altered(folder / name, entry.sha256, digest, "in the manifest")
    return content


def _check_listing(folder: Path, manifest: Manifest, present: set[str]) -> None:
    required = {*REQUIRED_FILES} - ({EVALUATION} if manifest.format == 1 else set())
    absent = sorted(required - set(manifest.files))
    extra = sorted(present - set(manifest.files) - {MANIFEST, MANIFEST_HASH})
    found = (
        (absent, f"{pluralize(len(absent), 'required file')} not listed"),
        (extra, f"{pluralize(len(extra), 'unlisted file')} present"),
    )
    problems = [f"{words} ({quoted(names)})" for names, words in found if names]
    if problems:
        raise BundleError(f"{folder}: {', '.join(problems)}. Copy the bundle again.")


def _altered(path: Path, wanted: str, found: str, source: str) -> BundleError:
    return BundleError(
        f"{path}: altered: SHA-256 {wanted[:12]}… expected {source}, found {found[:12]}…. "
        "Copy the bundle again."
    )
