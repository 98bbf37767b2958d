"""What a bundle says about itself: the manifest, its values and their form as JSON.

Takes and gives bytes; the files of a bundle are left to `bundle`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from engine.bundle.files import parse_json
from engine.bundle.schema import FeatureSchema, schema_from_dict, schema_to_dict
from engine.errors import BundleError, VersionError, pluralize, quoted

# Raise the number whenever an engine that knows only the old one would misread a bundle: a file
# renamed, a field removed or given another meaning, an output of a graph changed. A new file or
# field that old engines may ignore does not raise it. An engine reads its own number and the one
# before. Nothing has been released yet: the first release will have format 1.
BUNDLE_FORMAT = 1
READABLE_FORMATS = range(max(BUNDLE_FORMAT - 1, 1), BUNDLE_FORMAT + 1)

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
        profile: Aggregates of its users, plain JSON values; see `training.segments.profiles`.
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
        document = parse_json(text)
        number = document["format"]
    except (ValueError, TypeError, KeyError) as error:
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
            f"{where}: {pluralize(len(wrong), 'value')} that no manifest has: {quoted(wrong)}. "
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


def _shallow(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
