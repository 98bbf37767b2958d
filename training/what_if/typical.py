"""Typical users: what is usual among all users and in each segment, no user's own row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.bundle import Bundle, Manifest
from engine.schema import Feature
from engine.session import Session
from engine.tensors import to_features
from training.dataset import load_dataset
from training.evaluate import MIN_CELL
from training.parity import run_engine

Value = float | str | None
"""A number, a category, or None where it is missing."""

DIGITS = 2
"""A median is told with so many: it is no one's exact value."""


@dataclass(frozen=True, slots=True)
class Typical:
    """Usual values of the model's features, in their order.

    Attributes:
        segment: The id of the segment whose users they are taken from; None for all users.
        values: The median of a number, the most frequent category; None where most have none.
    """

    segment: int | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Usual:
    """What the users of a page have in common.

    Attributes:
        typical: All users first, then the segments in the manifest's order; a segment of fewer than
            `MIN_CELL` users is left out.
        whole: For each feature of the model, whether all its numbers are whole.
    """

    typical: tuple[Typical, ...]
    whole: tuple[bool, ...]


def usual_users(bundle: Bundle, inputs: Sequence[str]) -> Usual:
    """What is usual among labelled users.

    Args:
        bundle: Says which segment each user is in.
        inputs: Files, globs or directories of labelled users.

    Raises:
        EngineError: The data cannot be used.
    """
    manifest = bundle.manifest
    typed = load_dataset(inputs, manifest.schema).typed
    features = to_features(typed, manifest.schema.model_features, manifest.categories)
    segment = run_engine(Session(bundle), features).segment
    return usual_values(manifest, features, segment)


def usual_values(manifest: Manifest, features: np.ndarray, segment: np.ndarray) -> Usual:
    """What is usual among users.

    Args:
        manifest: Schema, category tables and segments.
        features: float32 [rows, features], NaN where missing.
        segment: The id of each row's segment, int64 [rows].
    """
    groups = [(None, features)] + [(s.id, features[segment == s.id]) for s in manifest.segments]
    columns = manifest.schema.model_features
    typical = tuple(
        Typical(
            number,
            tuple(
                _usual_value(feature, users[:, n], manifest.categories.get(feature.name, ()))
                for n, feature in enumerate(columns)
            ),
        )
        for number, users in groups
        if len(users) >= MIN_CELL
    )
    whole = np.all(np.isnan(features) | (features == np.round(features)), axis=0)
    return Usual(typical, tuple(bool(each) for each in whole))


def _usual_value(feature: Feature, column: np.ndarray, categories: tuple[str, ...]) -> Value:
    """The usual value of one feature; None where it is missing for most users, or too few have it."""
    known = column[~np.isnan(column)]
    if len(known) < max(MIN_CELL, len(column) / 2):
        # What is never missing has a value whatever else is true.
        return None if feature.missing == "allowed" or not len(known) else _median(feature, known)
    if feature.kind == "numeric":
        return _median(feature, known)
    users = np.bincount(known.astype(np.int64), minlength=len(categories))
    return categories[int(users.argmax())] if users.max() >= MIN_CELL else None


def _median(feature: Feature, known: np.ndarray) -> float:
    rounded = float(f"{float(np.median(known)):.{DIGITS}g}")
    low = -np.inf if feature.min is None else feature.min
    high = np.inf if feature.max is None else feature.max
    return float(np.clip(rounded, low, high))
