"""The lineage of segments over refits: new segments keep the ids of previous ones with the same users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from engine.bundle.evaluation import Json, read_evaluation
from engine.bundle.manifest import MAX_SEGMENT_ID, Segment
from engine.bundle.open import Bundle
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError, quoted
from engine.model.session import Session
from engine.rows.typed import to_features
from training.metrics.metrics import rounded
from training.segments.phrases import Name
from training.segments.space import LOG, Kept, transform_code

MIN_JACCARD = 0.5
"""A segment with less overlap with every previous one is new."""


@dataclass(frozen=True, slots=True)
class PreviousSegments:
    """The segments of the previous bundle, and how they assign the new training users.

    Attributes:
        bundle_id: Of the previous bundle.
        segments: Its segments.
        profiles: What sets their users apart, by segment id.
        retired: Ids that were retired before.
        features: The features of its space.
        assigned: The id that it gives to each training user, int64 [rows].
    """

    bundle_id: str
    segments: tuple[Segment, ...]
    profiles: Mapping[int, Json]
    retired: tuple[int, ...]
    features: Kept
    assigned: np.ndarray

    @property
    def names(self) -> dict[int, Name]:
        """The names of the previous segments, by id."""
        return {s.id: Name(s.name, self.profiles[s.id]["name_features"]) for s in self.segments}

    @property
    def ids(self) -> list[int]:
        """The ids of the previous segments."""
        return [segment.id for segment in self.segments]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The ids of new segments.

    Attributes:
        ids: One for each new segment, in their order.
        retired: Every id that is never used again, rising.
        overlap: The largest Jaccard index with any previous segment, 0 if there was none.
    """

    ids: tuple[int, ...]
    retired: tuple[int, ...]
    overlap: tuple[float, ...]


def check_previous(bundle: Bundle, schema: FeatureSchema) -> None:
    """Check that the segments of a bundle can be continued.

    Raises:
        BundleError: It has another schema.
    """
    found = bundle.manifest.schema.name
    if found != schema.name:
        raise BundleError(
            f"{bundle.path}: is of schema {found!r}, this fit of {schema.name!r}. Give a bundle "
            "of the same schema, or omit --previous to number segments from 1."
        )


def previous_segments(bundle: Bundle, typed: pl.DataFrame) -> PreviousSegments:
    """Assign users to the previous segments, through the engine.

    Args:
        bundle: The previous bundle.
        typed: The training users, as `to_typed` returns them; a feature of the bundle that they lack,
            or have as another type, counts as missing.
    """
    manifest = bundle.manifest
    features = manifest.schema.model_features
    kinds = {f.name: pl.Float32() if f.kind == "numeric" else pl.String() for f in features}
    columns = [
        pl.col(name) if typed.schema.get(name) == kind else pl.lit(None, kind).alias(name)
        for name, kind in kinds.items()
    ]
    tensor = to_features(typed.with_columns(columns).select(*kinds), features, manifest.categories)
    record = read_evaluation(bundle).fit
    names, transforms = (record.clustering[key] for key in ("features", "transforms"))
    return PreviousSegments(
        bundle_id=manifest.bundle_id,
        segments=manifest.segments,
        profiles=record.profiles,
        retired=manifest.retired_segments,
        features={
            name: _how(transform, manifest.categories.get(name, ()))
            for name, transform in zip(names, transforms, strict=True)
        },
        assigned=Session(bundle).run(tensor).segment,
    )


def _how(transform: str, texts: Sequence[str]) -> bool | str:
    """Whether a logarithm is taken, or the value in question."""
    codes = {float(code): text for code, text in enumerate(texts)}
    return codes.get(transform_code(transform), transform == LOG)


def starting_centroids(points: np.ndarray, before: PreviousSegments) -> np.ndarray | None:
    """The previous segments in a new space: the means of their users.

    Args:
        points: The training users, float64 [rows, coordinates].
        before: The previous segments.

    Returns:
        float64 [segments, coordinates]; None if a segment has no user.
    """
    members = [before.assigned == number for number in before.ids]
    if not all(rows.any() for rows in members):
        return None
    return np.stack([points[rows].mean(axis=0) for rows in members])


def trace_lineage(labels: np.ndarray, count: int, before: PreviousSegments | None) -> Lineage:
    """Give each new segment the id of the one it continues, or a new id.

    Segments are matched one to one, so that the Jaccard indices (users in both over users in
    either) add up to most: the Hungarian method (Kuhn 1955).

    Args:
        labels: Positions of the new segments of the training users, int [rows].
        count: The number of new segments; fresh ids rise in their order.
        before: The previous segments, if there are any.

    Raises:
        BundleError: All ids that fit into the score file have been used.
    """
    if before is None:
        return Lineage(tuple(range(1, count + 1)), (), (0.0,) * count)
    overlaps = jaccard(labels, count, before.assigned, before.ids)
    # A match below the bound must not displace one above it.
    worth = np.where(overlaps >= MIN_JACCARD, overlaps, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    kept = {
        int(row): before.ids[column]
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] >= MIN_JACCARD
    }
    first = max([*before.ids, *before.retired]) + 1
    fresh = {n: first + i for i, n in enumerate(n for n in range(count) if n not in kept)}
    ids = tuple((kept | fresh)[n] for n in range(count))
    if max(ids) > MAX_SEGMENT_ID:
        raise BundleError(
            f"{before.bundle_id}: {max(ids)} segment ids have been used since the first bundle; "
            f"ids end at {MAX_SEGMENT_ID}. Omit --previous to number segments from 1."
        )
    return Lineage(
        ids=ids,
        retired=tuple(sorted({*before.retired, *before.ids} - set(ids))),
        overlap=tuple(rounded(float(overlaps[n].max())) for n in range(count)),
    )


def jaccard(labels: np.ndarray, count: int, assigned: np.ndarray, ids: list[int]) -> np.ndarray:
    """The overlap of new and previous segments, float64 [count, ids], 0 to 1.

    Args:
        labels: Positions of the new segments, int [rows].
        count: The number of new segments.
        assigned: The previous ids, int64 [rows].
        ids: The ids of all previous segments.
    """
    new = labels[:, np.newaxis] == np.arange(count)
    old = assigned[:, np.newaxis] == np.array(ids)
    both = new.T.astype(np.float64) @ old
    either = new.sum(axis=0)[:, np.newaxis] + old.sum(axis=0) - both
    found: np.ndarray = both / np.maximum(either, 1)
    return found


def space_changes(before: PreviousSegments, features: Sequence[str]) -> list[str]:
    """Features that left the space or joined it, in words."""
    lost = sorted(set(before.features) - set(features))
    added = sorted(set(features) - set(before.features))
    if not lost and not added:
        return []
    return [
        f"features of the segments: {quoted(lost)} dropped, because the table lacks them or too few users "
        f"differ in them; {quoted(added) if added else 'nothing'} added"
    ]


def segment_changes(
    segments: Sequence[Segment], lineage: Lineage, before: PreviousSegments
) -> list[str]:
    """New, retired and renamed segments, in words."""
    names = {segment.id: segment.name for segment in before.segments}
    overlap = dict(zip(lineage.ids, lineage.overlap, strict=True))
    new = [s for s in segments if s.id not in names]
    renamed = [s for s in segments if s.id in names and s.name != names[s.id]]
    gone = [number for number in names if number in lineage.retired]
    return [
        *(
            f"segment {s.id}, {s.name}, is new: it shares {overlap[s.id]:.0%} of the users with its "
            f"best previous match"
            for s in new
        ),
        *(
            f"segment {s.id} is now called {s.name}: {names[s.id]} no longer describes its users"
            for s in renamed
        ),
        *(f"segment {number}, {names[number]}, is retired" for number in gone),
    ]
