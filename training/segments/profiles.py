"""What sets the users of each segment apart: aggregates of the training users, for people.

No label is read. Figures of fewer than `MIN_USERS` users are null.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata  # type: ignore[import-untyped]

from engine.bundle.manifest import Segment
from engine.bundle.schema import Feature, FeatureSchema
from engine.rows.typed import CategoryTables
from training.metrics.disclosure import MIN_USERS, enough, users_in
from training.metrics.metrics import rounded, segment_places
from training.segments.kmeans import sampled
from training.segments.lineage import PreviousSegments, segment_changes
from training.segments.names import could_name, named
from training.segments.phrases import (
    MIN_KNOWN,
    FeatureEffect,
    Key,
    Name,
    against_all,
    value_against_all,
)
from training.segments.segments import Segmentation
from training.segments.sentences import segment_sentence

CLEAR = 0.08
"""The smallest effect that is listed as clearly more or less than the average user."""

LARGER_SHARE = 0.05
"""A category is listed if its share is larger in the segment by so much."""

ALIKE = 0.7
"""Two effects with a larger correlation say nearly the same."""

ALIKE_ROWS = 5_000


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
    before: PreviousSegments | None,
) -> Description:
    """Give every segment its name, its sentence and its profile.

    Args:
        schema: The table.
        categories: The codes of categories.
        segmentation: The segments as fitted.
        who: The training users.
        before: The segments of the previous bundle, whose names are kept while accurate.
    """
    fitted, lineage = segmentation.segments, segmentation.lineage
    effects = segment_effects(schema.model_features, categories, who, fitted)
    earlier = {} if before is None else before.names
    kept = {number: name for number, name in earlier.items() if number in lineage.ids}
    alike = alike_effects(schema.model_features, categories, who, effects)
    names = named(fitted, effects, kept, (name.text for name in earlier.values()), alike)
    segments = tuple(
        replace(s, name=names[s.id].text, sentence=segment_sentence(names[s.id], effects[s.id]))
        for s in fitted
    )
    profiles = {
        s.id: rounded(_profile(schema, who, s.id, effects[s.id], names[s.id])) for s in fitted
    }
    changes: list[str] = []
    if before is not None:
        changes = segmentation.report["changes"] + segment_changes(segments, lineage, before)
        changes = changes or ["no change: every segment keeps its id and its name"]
    return Description(segments, profiles, changes)


def _profile(
    schema: FeatureSchema, who: Profiled, number: int, effects: Sequence[FeatureEffect], name: Name
) -> dict[str, Any]:
    inside = who.segment == number
    return {
        **_rfm_figures(schema, effects),
        **_index_figures(effects),
        "described_rows": int(inside.sum()) if enough(who.users[inside]) else None,
        "name_features": name.reasons,
    }


def segment_effects(
    features: tuple[Feature, ...],
    categories: CategoryTables,
    who: Profiled,
    segments: Sequence[Segment],
) -> dict[int, list[FeatureEffect]]:
    """The effect of every feature and category in each segment, by segment id.

    The effect of a number is the mean rank of the segment's users among all, from -0.5 to 0.5: half
    of P(more) - P(less) against an average user (Vargha & Delaney 2000). It has no unit and is robust
    to outliers. A category counts as a number that is 0 or 1. Unknown values do not count.
    """
    found: dict[int, list[FeatureEffect]] = {segment.id: [] for segment in segments}
    ids = list(found)
    place = segment_places(ids, who.segment)
    rows = np.bincount(place, minlength=len(ids))
    for column, feature in enumerate(features):
        values = who.features[:, column].astype(np.float64)
        known = ~np.isnan(values)
        texts = categories.get(feature.name, ())
        column_values = FeatureValues(
            feature, texts, values[known], place[known], who.users[known], rows
        )
        nominal = feature.kind == "categorical" and not feature.ordered
        for n, effect in (_category_effects if nominal else _number_effects)(column_values):
            found[ids[n]].append(effect)
    return found


def alike_effects(
    features: tuple[Feature, ...],
    categories: CategoryTables,
    who: Profiled,
    effects: Mapping[int, Sequence[FeatureEffect]],
) -> frozenset[frozenset[Key]]:
    """Pairs of notable effects that say nearly the same of the users: age and year of birth."""
    keys = sorted({t.key for found in effects.values() for t in found if could_name(t)})
    table = sampled(who.features, ALIKE_ROWS, 0).astype(np.float64)
    places = {feature.name: column for column, feature in enumerate(features)}
    columns = []
    for name, value in keys:
        column = table[:, places[name]]
        if value:
            columns.append(column == categories[name].index(value))
        else:
            known = np.where(np.isnan(column), np.nanmedian(column), column)
            columns.append(rankdata(known))
    if len(keys) < 2:
        return frozenset()
    points = np.stack(columns)
    points = points - points.mean(axis=1, keepdims=True)
    length = np.sqrt((points**2).sum(axis=1))
    correlation = points @ points.T
    pairs = np.argwhere(np.triu(np.abs(correlation) > ALIKE * np.outer(length, length), k=1))
    return frozenset(frozenset((keys[i], keys[j])) for i, j in pairs.tolist())


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """The known values of one feature.

    Attributes:
        feature: Which.
        texts: The categories by their codes; none for a number.
        values: float64 [rows].
        place: The position of each row's segment, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
        segment_rows: The rows of each segment, known or not, int64 [segments].
    """

    feature: Feature
    texts: tuple[str, ...]
    values: np.ndarray
    place: np.ndarray
    users: np.ndarray
    segment_rows: np.ndarray


def _number_effects(column: FeatureValues) -> Iterator[tuple[int, FeatureEffect]]:
    """The mean of a number in each segment; of an ordered category the mean of its codes."""
    values, rows = column.values, column.segment_rows
    rank = (rankdata(values) - 0.5) / max(len(values), 1) - 0.5
    people = users_in(column.place, column.users, len(rows))
    large = np.flatnonzero(people >= MIN_USERS).tolist()
    average = _median(values) if large else 0.0
    flag = not column.texts and bool(np.isin(values, (0, 1)).all())
    for n in large:
        inside = column.place == n
        effect, known = float(rank[inside].mean()), float(inside.sum() / rows[n])
        typical = _median(values[inside])
        yield (
            n,
            FeatureEffect(
                column.feature,
                effect=effect,
                mean=float(values[inside].mean()),
                overall=float(values.mean()),
                known=known,
                value=column.texts[int(typical)] if column.texts else "",
                overall_value=column.texts[int(average)] if column.texts else "",
                typical=typical,
                average=average,
                lump=float((values[inside] == typical).mean()),
                agreeing=_beyond(values, values[inside], 1 if effect >= 0 else -1),
                flag=flag,
            ),
        )


def _beyond(everybody: np.ndarray, members: np.ndarray, sign: int) -> float:
    """The share of some users beyond everybody's median, on the side of the sign.

    If their own median is the same, those at it count too, but only if they are a larger share than
    of everybody: nobody has less capital than none, yet in one segment nearly all have none.
    """
    middle = sign * _median(everybody)
    if sign * _median(members) > middle:
        return float((sign * members > middle).mean())
    share, of_all = ((sign * values >= middle).mean() for values in (members, everybody))
    return float(share) if sign * _median(members) == middle and share > of_all else 0.0


def _median(values: np.ndarray) -> float:
    """The lower median: a value that somebody has."""
    return float(np.quantile(values, 0.5, method="lower"))


def _category_effects(column: FeatureValues) -> Iterator[tuple[int, FeatureEffect]]:
    """The share of each value in each segment."""
    shape = len(column.segment_rows), len(column.texts)
    cell = column.place * shape[1] + column.values.astype(np.int64)
    table = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    people = users_in(cell, column.users, shape[0] * shape[1]).reshape(shape)
    counts, overall = table.sum(axis=1), table.sum(axis=0) / max(table.sum(), 1)
    for n, code in np.argwhere(people >= MIN_USERS).tolist():
        share, known = table[n, code] / counts[n], counts[n] / column.segment_rows[n]
        yield (
            n,
            FeatureEffect(
                column.feature,
                effect=float((share - overall[code]) / 2),
                mean=float(share),
                overall=float(overall[code]),
                known=float(known),
                value=column.texts[code],
                lump=float(share),
                agreeing=float(share if share > overall[code] else 1 - share),
            ),
        )


def _rfm_figures(
    schema: FeatureSchema, effects: Sequence[FeatureEffect]
) -> dict[str, float | None]:
    """Recency, frequency and spend, if the schema names their features.

    None if too few users have a value: one order says little about a segment that buys nothing.
    """
    rfm = schema.rfm
    if rfm is None:
        return {}
    means = {effect.feature.name: effect.mean for effect in effects if effect.known >= MIN_KNOWN}
    return {
        "recency": means.get(rfm.recency),
        "frequency": means.get(rfm.frequency),
        "spend": means.get(rfm.monetary),
    }


def _index_figures(effects: Sequence[FeatureEffect]) -> dict[str, list[dict[str, Any]]]:
    """What they have clearly more or less of, and which categories are frequent among them."""
    known = [effect for effect in effects if effect.known >= MIN_KNOWN]
    ranked = sorted(known, key=lambda effect: (-abs(effect.effect), effect.key))
    numbers = [effect for effect in ranked if not effect.nominal]
    frequent = [t for t in ranked if t.nominal and t.mean - t.overall >= LARGER_SHARE]
    return {
        "over": [_index(effect) for effect in numbers if effect.effect >= CLEAR],
        "under": [_index(effect) for effect in numbers if effect.effect <= -CLEAR],
        "categories": [
            {
                "feature": effect.feature.name,
                "label": effect.feature.title,
                "value": effect.value,
                "share": effect.mean,
                "overall_share": effect.overall,
                "index": effect.mean / effect.overall,
                "words": value_against_all(effect),
            }
            for effect in frequent
        ],
    }


def _index(effect: FeatureEffect) -> dict[str, Any]:
    ratio = effect.mean >= 0 and effect.overall > 0 and not effect.value
    return {
        "feature": effect.feature.name,
        "label": effect.feature.title,
        "mean": effect.mean,
        "overall_mean": effect.overall,
        "index": effect.mean / effect.overall if ratio else None,
        "words": against_all(effect),
    }
