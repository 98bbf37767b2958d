"""What scoring needs of a bundle besides its graphs: `manifest.json` as a frozen value.

What was measured of the bundle is in `evaluation.json`.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from engine.bundle.documents import parse_json, to_json
from engine.bundle.format_1 import manifest_document
from engine.bundle.names import is_version
from engine.bundle.schema import (
    FeatureSchema,
    is_bundle_name,
    schema_from_dict,
    schema_to_dict,
)
from engine.bundle.structure import is_count, is_float32, is_probability, structure_problem
from engine.errors import BundleError, VersionError, pluralize, quoted

# Raise the number if an engine that knows only the old one would misread a bundle: a file is renamed, a
# field is removed or changes its meaning, an output of a graph changes. New files and fields that old
# engines may ignore do not raise it. An engine reads its own format and the one before, so raising the
# number replaces `format_1` with `format_2`.
# 1: everything in manifest.json. 2: what was measured moves to evaluation.json.
BUNDLE_FORMAT = 2
READABLE_FORMATS = (BUNDLE_FORMAT - 1, BUNDLE_FORMAT)

MAX_SEGMENT_ID = 127
"""The largest id that fits the Int8 column of the score file."""

SOUND, WEAK, CHANCE, NONE = SEGMENT_VERDICTS = ("sound", "weak", "chance", "none")
"""Segments that may be used; with care; that are no better than chance; no segments at all."""

BANDS = ("low", "medium", "high", "very_high")

DRIVERS = 3
"""How many drivers a model names; fewer if it has fewer features."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling, folded into the margin: margin = slope x raw LightGBM score + intercept."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One customer segment.

    Attributes:
        id: Stable over retraining; never reused once the segment is retired.
        name: Unique, for people.
        share: Of the training users.
        sentence: Who these users are, in plain words.
    """

    id: int
    name: str
    share: float
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """The expected hash and size of a file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What scoring needs of a bundle.

    Attributes:
        bundle_id: `<name>/<version>`.
        schema: The table that the bundle scores.
        categories: The values of each categorical feature, in the order of their codes.
        calibration: From raw scores to the margin.
        base_value: The margin to which the impacts of a row are added.
        threshold: The probability from which a purchase is predicted. Like the cut-points it is exact
            in float32; a probability equal to one reaches it.
        decile_cuts: Nine increasing probabilities.
        band_cuts: Three increasing probabilities.
        segments: In ascending order of their ids.
        retired_segments: Ids of earlier bundles that are never used again.
        unusable: Why the purchase model must not be used; empty if it may.
        segments_unusable: Why the segments are not stable enough to use; empty if they are.
        segments_verdict: What the fit says of the segments, one of `SEGMENT_VERDICTS`.
        files: Every other file of the bundle, by name.
        format: The format of the bundle that was read.
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
    segments_unusable: tuple[str, ...]
    segments_verdict: str
    files: Mapping[str, FileEntry]
    format: int = BUNDLE_FORMAT

    @property
    def segments_usable(self) -> bool:
        """Whether scores name the segments, and actions may differ by them."""
        return self.segments_verdict in (SOUND, WEAK)

    @property
    def named_segments(self) -> tuple[Segment, ...]:
        """The segments that people are told of; none if they are not usable."""
        return self.segments if self.segments_usable else ()


def _is_segment_id(value: object) -> bool:
    return is_count(value) and value <= MAX_SEGMENT_ID  # type: ignore[operator]


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_verdict(value: object) -> bool:
    return value in SEGMENT_VERDICTS


_MANIFEST = {
    "bundle_id": str,
    "schema": {str: object},
    "categories": {str: [str]},
    "calibration": {"slope": is_float32, "intercept": is_float32},
    "base_value": is_float32,
    "decile_cuts": [object],
    "band_cuts": [object],
    "segments": [{"id": _is_segment_id, "name": str, "share": is_probability, "sentence?": str}],
    "retired_segments": [is_count],
    "unusable": [str],
    "segments_unusable": [str],
    "segments_usable?": bool,
    "segments_verdict": _is_verdict,
    "files": {str: {"sha256": _is_sha256, "size_bytes": is_count}},
}


def manifest_to_json(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON with sorted keys: equal manifests give equal bytes."""
    schema = schema_to_dict(manifest.schema)
    return to_json({**asdict(manifest), "schema": schema, "format": BUNDLE_FORMAT})


def manifest_from_json(text: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: The text is not a manifest; `where` begins the message.
        VersionError: This engine does not read its format.
    """
    try:
        document = parse_json(text)
        _check_format(document["format"], where)
        manifest = _manifest(document, where)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not a manifest: {error}. Copy the bundle again.") from error
    _check_values(manifest, where)
    _check_cuts(manifest, where)
    return manifest


def _check_format(number: object, where: str) -> None:
    # NOTE: true and 1.0 equal 1 in Python, but are not formats.
    if type(number) is not int or number not in READABLE_FORMATS:
        raise VersionError(
            f"{where}: bundle format {number}; this engine reads "
            f"{' and '.join(map(str, READABLE_FORMATS))}. Install the engine version that made it, "
            "or train again."
        )


def _manifest(document: Mapping[str, Any], where: str) -> Manifest:
    """The fields of a document of a readable format; unknown keys are ignored."""
    if document["format"] == 1:
        document = manifest_document(document)
    document = {"segments_verdict": _earlier_verdict(document), **document}
    problem = structure_problem(document, _MANIFEST, "it")
    if problem:
        raise ValueError(problem)
    lists = ("decile_cuts", "band_cuts", "retired_segments", "unusable", "segments_unusable")
    return Manifest(
        **{
            **_known(document, Manifest),
            **{name: tuple(document[name]) for name in lists},
            "schema": schema_from_dict(document["schema"], where),
            "categories": {name: tuple(v) for name, v in document["categories"].items()},
            "calibration": Calibration(**_known(document["calibration"], Calibration)),
            "segments": tuple(Segment(**_known(s, Segment)) for s in document["segments"]),
            "files": {n: FileEntry(**_known(e, FileEntry)) for n, e in document["files"].items()},
        }
    )


def _earlier_verdict(document: Mapping[str, Any]) -> str:
    """The verdict on the segments of a bundle whose manifest holds none."""
    if document.get("segments_usable") is False:
        return CHANCE
    return WEAK if document["segments_unusable"] else SOUND


def _known(document: Mapping[str, Any], target: type) -> dict[str, Any]:
    return {each.name: document[each.name] for each in fields(target) if each.name in document}


def _check_values(manifest: Manifest, where: str) -> None:
    """Check the values that scoring relies on; `_check_cuts` checks the cut-points."""
    ids = [segment.id for segment in manifest.segments]
    tables = manifest.categories
    categorical = [f.name for f in manifest.schema.model_features if f.kind == "categorical"]
    name, _, version = manifest.bundle_id.partition("/")
    sound = {
        "bundle_id": is_bundle_name(name) and is_version(version),
        "categories": sorted(tables) == sorted(categorical)
        and all(len({*table, ""}) == len(table) + 1 for table in tables.values()),
        "segments": ids != [] and len(set(ids)) == len(ids),
    }
    wrong = [name for name, right in sound.items() if not right]
    if wrong:
        raise BundleError(
            f"{where}: {pluralize(len(wrong), 'value')} not valid in a manifest: {quoted(wrong)}. "
            "Copy the bundle again."
        )


def _check_cuts(manifest: Manifest, where: str) -> None:
    for name, wanted, cuts in (
        ("threshold", 1, (manifest.threshold,)),
        ("decile_cuts", 9, manifest.decile_cuts),
        ("band_cuts", len(BANDS) - 1, manifest.band_cuts),
    ):
        valid = all(type(cut) is float and is_probability(cut) for cut in cuts)
        if len(cuts) != wanted or not valid or list(cuts) != sorted(cuts):
            raise BundleError(
                f"{where}: {name} must be {wanted} increasing probabilities, found "
                f"{str(list(cuts))[:200]}. Copy the bundle again."
            )
