"""What sets the users of each segment apart: aggregates of the training users, for people.

No label is read. Figures of fewer than `MIN_CELL` users are null.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata  # type: ignore[import-untyped]

from engine.bundle.manifest import Segment
from engine.bundle.schema import Feature, FeatureSchema
from engine.rows.typed import CategoryTables
from training.metrics.disclosure import MIN_CELL, users_in
from training.metrics.metrics import rounded, segment_places
from training.segments.lineage import Predecessor, segment_changes
from training.segments.names import named
from training.segments.phrases import (
    MIN_KNOWN,
    Name,
    Trait,
    against_all,
    segment_sentence,
    value_against_all,
)
from training.segments.segments import Segmentation

CLEAR = 0.08
"""From this effect on, a segment has clearly more or less of something than the average user."""

LARGER_SHARE = 0.05
"""By so much the share of a category must be larger in a segment to be told."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """Users and their segments.

    Attributes:
        features: float32 [rows, features].
        segment: The stable ids, int64 [rows].
        users: A number from 0 for each user, int64 [rows]; several rows may be one user's.
    """

    features: np.ndarray
    segment: np.ndarray
    users: np.ndarray


@dataclass(frozen=True, slots=True)
class Description:
    """Segments in words.

    Attributes:
        segments: With their names and sentences.
        profiles: What sets their users apart, by segment id; plain JSON values.
        changes: What differs from the segments before, in words.
    """

    segments: tuple[Segment, ...]
    profiles: dict[int, dict[str, Any]]
    changes: list[str]


def describe_segments(
    schema: FeatureSchema,
    categories: CategoryTables,
    segmentation: Segmentation,
    who: Profiled,
    before: Predecessor | None,
) -> Description:
    """Give every segment its name, its sentence and its profile.

    Args:
        schema: The table.
        categories: The codes of categories.
        segmentation: The segments as fitted.
        who: The training users.
        before: The segments of the previous bundle, whose names are kept as long as they are true.
    """
    fitted, succession = segmentation.segments, segmentation.succession
    traits = segment_traits(schema.model_features, categories, who, fitted)
    earlier = {} if before is None else _names_before(before)
    kept = {number: name for number, name in earlier.items() if number in succession.ids}
    names = named(fitted, traits, kept, (name.text for name in earlier.values()))
    segments = tuple(
        replace(s, name=names[s.id].text, sentence=segment_sentence(names[s.id], traits[s.id]))
        for s in fitted
    )
    profiles = {
        s.id: rounded(_profile(schema, who, s, traits[s.id], names[s.id])) for s in segments
    }
    return Description(segments, profiles, _changes(segmentation, segments, before))


def _names_before(before: Predecessor) -> dict[int, Name]:
    return {
        segment.id: Name(segment.name, list(before.profiles[segment.id]["name_features"]))
        for segment in before.segments
    }


def _changes(
    segmentation: Segmentation, segments: tuple[Segment, ...], before: Predecessor | None
) -> list[str]:
    if before is None:
        return []
    changes = [
        *segmentation.report["changes"],
        *segment_changes(segments, segmentation.succession, before),
    ]
    return changes or ["no change: every segment keeps its id and its name"]


def _profile(
    schema: FeatureSchema, who: Profiled, segment: Segment, traits: Sequence[Trait], name: Name
) -> dict[str, Any]:
    return {
        **_rfm_figures(schema, traits),
        **_index_figures(traits),
        "described_rows": _large_enough(who, segment.id),
        "name_features": name.reasons,
    }


def segment_traits(
    features: tuple[Feature, ...],
    categories: CategoryTables,
    who: Profiled,
    segments: Sequence[Segment],
) -> dict[int, list[Trait]]:
    """How much each segment has of every feature and category, by segment id.

    The effect of a number is the mean rank of its users among all, from -0.5 to 0.5: half of what
    P(a user of the segment has more) exceeds P(he has less), against an average user (Vargha &
    Delaney 2000). It has no unit and no tail can pull it. A category counts as a number that is 0
    or 1. Only users about whom it is known count.
    """
    found: dict[int, list[Trait]] = {segment.id: [] for segment in segments}
    ids = list(found)
    place = segment_places(ids, who.segment)
    rows = np.bincount(place, minlength=len(ids))
    for column, feature in enumerate(features):
        values = who.features[:, column].astype(np.float64)
        known = ~np.isnan(values)
        told = Told(feature, categories.get(feature.name, ()), values[known], place[known])
        tell = _numbers if feature.kind == "numeric" or feature.ordered else _categories
        for n, trait in tell(told, who.users[known], rows):
            found[ids[n]].append(trait)
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """The known values of one feature.

    Attributes:
        feature: Which.
        texts: The categories by their codes; none for a number.
        values: float64 [rows].
        place: The position of each row's segment, int64 [rows].
    """

    feature: Feature
    texts: tuple[str, ...]
    values: np.ndarray
    place: np.ndarray


def _numbers(told: Told, users: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, Trait]]:
    """The mean of a number in each segment; of an ordered category the mean of its codes."""
    values = told.values
    rank = (rankdata(values) - 0.5) / max(len(values), 1) - 0.5
    people = users_in(told.place, users, len(rows))
    for n in np.flatnonzero(people >= MIN_CELL):
        inside = told.place == n
        yield (
            int(n),
            Trait(
                told.feature,
                effect=float(rank[inside].mean()),
                mean=float(values[inside].mean()),
                overall=float(values.mean()),
                known=float(inside.sum() / rows[n]),
                value=_middle(told.texts, values[inside]),
                overall_value=_middle(told.texts, values),
            ),
        )


def _categories(told: Told, users: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, Trait]]:
    """The share of each value in each segment."""
    width = len(told.texts)
    cell = told.place * width + told.values.astype(np.int64)
    table = np.bincount(cell, minlength=len(rows) * width).reshape(len(rows), width)
    people = users_in(cell, users, len(rows) * width).reshape(len(rows), width)
    counts, overall = table.sum(axis=1), table.sum(axis=0) / max(table.sum(), 1)
    for n, code in np.argwhere(people >= MIN_CELL):
        share = table[n, code] / counts[n]
        yield (
            int(n),
            Trait(
                told.feature,
                effect=float((share - overall[code]) / 2),
                mean=float(share),
                overall=float(overall[code]),
                known=float(counts[n] / rows[n]),
                value=told.texts[code],
            ),
        )


def _middle(texts: tuple[str, ...], codes: np.ndarray) -> str:
    """The category in the middle, where there are categories."""
    return texts[int(np.quantile(codes, 0.5, method="lower"))] if texts else ""


def _large_enough(who: Profiled, number: int) -> int | None:
    """The rows of a segment; None where they are of too few users."""
    inside = who.segment == number
    return int(inside.sum()) if len(np.unique(who.users[inside])) >= MIN_CELL else None


def _rfm_figures(schema: FeatureSchema, traits: Sequence[Trait]) -> dict[str, float | None]:
    """How lately, how often and for how much they have bought, where the schema says.

    None where it is known of too few of them: one order tells little of a segment that buys nothing.
    """
    rfm = schema.rfm
    if rfm is None:
        return {}
    means = {trait.feature.name: trait.mean for trait in traits if trait.known >= MIN_KNOWN}
    return {
        "recency": means.get(rfm.recency),
        "frequency": means.get(rfm.frequency),
        "spend": means.get(rfm.monetary),
    }


def _index_figures(traits: Sequence[Trait]) -> dict[str, list[dict[str, Any]]]:
    """What they have clearly more of, less of, and which categories are frequent among them."""
    known = [trait for trait in traits if trait.known >= MIN_KNOWN]
    ranked = sorted(known, key=lambda trait: (-abs(trait.effect), trait.key))
    numbers = [trait for trait in ranked if not trait.nominal]
    frequent = [t for t in ranked if t.nominal and t.mean - t.overall >= LARGER_SHARE]
    return {
        "over": [_index(trait) for trait in numbers if trait.effect >= CLEAR],
        "under": [_index(trait) for trait in numbers if trait.effect <= -CLEAR],
        "categories": [
            {
                "feature": trait.feature.name,
                "label": trait.feature.title,
                "value": trait.value,
                "share": trait.mean,
                "overall_share": trait.overall,
                "index": trait.mean / trait.overall,
                "words": value_against_all(trait),
            }
            for trait in frequent
        ],
    }


def _index(trait: Trait) -> dict[str, Any]:
    ratio = trait.mean >= 0 and trait.overall > 0 and not trait.value
    return {
        "feature": trait.feature.name,
        "label": trait.feature.title,
        "mean": trait.mean,
        "overall_mean": trait.overall,
        "index": trait.mean / trait.overall if ratio else None,
        "words": against_all(trait),
    }
