"""A bundle on disk: its files, and how it is opened, checked and written.

What the manifest holds is left to `manifest`.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.bundle.files import (
    BUNDLE_LIMIT_BYTES,
    FILE_LIMIT_BYTES,
    MANIFEST_LIMIT_BYTES,
    TEXT_LIMIT_BYTES,
    check_names,
    file_names,
    read_file,
)
from engine.bundle.graphs import (
    Ends,
    check_graph,
    classifier_ends,
    preprocess_ends,
    segmenter_ends,
)
from engine.bundle.manifest import (
    DRIVERS,
    FileEntry,
    Manifest,
    manifest_from_json,
    manifest_to_json,
)
from engine.errors import BundleError, EngineError, pluralize, quoted
from engine.storage import SHARED_MODE, write_atomic

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
PREPROCESS = "preprocess.onnx"
CLASSIFIER = "classifier.onnx"
SEGMENTER = "segmenter.onnx"
SCORER = "scorer.onnx"
NATIVE_CLASSIFIER = "native/classifier.txt"
PLAYBOOK = "playbook.json"
REFERENCE = "reference.json"
REPORT = "report.html"
MODEL_CARD = "MODEL_CARD.md"
CONFORMANCE = "conformance/conformance.json"
CONFORMANCE_INPUT = "conformance/input_{}.pb"
CONFORMANCE_OUTPUT = "conformance/output_{}.pb"
"""ONNX test data of `scorer.onnx`, by the position of the input or output."""

REQUIRED_FILES = (
    *(PREPROCESS, CLASSIFIER, SEGMENTER, SCORER, NATIVE_CLASSIFIER),
    *(PLAYBOOK, REFERENCE, CONFORMANCE),
)
CURRENT = "CURRENT"
_HASH_LINE = re.compile(r"([0-9a-f]{64})  manifest\.json\n?")
_CURRENT_LINE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*) ([0-9a-f]{64})\n?")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its manifest and the very bytes that were checked, by file name."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]


def is_bundle(folder: Path) -> bool:
    """Whether a folder has what tells a bundle from any other, sound or not."""
    return os.path.lexists(folder / MANIFEST_HASH)


def holds_bundles(folder: Path) -> bool:
    """Whether a folder has a `CURRENT` that names a bundle; other programs have files of that name."""
    try:
        _words(folder, CURRENT, _CURRENT_LINE, "")
    except EngineError:
        return False
    return True


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder, or the bundle in force of a folder with `CURRENT`.

    Every file is read once, and what is used later are the bytes that were checked: hashes, sizes,
    and what the graphs may be.

    Raises:
        BundleError: A file is missing, altered, not listed, or not what it must be.
        VersionError: The bundle has a format, or needs an ONNX, that this engine does not read.
        AccessError: A file may not be read.
    """
    folder, expected = _resolve(path)
    present = file_names(folder)
    text = read_file(folder, MANIFEST, MANIFEST_LIMIT_BYTES)
    found = hashlib.sha256(text).hexdigest()
    (stated,) = _words(folder, MANIFEST_HASH, _HASH_LINE, f"<SHA-256>  {MANIFEST}")
    for source, wanted in ((MANIFEST_HASH, stated), (CURRENT, expected)):
        if wanted not in (found, None):
            raise _altered(folder / MANIFEST, wanted, found, f"by {source}")
    manifest = manifest_from_json(text, where=str(folder / MANIFEST))
    check_names(folder, manifest.files)
    _check_sizes(folder, manifest)
    contents = {name: _read_listed(folder, name, entry) for name, entry in manifest.files.items()}
    _check_listing(folder, manifest, present)
    for name, ends in graph_ends(manifest).items():
        check_graph(contents[name], ends, manifest.bundle_id, str(folder / name))
    return Bundle(folder, manifest, contents)


def graph_ends(manifest: Manifest) -> dict[str, Ends]:
    """The inputs and outputs that each graph of a bundle must have, by the name of its file."""
    features = manifest.schema.model_features
    width = len(features)
    preprocess = preprocess_ends(features)
    classifier = classifier_ends(width, min(DRIVERS, width))
    segmenter = segmenter_ends(width, len(manifest.segments))
    return {
        PREPROCESS: preprocess,
        CLASSIFIER: classifier,
        SEGMENTER: segmenter,
        SCORER: Ends(preprocess.inputs, classifier.outputs + segmenter.outputs),
    }


def write_bundle(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Write a bundle into an empty or absent folder; the manifest comes last.

    Args:
        folder: Where the files go.
        manifest: Everything but `files`, which is made from `contents`.
        contents: The bytes of every other file, by its name in the bundle.

    Returns:
        The manifest as written.

    Raises:
        BundleError: A required file is absent from `contents`.
    """
    absent = sorted(set(REQUIRED_FILES) - set(contents))
    if absent:
        raise BundleError(f"{folder}: a bundle cannot be written without {quoted(absent)}.")
    for name, content in contents.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    entries = {n: FileEntry(hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items()}
    complete = replace(manifest, files=entries)
    text = manifest_to_json(complete)
    (folder / MANIFEST_HASH).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
    (folder / MANIFEST).write_bytes(text)
    return complete


def write_current(root: Path, version: str) -> None:
    """Make one version of a folder of bundles the one in force, in one atomic and lasting step."""
    digest = hashlib.sha256(read_file(root / version, MANIFEST, MANIFEST_LIMIT_BYTES)).hexdigest()
    write_atomic(root / CURRENT, f"{version} {digest}\n".encode(), SHARED_MODE)


def _resolve(path: Path) -> tuple[Path, str | None]:
    """The folder of the bundle, and the manifest hash that CURRENT states, if it is there."""
    if not path.is_dir():
        raise BundleError(
            f"{path}: no such bundle. Give one with --bundle or ENGINE_BUNDLE. To make one: training "
            "simulate --out history.parquet, then training fit history.parquet --out candidate"
        )
    if (path / MANIFEST).is_file():
        return path, None
    # A link that leads nowhere is something that stands there: what it is, reading tells.
    if not os.path.lexists(path / CURRENT):
        raise BundleError(f"{path}: neither {MANIFEST} nor {CURRENT} is there: not a bundle.")
    version, digest = _words(path, CURRENT, _CURRENT_LINE, "<version> <SHA-256>")
    folder = path / version
    if folder.is_symlink() or not folder.is_dir():
        raise BundleError(
            f"{folder}: named by {CURRENT}, but no folder is there. Copy the bundle again."
        )
    return folder, digest


def _words(folder: Path, name: str, line: re.Pattern[str], form: str) -> tuple[str, ...]:
    """The words of a file that holds one line, to the last character."""
    text = read_file(folder, name, TEXT_LIMIT_BYTES).decode("utf-8", "replace")
    found = line.fullmatch(text)
    if found is None:
        raise BundleError(f"{folder / name}: expected {form!r}, found {text[:80]!r}.")
    return found.groups()


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    """Refuse what is too large before any of it is read."""
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
    absent = sorted(set(REQUIRED_FILES) - set(manifest.files))
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
