"""A bundle on disk: its files, its manifest, and how it is opened, checked and written."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from engine.bundle_files import (
    BUNDLE_LIMIT_BYTES,
    FILE_LIMIT_BYTES,
    MANIFEST_LIMIT_BYTES,
    TEXT_LIMIT_BYTES,
    check_names,
    file_names,
    read_file,
)
from engine.errors import BundleError, VersionError, counted, quoted
from engine.graphs import (
    Ends,
    check_graph,
    classifier_ends,
    preprocess_ends,
    segmenter_ends,
)
from engine.schema import FeatureSchema, schema_from_dict, schema_to_dict

# Raise the number whenever an engine that knows only the old one would misread a bundle: a file
# renamed, a field removed or given another meaning, an output of a graph changed. A new file or
# field that old engines may ignore does not raise it. An engine reads its own number and the one
# before. Nothing has been released yet: the first release will have format 1.
BUNDLE_FORMAT = 1
READABLE_FORMATS = range(max(BUNDLE_FORMAT - 1, 1), BUNDLE_FORMAT + 1)

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

MAX_SEGMENT_ID = 127
"""The score file has room for no larger one."""

BANDS = ("low", "medium", "high", "very_high")
DRIVERS = 3
"""So many of the largest impacts a model names; fewer where it has fewer features."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling, folded into the margin: margin = slope x raw LightGBM score + intercept."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One customer segment.

    Attributes:
        id: Stable over retraining; never used again once the segment is gone.
        name: For people; no two segments share one.
        share: Of the training users.
        sentence: Who these users are, in plain words.
        profile: Aggregates of its users, plain JSON values; see `training.profiles`.
    """

    id: int
    name: str
    share: float
    sentence: str = ""
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a file of the bundle must be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself.

    `threshold` and the cut-points are exact float32 values: a probability that equals one lies
    above it. `unusable` says why the scores must not be used, and is empty where they may.
    `base_value` is the margin that a row's impacts are added to.
    `retired_segments` are ids that were in force once and are never used again.
    `clustering`, `metrics`, `quality`, `comparison`, `drivers`, `parity`, `training` and `packages`
    are plain JSON values for people and reports; the engine does not read them.
    """

    bundle_id: str
    schema: FeatureSchema
    categories: Mapping[str, tuple[str, ...]]
    calibration: Calibration
    base_value: float
    threshold: float
    decile_cuts: tuple[float, ...]
    band_cuts: tuple[float, ...]
    segments: tuple[Segment, ...]
    retired_segments: tuple[int, ...]
    unusable: tuple[str, ...]
    clustering: Mapping[str, Any]
    metrics: Mapping[str, Any]
    quality: Mapping[str, Any]
    comparison: Mapping[str, Any]
    drivers: Mapping[str, Any]
    parity: Mapping[str, Any]
    training: Mapping[str, Any]
    packages: Mapping[str, str]
    files: Mapping[str, FileEntry]
    format: int = BUNDLE_FORMAT


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its manifest and the very bytes that were checked, by file name."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]


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
    complete = Manifest(**{**_shallow(manifest), "files": entries})
    text = manifest_to_json(complete)
    (folder / MANIFEST_HASH).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
    (folder / MANIFEST).write_bytes(text)
    return complete


def manifest_to_json(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON with sorted keys: equal manifests give equal bytes."""
    document = {
        **_shallow(manifest),
        "schema": schema_to_dict(manifest.schema),
        "calibration": asdict(manifest.calibration),
        "segments": [asdict(segment) for segment in manifest.segments],
        "files": {name: asdict(entry) for name, entry in manifest.files.items()},
    }
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def manifest_from_json(text: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: The text is not a manifest; `where` opens the message.
        VersionError: It has a format that this engine does not read.
    """
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
        number = document["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"{where}: not a manifest: {error}. Copy the bundle again.") from error
    # NOTE: true and 1.0 equal 1 in Python, and are no format.
    if type(number) is not int or number not in READABLE_FORMATS:
        raise VersionError(
            f"{where}: bundle format {number}; this engine reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}. Install the engine version that made it, or train again."
        )
    try:
        known = {f.name for f in fields(Manifest)}
        manifest = Manifest(
            **{
                **{name: value for name, value in document.items() if name in known},
                "schema": schema_from_dict(document["schema"], where),
                "categories": {k: tuple(v) for k, v in document["categories"].items()},
                "calibration": Calibration(**document["calibration"]),
                "decile_cuts": tuple(document["decile_cuts"]),
                "band_cuts": tuple(document["band_cuts"]),
                "segments": tuple(Segment(**s) for s in document["segments"]),
                "retired_segments": tuple(document["retired_segments"]),
                "unusable": tuple(document["unusable"]),
                "files": {n: FileEntry(**entry) for n, entry in document["files"].items()},
            }
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not a manifest: {error}. Copy the bundle again.") from error
    _check_values(manifest, where)
    _check_cuts(manifest, where)
    return manifest


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _check_values(manifest: Manifest, where: str) -> None:
    """Check what scoring relies on; `_check_cuts` has the rest."""
    ids = [segment.id for segment in manifest.segments]
    tables = manifest.categories
    categorical = [f.name for f in manifest.schema.model_features if f.kind == "categorical"]
    plain = ("clustering", "metrics", "quality", "comparison", "drivers", "parity", "training")
    numbers = (manifest.base_value, manifest.calibration.slope, manifest.calibration.intercept)
    sound = {
        "bundle_id": _are_texts([manifest.bundle_id]) and manifest.bundle_id.isprintable(),
        "categories": sorted(tables) == sorted(categorical)
        and all(_are_texts(table) and len(set(table)) == len(table) for table in tables.values()),
        "base_value and calibration": all(type(number) in (int, float) for number in numbers),
        "segments": ids != []
        and all(type(n) is int and 0 <= n <= MAX_SEGMENT_ID for n in ids)
        and len(set(ids)) == len(ids)
        and _are_texts(text for s in manifest.segments for text in (s.name, s.sentence))
        and all(type(segment.share) in (int, float) for segment in manifest.segments),
        "unusable": _are_texts(manifest.unusable),
        "files": all(
            type(e.size_bytes) is int and e.size_bytes >= 0 and isinstance(e.sha256, str)
            for e in manifest.files.values()
        ),
        **{name: isinstance(getattr(manifest, name), dict) for name in (*plain, "packages")},
    }
    wrong = [name for name, right in sound.items() if not right]
    if wrong:
        raise BundleError(
            f"{where}: {counted(len(wrong), 'value')} that no manifest has: {quoted(wrong)}. "
            "Copy the bundle again."
        )


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_cuts(manifest: Manifest, where: str) -> None:
    for name, wanted, cuts in (
        ("threshold", 1, (manifest.threshold,)),
        ("decile_cuts", 9, manifest.decile_cuts),
        ("band_cuts", len(BANDS) - 1, manifest.band_cuts),
    ):
        valid = all(type(cut) is float and 0 <= cut <= 1 for cut in cuts)
        if len(cuts) != wanted or not valid or list(cuts) != sorted(cuts):
            raise BundleError(
                f"{where}: {name} must be {wanted} rising probabilities, found "
                f"{list(cuts)!r}. Copy the bundle again."
            )


def write_current(root: Path, version: str) -> None:
    """Make one version of a folder of bundles the one in force, in one atomic and lasting step."""
    digest = hashlib.sha256(read_file(root / version, MANIFEST, MANIFEST_LIMIT_BYTES)).hexdigest()
    staging = root / f".{CURRENT}.staging"
    staging.write_text(f"{version} {digest}\n")
    sync_path(staging)
    staging.replace(root / CURRENT)
    sync_path(root)


def sync_path(path: Path) -> None:
    """Force one file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resolve(path: Path) -> tuple[Path, str | None]:
    """The folder of the bundle, and the manifest hash that CURRENT states, if it is there."""
    if not path.is_dir():
        raise BundleError(f"{path}: no such bundle. Give one with --bundle, or run: make model")
    if (path / MANIFEST).is_file():
        return path, None
    if not (path / CURRENT).is_file():
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
            f"{folder}: {sum(sizes.values()):,} bytes in {counted(len(sizes), 'file')}, at most "
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
    if absent or extra:
        raise BundleError(
            f"{folder}: {counted(len(absent), 'required file')} not listed ({quoted(absent)}), "
            f"{counted(len(extra), 'unlisted file')} present ({quoted(extra)}). "
            "Copy the bundle again."
        )


def _altered(path: Path, wanted: str, found: str, source: str) -> BundleError:
    return BundleError(
        f"{path}: altered: SHA-256 {wanted[:12]}… expected {source}, found {found[:12]}…. "
        "Copy the bundle again."
    )


def _shallow(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
