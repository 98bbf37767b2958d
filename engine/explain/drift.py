"""Drift: how today's users differ from the training users, and the likely cause.

The measure is the population stability index (PSI) of every feature, of the score and of the segments.
For a shift the report names the cause that the figures suggest: a constant column, another unit,
missing values. Reports hold aggregates only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from engine.bundle.manifest import Manifest
from engine.bundle.reference import (
    SUPPRESSED,
    TELLING_USERS,
    Reference,
    Users,
    count_users,
    typical_size,
)
from engine.bundle.schema import Feature
from engine.format import plain_number, shown_name

WARN, ALARM = 0.10, 0.25
"""The usual PSI bounds for a moderate and a large shift (Siddiqi, Credit Risk Scorecards, 2006)."""

NOISE_DEVIATIONS = 3
DECIMALS = 6

Level = Literal["none", "warn", "alarm"]
ShiftKind = Literal["constant", "missing", "unit", "distribution"]

UNIT_FACTORS = (10, 24, 60, 100, 1_000, 3_600, 1_000_000)
"""Factors between units of time, of money, and of thousands."""
UNIT_TOLERANCE = 0.15
NEARLY_CONSTANT = 0.99
MISSING_CHANGE = 0.05
"""A smaller change in the share of missing values does not explain a shift."""


@dataclass(frozen=True, slots=True)
class Column:
    """One feature, then and now.

    Attributes:
        then: Training users per bin, or `SUPPRESSED`, missing last, int64 [bins].
        now: Today's users in the same bins.
        rows: The number of training users.
        typical: `typical_size` of the training users; None for categories.
        values: Today's values, float32 [rows], NaN where missing.
    """

    then: np.ndarray
    now: np.ndarray
    rows: int
    typical: float | None
    values: np.ndarray

    @property
    def missing_then(self) -> float | None:
        """The share of training users without a value; None if it is suppressed."""
        return None if self.then[-1] == SUPPRESSED else _share(self.then[-1], self.rows)

    @property
    def missing_now(self) -> float:
        """The share of today's users without a value, or with an unknown one."""
        return _share(self.now[-1], int(self.now.sum()))


class UserSample:
    """Every n-th user of a stream; n is the smallest power of two that keeps at most `LIMIT`.

    Memory is flat in the number of users. The sample depends on their order, not on the chunks.
    """

    LIMIT = 30_000
    """With this many users, chance moves the PSI of ten bins by less than 0.001."""

    def __init__(self) -> None:
        self._parts: list[Users] = []
        self._stride = 1
        self._seen = 0

    def add(self, users: Users) -> None:
        """Add the next users."""
        part = users[-self._seen % self._stride :: self._stride]
        self._parts.append(part)
        self._seen += users.rows
        while sum(part.rows for part in self._parts) > self.LIMIT:
            self._parts = [self.users[::2]]
            self._stride *= 2

    @property
    def users(self) -> Users:
        """The sampled users; at least one chunk must have been added."""
        features, probability, segment = (
            np.concatenate([getattr(part, name) for part in self._parts])
            for name in ("features", "probability", "segment")
        )
        return Users(features, probability, segment)


def drift_report(reference: Reference, users: Users, manifest: Manifest) -> dict[str, Any]:
    """Compare users with the training users, feature by feature; plain JSON values.

    Each feature has its PSI, the share of missing values then and now, and a level (none, warn,
    alarm). At warn and alarm it also has a kind and a description.

    Args:
        reference: The training users.
        users: Today's users.
        manifest: Names the features.
    """
    found = count_users(reference.edges, users, manifest)
    then = reference.counts
    columns = (
        Column(
            then.features[n],
            found.features[n],
            reference.rows,
            reference.typical[n],
            users.features[:, n],
        )
        for n in range(len(then.features))
    )
    return {
        "rows": found.rows,
        "features": [
            _feature_drift(feature, column, manifest.categories.get(feature.name, ()))
            for feature, column in zip(manifest.schema.model_features, columns, strict=True)
        ],
        "score": _whole("score", then.score, found.score, reference.rows),
        "segments": _whole("segments", then.segments, found.segments, reference.rows),
    }


def findings(report: Mapping[str, Any], level: Level) -> list[str]:
    """The findings at a level, in words, largest shift first."""
    return [
        f"{shown_name(entry['name'])}: {entry['words']}"
        for entry in moved(report)
        if entry["level"] == level
    ]


def moved(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The features, score and segments that have shifted, largest shift first."""
    entries = [*report["features"], report["score"], report["segments"]]
    return sorted((e for e in entries if e["level"] != "none"), key=lambda e: -e["psi"])


def other_unit(values: np.ndarray, typical_then: float | None) -> str:
    """A finding if the values differ from training by a factor between units; otherwise "".

    Args:
        values: float32 [rows], NaN where missing.
        typical_then: `typical_size` of the training users.
    """
    typical = typical_size(values[np.isfinite(values)])
    if not typical or not typical_then:
        return ""
    ratio = typical / typical_then
    factor = next((f for f in UNIT_FACTORS if _is_about(max(ratio, 1 / ratio), f)), None)
    if factor is None:
        return ""
    times = f"{factor:,} times" if ratio > 1 else f"1/{factor:,} of"
    return (
        f"values are about {times} those of training (typically {plain_number(typical)}, then "
        f"{plain_number(typical_then)}): another unit?"
    )


def population_stability_index(then: np.ndarray, now: np.ndarray) -> float:
    """PSI = sum over bins of (q - p) ln(q / p), with half a user added to every bin.

    Args:
        then: Training users per bin, int64 [bins].
        now: Today's users in the same bins.
    """
    return float(_psi_terms(then, now).sum())


def chance(then: np.ndarray, now: np.ndarray) -> float:
    """The PSI that chance alone rarely exceeds if nothing has shifted.

    Without a shift PSI / (1/n + 1/m) follows a chi-squared distribution with bins - 1 degrees of
    freedom (Yurdakul, Statistical properties of the population stability index, 2018); this is its
    mean plus three standard deviations.
    """
    freedom = max(len(then) - 1, 1)
    rows = 1 / max(int(then.sum()), 1) + 1 / max(int(now.sum()), 1)
    return rows * (freedom + NOISE_DEVIATIONS * math.sqrt(2 * freedom))


def _feature_drift(feature: Feature, column: Column, values: tuple[str, ...]) -> dict[str, Any]:
    psi, level = _psi_and_level(*_merge_suppressed(column.then, column.now, column.rows))
    kind: ShiftKind | None = None
    words = ""
    if _is_constant(column):
        kind, level = "constant", "alarm"
        words = "has one value for every user, but many in training: is the feed broken?"
    elif level != "none":
        kind, words = _cause(column, level, values)
    return {
        "name": feature.name,
        "psi": psi,
        "level": level,
        "kind": kind,
        "words": words,
        "missing": column.missing_now,
        "missing_reference": column.missing_then,
    }


def _cause(column: Column, level: Level, values: tuple[str, ...]) -> tuple[ShiftKind, str]:
    """The explanation of a shift that the figures suggest."""
    was, now = column.missing_then or 0.0, column.missing_now
    known_then = round(column.rows * (1 - was))
    then, today = _merge_suppressed(column.then[:-1], column.now[:-1], known_then)
    terms = _psi_terms(then, today)
    if abs(now - was) >= MISSING_CHANGE and (
        terms.sum() < WARN or column.now[:-1].sum() < TELLING_USERS
    ):
        share = "few" if column.missing_then is None else f"{was:.0%}"
        return "missing", f"missing or unknown for {now:.0%} of users, for {share} in training"
    unit = other_unit(column.values, column.typical)
    if level == "alarm" and unit:
        return "unit", unit
    if values:
        names = [
            f"'{shown_name(v)}'"
            for v, c in zip(values, column.then, strict=False)
            if c != SUPPRESSED
        ]
        most = int(np.argmax(terms))
        name = [*names, "the rest"][most]
        p, q = (counts[most] / max(int(counts.sum()), 1) for counts in (then, today))
        moved = f"{name} has {q:.0%} of the known values, {p:.0%} in training"
        return "distribution", f"has another distribution ({moved})"
    middles = [
        np.average(np.arange(len(c) - 1), weights=np.maximum(c[:-1], 0) + 1e-9)
        for c in (column.then, column.now)
    ]
    side = "higher" if middles[1] > middles[0] else "lower"
    return "distribution", f"has {side} values than in training"


def _is_constant(column: Column) -> bool:
    """Whether all values are equal today but varied in training."""
    known = column.values[~np.isnan(column.values)]
    then = np.maximum(column.then[:-1], 0)
    varied = then.sum() >= TELLING_USERS and then.max() < NEARLY_CONSTANT * then.sum()
    return bool(varied and len(known) >= TELLING_USERS and known.min() == known.max())


def _is_about(ratio: float, factor: int) -> bool:
    return abs(math.log(ratio / factor)) <= math.log(1 + UNIT_TOLERANCE)


def _whole(name: str, then: np.ndarray, now: np.ndarray, rows: int) -> dict[str, Any]:
    psi, level = _psi_and_level(*_merge_suppressed(then, now, rows))
    words = "" if level == "none" else "is distributed differently than in training"
    return {"name": name, "psi": psi, "level": level, "words": words}


def _psi_and_level(then: np.ndarray, now: np.ndarray) -> tuple[float, Level]:
    found = population_stability_index(then, now)
    level: Level = "none"
    if found > chance(then, now):
        level = "alarm" if found >= ALARM else "warn" if found >= WARN else "none"
    return round(found, DECIMALS), level


def _merge_suppressed(
    then: np.ndarray, now: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both counts with one bin in place of all suppressed bins.

    In training that bin has the users that the disclosed bins leave of `rows`.
    """
    disclosed = then != SUPPRESSED
    if disclosed.all():
        return then, now
    rest = max(rows - int(then[disclosed].sum()), 0)
    return np.append(then[disclosed], rest), np.append(now[disclosed], now[~disclosed].sum())


def _psi_terms(then: np.ndarray, now: np.ndarray) -> np.ndarray:
    p = (then + 0.5) / (then + 0.5).sum()
    q = (now + 0.5) / (now + 0.5).sum()
    return np.asarray((q - p) * np.log(q / p))


def _share(users: int, rows: int) -> float:
    return round(float(users / max(rows, 1)), DECIMALS)
