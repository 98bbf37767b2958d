"""The space in which customers are segmented: its features, and how they are scaled.

No projection and no quantile transform: both raise the silhouette of any data, even without clusters.
And nothing of the label. The classifier's codes order categories by purchase rate, so an unordered
category enters only as one question: has the user its most frequent value, or not?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from engine.bundle.schema import Feature
from engine.rows.typed import CategoryTables

MAX_FEATURES = 8
MIN_GROUPS = 4
"""The features come from at least so many groups, if the schema has them."""

MAX_CORRELATION = 0.9
MAX_COMMON_SHARE = 0.95
"""A feature that is the same for a larger share of users separates too few of them."""

LOG_SKEWNESS = 1.0
"""A non-negative feature with a larger skewness is transformed to log(1 + x)."""

LOG_LEAST = 0.01
"""Below, log(1 + x) is x, and runtimes without `log1p` lose the digits of 1 + x."""

AXES = 2
GREEDY_STARTS = 8

LOG = "log1p"
EQUALS = "equals "
"""Begins the transform of an unordered category; the code of the value in question follows."""

Kept = Mapping[str, bool | str]
"""The features of a space: whether the logarithm is taken, or the value of a category in question."""


@dataclass(frozen=True, slots=True)
class Space:
    """Compare, impute, take logarithms, standardize; every coordinate has the same weight.

    All arrays have one entry for each coordinate.

    Attributes:
        columns: Column of the `features` tensor, int64.
        equals: The code that becomes 1 while all others become 0; NaN for a number, float64.
        logged: Whether log(1 + max(x, 0)) is taken, bool.
        imputation: Replaces a missing value: the median of the train part, float64.
        mean: Subtracted, float64.
        scale: Divided by, last, float64.
    """

    columns: np.ndarray
    equals: np.ndarray
    logged: np.ndarray
    imputation: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def subset(self, coordinates: np.ndarray) -> "Space":
        """The space of some coordinates, or of all in another order."""
        return Space(*(getattr(self, f.name)[coordinates] for f in fields(self)))

    def coordinates(self, features: np.ndarray) -> np.ndarray:
        """The coordinates of users.

        Args:
            features: float32 [rows, features], NaN where a value is missing.

        Returns:
            float64 [rows, coordinates].
        """
        x = _compared(features[:, self.columns].astype(np.float64), self.equals)
        x = np.where(np.isnan(x), self.imputation, x)
        # Values below zero did not occur in training; clipped, they cannot give NaN.
        x = np.where(self.logged, np.log1p(np.where(self.logged, np.maximum(x, 0.0), 0.0)), x)
        return (x - self.mean) / self.scale


def fit_space(
    train: np.ndarray,
    features: tuple[Feature, ...],
    categories: CategoryTables,
    kept: Kept | None = None,
) -> Space:
    """Choose the features of the space and fit their transforms.

    Actionable features come first (`actionable`), then all numeric and ordered ones, then the other
    categorical features; each group only where those before are too few.

    Args:
        train: float32 [rows, features], the train part.
        features: The model's features, in order.
        categories: The values of categories in the order of their codes.
        kept: The features of the previous space. Those that still exist and vary are used again;
            others join only if one is lost.
    """
    names = [feature.name for feature in features]
    before = {names.index(name): how for name, how in (kept or {}).items() if name in names}
    natural = set(_natural(features))
    # A logarithm of 0 and 1 changes nothing once it is standardized.
    asked = dict.fromkeys(set(range(len(features))) - natural, False)
    known = {column: how is True for column, how in before.items()} | asked
    equals = np.array(
        [
            np.nan if i in natural else _in_question(train[:, i], categories[f.name], before.get(i))
            for i, f in enumerate(features)
        ]
    )
    train = _compared(train, equals)
    varied = {i for i in range(len(features)) if _varies(train[:, i])}
    chosen = sorted(varied & before.keys())
    whole = bool(chosen) and len(chosen) == len(kept or {})
    wanted = len(chosen) if whole else min(MAX_FEATURES, len(features))
    for eligible in (actionable(features), natural, range(len(features))):
        columns = sorted(varied & {*eligible, *chosen})
        if columns and len(chosen) < wanted:
            points = _transforms(train, columns, known).coordinates(train)
            correlation = np.corrcoef(points, rowvar=False).reshape(len(columns), -1)
            groups = [features[column].group for column in columns]
            start = [columns.index(column) for column in chosen]
            chosen = sorted(columns[i] for i in choose(correlation, groups, wanted, start))
    if not chosen:
        return _single_point(train)
    return replace(_transforms(train, chosen, known), equals=equals[chosen])


def actionable(features: tuple[Feature, ...]) -> list[int]:
    """Columns of the actionable features: those for which the schema has words.

    Only numeric and ordered features count; all of them if the schema has no words.
    """
    natural = _natural(features)
    return [i for i in natural if features[i].high or features[i].low] or natural


def standardized(
    train: np.ndarray, others: np.ndarray, columns: list[int], *, logs: bool
) -> np.ndarray:
    """Some columns of other users, as coordinates of a space fitted to the train part.

    Args:
        train: float32 [rows, features], the train part; gives medians, means and scales.
        others: float32 [others, features].
        columns: The columns; constant ones are left out.
        logs: Whether skewed features are taken as logarithms.

    Returns:
        float64 [others, columns].
    """
    found = [i for i in columns if _varies(train[:, i])]
    if not found:
        return np.empty((len(others), 0))
    settled = {} if logs else dict.fromkeys(found, False)
    return _transforms(train, found, settled).coordinates(others)


def transforms(space: Space) -> list[str]:
    """The transform of each coordinate: `none`, `log1p`, or `equals 3` for the code 3."""
    plain = [LOG if logged else "none" for logged in space.logged]
    return [
        words if np.isnan(code) else f"{EQUALS}{code:.0f}"
        for words, code in zip(plain, space.equals, strict=True)
    ]


def transform_code(transform: str) -> float:
    """The code that a transform asks for, NaN if it asks for none."""
    code = transform.removeprefix(EQUALS)
    return float(code) if transform != code and code.isdecimal() else np.nan


def space_from_report(report: Mapping[str, Any], names: Sequence[str]) -> Space:
    """The space that a manifest's `clustering` describes.

    Args:
        report: `Manifest.clustering`.
        names: The model's features, in order.
    """
    return Space(
        columns=np.array([names.index(name) for name in report["features"]], dtype=np.int64),
        equals=np.array([transform_code(transform) for transform in report["transforms"]]),
        logged=np.array([transform == LOG for transform in report["transforms"]], dtype=bool),
        imputation=np.array(report["imputation"], dtype=np.float64),
        mean=np.array(report["mean"], dtype=np.float64),
        scale=np.array(report["scale"], dtype=np.float64),
    )


def choose(
    correlation: np.ndarray, groups: list[str], wanted: int, start: Sequence[int] = ()
) -> list[int]:
    """Choose the features that share most variance, from enough groups.

    Segments need correlated features: independent columns fill their space evenly, like the
    column-permuted data that segments are compared with. So the chosen features maximize the share of
    the first two eigenvalues of their correlation matrix; two, so that users differ in more than
    size. Greedy, from the few features most correlated with all others; deterministic; reads no label.

    Args:
        correlation: float64 [candidates, candidates].
        groups: The group of each candidate.
        wanted: How many to choose; fewer are chosen where too many are correlated above the bound.
        start: Positions that are already chosen.

    Returns:
        Positions of the chosen candidates, in the order of their choice.
    """
    allowed = np.abs(correlation) <= MAX_CORRELATION
    groups_wanted = min(MIN_GROUPS, len(set(groups)), wanted)
    first = np.argsort(-(correlation**2).sum(axis=0), kind="stable")[:GREEDY_STARTS]
    starts = [list(start)] if start else [[int(s)] for s in first]
    grown = [_grow(correlation, allowed, groups, s, wanted, groups_wanted) for s in starts]
    return max(grown, key=lambda g: (len(g), _shared(correlation, [g])[0]), default=[])


def _grow(
    correlation: np.ndarray,
    allowed: np.ndarray,
    groups: list[str],
    chosen: list[int],
    wanted: int,
    groups_wanted: int,
) -> list[int]:
    while len(chosen) < wanted:
        fits = np.flatnonzero(allowed[chosen].all(axis=0))
        candidates = [int(i) for i in fits if i not in chosen]
        present = {groups[i] for i in chosen}
        if groups_wanted - len(present) >= wanted - len(chosen):
            candidates = [i for i in candidates if groups[i] not in present] or candidates
        if not candidates:
            break
        shares = _shared(correlation, [[*chosen, i] for i in candidates])
        chosen = [*chosen, candidates[int(np.argmax(shares))]]
    return chosen


def _shared(correlation: np.ndarray, sets: list[list[int]]) -> np.ndarray:
    """The share of the first `AXES` eigenvalues for each set, float64 [sets]."""
    rows = np.array(sets)
    matrices = correlation[rows[:, :, np.newaxis], rows[:, np.newaxis, :]]
    # Rounded, so that the last bits of a linear algebra library do not choose a feature.
    return np.round(np.linalg.eigvalsh(matrices)[:, -AXES:].sum(axis=1) / rows.shape[1], 9)


def _transforms(train: np.ndarray, columns: list[int], known: Mapping[int, bool]) -> Space:
    """Imputation, logarithms, mean and scale of some columns.

    A column in `known` keeps its transform, so that a skewness near the bound does not change the
    space from week to week.
    """
    index = np.array(columns, dtype=np.int64)
    x = train[:, index].astype(np.float64)
    imputation = np.nanmedian(x, axis=0)
    x = np.where(np.isnan(x), imputation, x)
    deviation = x - x.mean(axis=0)
    skewness = (deviation**3).mean(axis=0) / x.std(axis=0) ** 3
    skewed = skewness > LOG_SKEWNESS
    settled = [known.get(column, bool(skewed[n])) for n, column in enumerate(columns)]
    in_range = (x.min(axis=0) >= 0) & (x.max(axis=0) > LOG_LEAST)
    logged = in_range & np.array(settled, dtype=bool)
    x = np.where(logged, np.log1p(np.where(logged, x, 0.0)), x)
    equals = np.full(len(columns), np.nan)
    return Space(index, equals, logged, imputation, x.mean(axis=0), x.std(axis=0))


def _single_point(train: np.ndarray) -> Space:
    """The space without a varying feature: the first one, constant for all training users."""
    known = train[~np.isnan(train[:, 0]), 0]
    value = np.array([np.median(known) if len(known) else 0.0], dtype=np.float64)
    asked = np.full(1, np.nan)
    return Space(np.zeros(1, np.int64), asked, np.zeros(1, bool), value, value, np.ones(1))


def _compared(x: np.ndarray, equals: np.ndarray) -> np.ndarray:
    """1 or 0 instead of a category's code; NaN stays NaN, and so do numbers."""
    return np.where(np.isnan(equals) | np.isnan(x), x, x == equals)


def _in_question(codes: np.ndarray, texts: Sequence[str], before: object) -> float:
    """The code of the value that divides the users: as before, or the most frequent one.

    Of equally frequent values it is the first by name: the order of the codes knows the label.
    """
    if before in texts:
        return float(texts.index(before))
    rows = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(texts))
    return float(min(range(len(texts)), key=lambda n: (-rows[n], texts[n]), default=np.nan))


def _natural(features: tuple[Feature, ...]) -> list[int]:
    """Columns with a natural order."""
    return [i for i, f in enumerate(features) if f.kind == "numeric" or f.ordered]


def _varies(column: np.ndarray) -> bool:
    """Whether a column varies enough once its missing values are imputed."""
    known = column[~np.isnan(column)]
    if not len(known):
        return False
    values, counts = np.unique(known, return_counts=True)
    imputed = len(column) - len(known) + int(counts[values == np.median(known)].sum())
    return max(int(counts.max()), imputed) <= MAX_COMMON_SHARE * len(column)
