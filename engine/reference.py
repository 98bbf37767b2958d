"""The users of training in bins: what later users are compared with. Aggregates only.

`training.reference` makes them, `reference.json` holds them, `drift` compares.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.bundle import Manifest
from engine.errors import BundleError
from engine.scores import above

TELLING_USERS = 20
"""Fewer users say nothing of all, and too much of themselves."""


@dataclass(frozen=True, slots=True)
class Users:
    """Users as the models see them, and what the models say.

    Attributes:
        features: float32 [rows, features], NaN where a value is missing or has no code.
        probability: float32 [rows].
        segment: Segment ids, int [rows].
    """

    features: np.ndarray
    probability: np.ndarray
    segment: np.ndarray

    def __getitem__(self, rows: slice) -> "Users":
        """Some of them."""
        return Users(self.features[rows], self.probability[rows], self.segment[rows])

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.probability)


@dataclass(frozen=True, slots=True)
class Counts:
    """Users by value, in the bins of one bundle.

    Attributes:
        features: For each feature users by bin, the missing last.
        score: Users by decile of the score, the lowest first.
        segments: Users by segment, in the order of the manifest.
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
    """The users of training.

    Attributes:
        edges: For each feature the rising lower ends of all bins but the first; a category is a
            bin of its own, by its code.
        counts: How many there were in each bin.
        typical: For each feature what `typical_size` gives of them; None for categories.
    """

    edges: tuple[tuple[float, ...], ...]
    counts: Counts
    typical: tuple[float | None, ...]


def count_users(edges: Sequence[Sequence[float]], users: Users, manifest: Manifest) -> Counts:
    """Count users by bin.

    Args:
        edges: What `Reference.edges` holds.
        users: Who is counted.
        manifest: Cut-points and segments.
    """
    columns = (_count(users.features[:, n], np.asarray(e, np.float32)) for n, e in enumerate(edges))
    deciles = above(manifest.decile_cuts, users.probability)
    ids = np.array([segment.id for segment in manifest.segments])
    return Counts(
        tuple(columns),
        np.bincount(deciles, minlength=len(manifest.decile_cuts) + 1),
        (users.segment[:, np.newaxis] == ids).sum(axis=0),
    )


def typical_size(column: np.ndarray) -> float | None:
    """The median of the values that are not 0, as a size; to three figures, so that it is nobody's.

    Args:
        column: float32 [rows], NaN where missing.

    Returns:
        None where fewer than `TELLING_USERS` users have such a value.
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
        "rows": reference.counts.rows,
        "features": {
            feature.name: {"edges": list(edges), "users": counts.tolist(), "typical": typical}
            for feature, edges, counts, typical in columns
        },
        "deciles": reference.counts.score.tolist(),
        "segments": reference.counts.segments.tolist(),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def reference_from_json(text: bytes, manifest: Manifest) -> Reference:
    """Read `reference.json`.

    Raises:
        BundleError: It is not the reference of this bundle.
    """
    try:
        document = json.loads(text)
        columns = [document["features"][f.name] for f in manifest.schema.model_features]
        edges = tuple(tuple(map(float, column["edges"])) for column in columns)
        sizes = [column["typical"] for column in columns]
        typical = tuple(None if size is None else float(size) for size in sizes)
        counts = Counts(
            tuple(np.array(column["users"], np.int64) for column in columns),
            np.array(document["deciles"], np.int64),
            np.array(document["segments"], np.int64),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(
            f"{manifest.bundle_id}: reference.json is not its reference: {error}. "
            "Copy the bundle again."
        ) from error
    _check_sizes(edges, counts, manifest)
    return Reference(edges, counts, typical)


def _check_sizes(edges: Sequence[Sequence[float]], counts: Counts, manifest: Manifest) -> None:
    wanted = [len(e) + 2 for e in edges]
    wanted += [len(manifest.decile_cuts) + 1, len(manifest.segments)]
    found = [len(c) for c in (*counts.features, counts.score, counts.segments)]
    if found != wanted:
        raise BundleError(
            f"{manifest.bundle_id}: reference.json has bins {found}, expected {wanted}. "
            "Copy the bundle again."
        )


def _count(column: np.ndarray, edges: np.ndarray) -> np.ndarray:
    missing = np.isnan(column)
    bins = np.where(missing, len(edges) + 1, np.searchsorted(edges, column, side="right"))
    return np.bincount(bins, minlength=len(edges) + 2)
