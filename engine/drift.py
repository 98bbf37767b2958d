"""How far the users of today are from those that a bundle was trained on: the PSI of every feature.

Takes `features` tensors and predictions chunk by chunk, gives counts that can be added up, and then
a comparison with the counts of training. Aggregates only: no user can be read out of them.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.bundle import Manifest
from engine.errors import BundleError
from engine.scores import above
from engine.session import Predictions

WARN, ALARM = 0.10, 0.25
"""From so much PSI a shift is moderate, or large: the usual bounds (Siddiqi, Credit Risk Scorecards,
2006)."""

UNTOLD = -1
"""Stands for the users of a bin of training who are too few to be told of."""

NOISE_DEVIATIONS = 3
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Counts:
    """Users by value: the same bins for the same bundle, so that counts of chunks can be added.

    Attributes:
        features: For each feature users by bin, the missing last.
        score: Users by decile of the score, the lowest first.
        segments: Users by segment, in the order of the manifest.
    """

    features: tuple[np.ndarray, ...]
    score: np.ndarray
    segments: np.ndarray

    def __add__(self, other: "Counts") -> "Counts":
        """The counts of both."""
        pairs = zip(self.features, other.features, strict=True)
        return Counts(
            tuple(mine + theirs for mine, theirs in pairs),
            self.score + other.score,
            self.segments + other.segments,
        )

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
        counts: How many there were in each bin, or `UNTOLD`.
        rows: How many there were.
    """

    edges: tuple[tuple[float, ...], ...]
    counts: Counts
    rows: int


def count_users(
    edges: Sequence[Sequence[float]],
    features: np.ndarray,
    predictions: Predictions,
    manifest: Manifest,
) -> Counts:
    """Count users by bin.

    Args:
        edges: What `Reference.edges` holds.
        features: float32 [rows, features].
        predictions: What the models say of the same rows.
        manifest: Cut-points and segments.
    """
    bins = bins_of(edges, features, predictions, manifest)
    return counts_of([np.bincount(place, minlength=size) for place, size in bins])


def bins_of(
    edges: Sequence[Sequence[float]],
    features: np.ndarray,
    predictions: Predictions,
    manifest: Manifest,
) -> Iterator[tuple[np.ndarray, int]]:
    """The bin of each user, int64 [rows], and the number of bins: by feature, decile and segment.

    Args:
        edges: What `Reference.edges` holds.
        features: float32 [rows, features].
        predictions: What the models say of the same rows.
        manifest: Cut-points and segments.
    """
    for column, lower in zip(features.T, edges, strict=True):
        bins = np.searchsorted(np.asarray(lower, np.float32), column, side="right")
        yield np.where(np.isnan(column), len(lower) + 1, bins), len(lower) + 2
    deciles = above(manifest.decile_cuts, predictions.probability)
    yield deciles.astype(np.int64), len(manifest.decile_cuts) + 1
    ids = np.array([segment.id for segment in manifest.segments])
    yield np.argmax(predictions.segment[:, np.newaxis] == ids, axis=1), len(ids)


def counts_of(columns: Sequence[np.ndarray]) -> Counts:
    """Counts in the order of `bins_of`."""
    *features, score, segments = columns
    return Counts(tuple(features), score, segments)


def drift_report(reference: Reference, found: Counts, manifest: Manifest) -> dict[str, Any]:
    """Compare users with those of training, feature by feature; plain JSON values.

    Args:
        reference: The users of training.
        found: Users counted in the same bins.
        manifest: Names the features.
    """
    columns = zip(
        manifest.schema.model_features, reference.counts.features, found.features, strict=True
    )
    return {
        "rows": found.rows,
        "features": [
            {
                "name": feature.name,
                **_shift(then, now, reference.rows),
                "missing": _share(now[-1], found.rows),
                "missing_reference": _share(then[-1], reference.rows),
            }
            for feature, then, now in columns
        ],
        "score": _shift(reference.counts.score, found.score, reference.rows),
        "segments": _shift(reference.counts.segments, found.segments, reference.rows),
    }


def population_stability_index(then: np.ndarray, now: np.ndarray) -> float:
    """PSI = sum over bins of (q - p) ln(q / p), with half a user added to every bin.

    Args:
        then: Users in each bin, int64 [bins].
        now: The same bins.
    """
    p = (then + 0.5) / (then + 0.5).sum()
    q = (now + 0.5) / (now + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


def chance(then: np.ndarray, now: np.ndarray) -> float:
    """The PSI that chance alone hardly exceeds where nothing has shifted.

    Without a shift PSI / (1/n + 1/m) follows a chi-squared distribution with bins - 1 degrees of
    freedom (Yurdakul, Statistical properties of the population stability index, 2018); this is its
    mean plus three standard deviations.
    """
    freedom = max(len(then) - 1, 1)
    rows = 1 / max(int(then.sum()), 1) + 1 / max(int(now.sum()), 1)
    return rows * (freedom + NOISE_DEVIATIONS * math.sqrt(2 * freedom))


def reference_to_json(reference: Reference, manifest: Manifest) -> bytes:
    """The bytes of `reference.json`."""
    columns = zip(
        manifest.schema.model_features, reference.edges, reference.counts.features, strict=True
    )
    document = {
        "rows": reference.rows,
        "features": {
            feature.name: {"edges": list(edges), "users": _to_json(counts)}
            for feature, edges, counts in columns
        },
        "deciles": _to_json(reference.counts.score),
        "segments": _to_json(reference.counts.segments),
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
        counts = Counts(
            tuple(_from_json(column["users"]) for column in columns),
            _from_json(document["deciles"]),
            _from_json(document["segments"]),
        )
        rows = int(document["rows"])
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(
            f"{manifest.bundle_id}: reference.json is not its reference: {error}. "
            "Copy the bundle again."
        ) from error
    _check_sizes(edges, counts, manifest)
    return Reference(edges, counts, rows)


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
    return [None if count == UNTOLD else count for count in counts.tolist()]


def _from_json(counts: Sequence[int | None]) -> np.ndarray:
    return np.array([UNTOLD if count is None else count for count in counts], np.int64)


def _shift(then: np.ndarray, now: np.ndarray, rows: int) -> dict[str, Any]:
    """The PSI and its level; the bins that are not told are one bin: all `rows` but those told."""
    told = then != UNTOLD
    if not told.all():
        rest = rows - then[told].sum()
        then, now = np.append(then[told], rest), np.append(now[told], now[~told].sum())
    found = population_stability_index(then, now)
    seen = found > chance(then, now)
    level = "alarm" if seen and found >= ALARM else "warn" if seen and found >= WARN else "none"
    return {"psi": round(found, DECIMALS), "level": level}


def _share(count: int, rows: int) -> float | None:
    return None if count == UNTOLD else round(float(count / max(rows, 1)), DECIMALS)
