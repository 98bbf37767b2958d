"""What sets the users of each segment apart, and what became of them: aggregates for people.

Who they are is told of the training users, of whom there are most; it reads no label. What they
bought is told of the test users, who had no part in any fit. The engine says who is in which
segment. Figures of fewer than `MIN_CELL` users are null.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata  # type: ignore[import-untyped]

from engine.bundle import Manifest, Segment
from engine.schema import Feature
from engine.tensors import CategoryTables
from training.evaluate import MIN_CELL, Outcomes, rounded
from training.fit.segments import Segmentation
from training.fit.succession import Predecessor, segment_changes
from training.segment_words import Trait, against_all, named, segment_sentence, value_against_all

CLEAR = 0.08
"""From this effect on, a segment has clearly more or less of something than the average user."""

LARGER_SHARE = 0.05
"""By so much the share of a category must be larger in a segment to be told."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """Users and the segments that the engine puts them in.

    Attributes:
        features: float32 [rows, features].
        segment: The stable ids, int64 [rows].
    """

    features: np.ndarray
    segment: np.ndarray


def describe_segments(
    manifest: Manifest,
    who: Profiled,
    outcomes: Outcomes,
    outcome_segment: np.ndarray,
    segmentation: Segmentation,
    before: Predecessor | None,
) -> Manifest:
    """Give every segment of a manifest its name, its sentence and its profile.

    Args:
        manifest: Schema, category tables and segments.
        who: The training users.
        outcomes: The test users.
        outcome_segment: Their segments, int64 [rows].
        segmentation: Which segments continue one before.
        before: The segments in force, whose names are kept as long as they are true.
    """
    features, succession = manifest.schema.model_features, segmentation.succession
    traits = segment_traits(features, manifest.categories, who, manifest.segments)
    kept = {s.id: s for s in (before.segments if before else ()) if s.id in succession.ids}
    names = named(manifest.segments, traits, kept)
    segments = tuple(
        replace(
            segment,
            name=names[segment.id].text,
            sentence=segment_sentence(names[segment.id], traits[segment.id]),
            profile=rounded(
                {
                    **_outcome_figures(outcomes, outcome_segment == segment.id),
                    **_rfm_figures(manifest, traits[segment.id]),
                    **_index_figures(traits[segment.id]),
                    "described_rows": int((who.segment == segment.id).sum()),
                    "name_features": names[segment.id].reasons,
                }
            ),
        )
        for segment in manifest.segments
    )
    clustering = dict(manifest.clustering)
    if before is not None:
        changes = [*clustering["changes"], *segment_changes(segments, succession, before)]
        clustering["changes"] = changes or ["no change: every segment keeps its id and its name"]
    return replace(
        manifest,
        segments=segments,
        clustering=clustering,
    )


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
    ids = np.array(list(found))
    place = np.argmax(who.segment[:, np.newaxis] == ids, axis=1)
    rows = np.bincount(place, minlength=len(ids))
    for column, feature in enumerate(features):
        values = who.features[:, column].astype(np.float64)
        known = ~np.isnan(values)
        if known.sum() < MIN_CELL:
            continue
        texts = categories.get(feature.name, ())
        told = _numbers if feature.kind == "numeric" or feature.ordered else _categories
        for n, trait in told(feature, texts, values[known], place[known], rows):
            found[int(ids[n])].append(trait)
    return found


def _numbers(
    feature: Feature,
    texts: tuple[str, ...],
    values: np.ndarray,
    place: np.ndarray,
    rows: np.ndarray,
) -> Iterator[tuple[int, Trait]]:
    """The mean of a number in each segment; of an ordered category the mean of its codes."""
    rank = (rankdata(values) - 0.5) / len(values) - 0.5
    counts = np.bincount(place, minlength=len(rows))
    for n in np.flatnonzero(counts >= MIN_CELL):
        inside = place == n
        yield (
            int(n),
            Trait(
                feature,
                effect=float(rank[inside].mean()),
                mean=float(values[inside].mean()),
                overall=float(values.mean()),
                known=float(counts[n] / rows[n]),
                value=_middle(texts, values[inside]),
                overall_value=_middle(texts, values),
            ),
        )


def _categories(
    feature: Feature,
    texts: tuple[str, ...],
    values: np.ndarray,
    place: np.ndarray,
    rows: np.ndarray,
) -> Iterator[tuple[int, Trait]]:
    """The share of each value in each segment."""
    codes = values.astype(np.int64)
    table = np.bincount(place * len(texts) + codes, minlength=len(rows) * len(texts))
    table = table.reshape(len(rows), len(texts))
    counts = table.sum(axis=1)
    overall = table.sum(axis=0) / table.sum()
    for n, code in np.argwhere(table >= MIN_CELL):
        share = table[n, code] / counts[n]
        yield (
            int(n),
            Trait(
                feature,
                effect=float((share - overall[code]) / 2),
                mean=float(share),
                overall=float(overall[code]),
                known=float(counts[n] / rows[n]),
                value=texts[code],
            ),
        )


def _middle(texts: tuple[str, ...], codes: np.ndarray) -> str:
    """The category in the middle, where there are categories."""
    return texts[int(np.quantile(codes, 0.5, method="lower"))] if texts else ""


def _outcome_figures(outcomes: Outcomes, inside: np.ndarray) -> dict[str, Any]:
    rows = int(inside.sum())
    enough = len(np.unique(outcomes.users[inside])) >= MIN_CELL
    return {
        "rows": rows if enough else None,
        "purchase_rate": float(outcomes.label[inside].mean()) if enough else None,
        "mean_probability": float(outcomes.probability[inside].mean()) if enough else None,
    }


def _rfm_figures(manifest: Manifest, traits: Sequence[Trait]) -> dict[str, float | None]:
    """How lately, how often and for how much they have bought, where the schema says."""
    rfm = manifest.schema.rfm
    if rfm is None:
        return {}
    means = {trait.feature.name: trait.mean for trait in traits}
    return {
        "recency": means.get(rfm.recency),
        "frequency": means.get(rfm.frequency),
        "spend": means.get(rfm.monetary),
    }


def _index_figures(traits: Sequence[Trait]) -> dict[str, list[dict[str, Any]]]:
    """What they have clearly more of, less of, and which categories are frequent among them."""
    ranked = sorted(traits, key=lambda trait: -abs(trait.effect))
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
