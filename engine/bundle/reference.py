"""`reference.json`: histograms of the training users, with which drift compares later users."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.bundle.documents import parse_json
from engine.bundle.manifest import Manifest
from engine.bundle.structure import is_count, is_float32, structure_problem
from engine.errors import BundleError

TELLING_USERS = 20
"""Figures of fewer users are not reliable, and reveal too much about them."""

SUPPRESSED = -1
"""The count of a training bin with too few users to disclose."""


@dataclass(frozen=True, slots=True)
class Users:
    """Users as the models see them, with their predictions.

    Attributes:
        features: float32 [rows, features], NaN if a value is missing or has no code.
        probability: float32 [rows].
        segment: Segment ids, int [rows].
    """

    features: np.ndarray
    probability: np.ndarray
    segment: np.ndarray

    def __getitem__(self, rows: slice) -> "Users":
        """A copy of some users; a view would keep all the others in memory."""
        return Users(
            self.features[rows].copy(), self.probability[rows].copy(), self.segment[rows].copy()
        )

    @property
    def rows(self) -> int:
        """The number of users."""
        return len(self.probability)


@dataclass(frozen=True, slots=True)
class Counts:
    """Users counted in the bins of one bundle.

    Attributes:
        features: For each feature the users per bin, missing last.
        score: Users per decile of the score, lowest first.
        segments: Users per segment, in the order of the manifest.
    """

    features: tuple[np.ndarray, ...]
    score: np.ndarray
    segments: np.ndarray

    @property
    def rows(self) -> int:
        """The number of users."""
        return int(self.score.sum())


@dataclass(frozen=True, slots=True)
class Reference:
    """The training users.

    Attributes:
        edges: For each feature the ascending lower bounds of all bins but the first; every
            category is a bin, by its code.
        counts: The users in each bin, or `SUPPRESSED`.
        typical: `typical_size` of each feature; None for categories.
        rows: The number of users.
    """

    edges: tuple[tuple[float, ...], ...]
    counts: Counts
    typical: tuple[float | None, ...]
    rows: int


def count_users(edges: Sequence[Sequence[float]], users: Users, manifest: Manifest) -> Counts:
    """Count users by bin.

    Args:
        edges: As in `Reference`.
        users: The users to count.
        manifest: Cut-points and segments.
    """
    bins = bins_of(edges, users, manifest)
    return counts_of([np.bincount(place, minlength=size) for place, size in bins])


def bins_of(
    edges: Sequence[Sequence[float]], users: Users, manifest: Manifest
) -> Iterator[tuple[np.ndarray, int]]:
    """The bin of each user, int64 [rows], and the number of bins; by feature, decile and segment.

    Args:
        edges: As in `Reference`.
        users: The users to count.
        manifest: Cut-points and segments.
    """
    for column, lower in zip(users.features.T, edges, strict=True):
        bins = np.searchsorted(np.asarray(lower, np.float32), column, side="right")
        yield np.where(np.isnan(column), len(lower) + 1, bins), len(lower) + 2
    deciles = digitize(manifest.decile_cuts, users.probability)
    yield deciles.astype(np.int64), len(manifest.decile_cuts) + 1
    ids = np.array([segment.id for segment in manifest.segments])
    yield np.argmax(users.segment[:, np.newaxis] == ids, axis=1), len(ids)


def counts_of(columns: Sequence[np.ndarray]) -> Counts:
    """Counts in the order of `bins_of`."""
    *features, score, segments = columns
    return Counts(tuple(features), score, segments)


def typical_size(column: np.ndarray) -> float | None:
    """The median magnitude of the non-zero values, rounded to three digits so that it is nobody's.

    Args:
        column: float32 [rows], NaN where missing.

    Returns:
        None if fewer than `TELLING_USERS` users have such a value.
    """
    sizes = np.abs(column[~np.isnan(column) & (column != 0)])
    if len(sizes) < TELLING_USERS:
        return None
    return float(f"{np.median(sizes.astype(np.float64)):.3g}")


def reference_to_json(reference: Reference, manifest: Manifest) -> bytes:
    """The bytes of `reference.json`."""
    columns = zip(
        manifest.schema.model_features,
        reference.edges,
        reference.counts.features,
        reference.typical,
        strict=True,
    )
    document = {
        "rows": reference.rows,
        "features": {
            feature.name: {"edges": list(edges), "users": _to_json(counts), "typical": typical}
            for feature, edges, counts, typical in columns
        },
        "deciles": _to_json(reference.counts.score),
        "segments": _to_json(reference.counts.segments),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _are_edges(value: object) -> bool:
    """Whether a value is a list of ascending numbers within the range of float32."""
    return isinstance(value, list) and all(map(is_float32, value)) and value == sorted(value)


def _is_size(value: object) -> bool:
    return value is None or (is_float32(value) and value > 0)  # type: ignore[operator]


_COUNTS = [(None, is_count)]
_FEATURE = {"edges": _are_edges, "users": _COUNTS, "typical": _is_size}
_REFERENCE = {"rows": is_count, "deciles": _COUNTS, "segments": _COUNTS}


def reference_from_json(text: bytes, manifest: Manifest) -> Reference:
    """Read `reference.json`.

    Raises:
        BundleError: It is invalid or of another bundle.
    """
    names = [feature.name for feature in manifest.schema.model_features]
    try:
        document = parse_json(text)
        structure = {**_REFERENCE, "features": dict.fromkeys(names, _FEATURE)}
        problem = structure_problem(document, structure, "it")
    except ValueError as error:
        problem = str(error)
    if problem:
        raise BundleError(
            f"{manifest.bundle_id}: reference.json is not its reference: {problem}. "
            "Copy the bundle again."
        )
    columns = [document["features"][name] for name in names]
    counts = Counts(
        tuple(_from_json(column["users"]) for column in columns),
        _from_json(document["deciles"]),
        _from_json(document["segments"]),
    )
    edges = tuple(tuple(map(float, column["edges"])) for column in columns)
    _check_sizes(edges, counts, manifest)
    return Reference(
        edges, counts, tuple(column["typical"] for column in columns), document["rows"]
    )


def _check_sizes(edges: Sequence[Sequence[float]], counts: Counts, manifest: Manifest) -> None:
    wanted = [len(e) + 2 for e in edges]
    wanted += [len(manifest.decile_cuts) + 1, len(manifest.segments)]
    found = [len(c) for c in (*counts.features, counts.score, counts.segments)]
    if found != wanted:
        raise BundleError(
            f"{manifest.bundle_id}: reference.json has bins {found}, expected {wanted}. "
            "Copy the bundle again."
        )


def _to_json(counts: np.ndarray) -> list[int | None]:
    return [None if count == SUPPRESSED else count for count in counts.tolist()]


def _from_json(counts: Sequence[int | None]) -> np.ndarray:
    return np.array([SUPPRESSED if count is None else count for count in counts], np.int64)


def digitize(cuts: tuple[float, ...], probability: np.ndarray) -> np.ndarray:
    """The number of cut-points that each probability reaches; equality counts.

    Args:
        cuts: Ascending cut-points, exact in float32.
        probability: float32 [rows].

    Returns:
        int64 [rows].
    """
    return np.searchsorted(np.asarray(cuts, np.float32), probability, side="right")
