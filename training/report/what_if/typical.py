"""Typical users: usual values of all users and of each segment, never a user's own row."""

from dataclasses import dataclass

import numpy as np

from engine.bundle.manifest import Manifest
from engine.bundle.schema import Feature
from training.data.scored import ScoredUsers
from training.metrics.disclosure import MIN_USERS, enough, users_in

Value = float | str | None
"""A number, a category, or None if it is missing."""

DIGITS = 2
"""Significant digits of a median, so that it is no user's exact value."""


@dataclass(frozen=True, slots=True)
class Typical:
    """Usual values of the model's features, in their order.

    Attributes:
        segment: The id of the segment whose users they are taken from; None for all users.
        values: The median of a number, the most frequent category; None if most users have no value.
    """

    segment: int | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Usual:
    """Where a page starts from.

    Attributes:
        typical: All users first, then the segments that are named, in the manifest's order; a segment
            of fewer than `MIN_USERS` users is left out.
        whole: For each feature of the model, whether all its numbers are whole.
    """

    typical: tuple[Typical, ...]
    whole: tuple[bool, ...]


def usual_users(manifest: Manifest, users: ScoredUsers) -> Usual:
    """The usual values of labelled users, scored with the bundle of the manifest."""
    segment = users.predictions.segment
    return usual_values(manifest, users.features, segment, users.dataset.users)


def usual_values(
    manifest: Manifest, features: np.ndarray, segment: np.ndarray, users: np.ndarray
) -> Usual:
    """The usual values of users.

    Args:
        manifest: Schema, category tables and segments.
        features: float32 [rows, features], NaN where missing.
        segment: The id of each row's segment, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
    """
    everybody: tuple[int | None, np.ndarray] = (None, np.ones(len(users), bool))
    parts = [everybody, *((known.id, segment == known.id) for known in manifest.named_segments)]
    typical = tuple(
        Typical(number, _usual_row(manifest, features[part], users[part]))
        for number, part in parts
        if enough(users[part])
    )
    whole = np.all(np.isnan(features) | (features == np.round(features)), axis=0)
    return Usual(typical, tuple(bool(each) for each in whole))


def _usual_row(manifest: Manifest, features: np.ndarray, users: np.ndarray) -> tuple[Value, ...]:
    columns = zip(manifest.schema.model_features, features.T, strict=True)
    return tuple(
        _usual_value(feature, column, users, manifest.categories.get(feature.name, ()))
        for feature, column in columns
    )


def _usual_value(
    feature: Feature, column: np.ndarray, users: np.ndarray, categories: tuple[str, ...]
) -> Value:
    """The usual value of one feature; None if most rows have none, or only few users have one."""
    known = ~np.isnan(column)
    values, who = column[known], users[known]
    if 2 * len(values) < len(column) or not enough(who):
        return None
    if feature.kind == "numeric":
        return _median(feature, values)
    codes = values.astype(np.int64)
    commonest = int(np.bincount(codes, minlength=len(categories)).argmax())
    people = users_in(codes, who, len(categories))
    return categories[commonest] if people[commonest] >= MIN_USERS else None


def _median(feature: Feature, values: np.ndarray) -> float:
    rounded = float(f"{float(np.median(values)):.{DIGITS}g}")
    low = -np.inf if feature.min is None else feature.min
    high = np.inf if feature.max is None else feature.max
    return float(np.clip(rounded, low, high))
