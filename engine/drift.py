"""How far the users of today are from those that a bundle was trained on: the PSI of every feature.

Takes `features` tensors and predictions chunk by chunk, gives counts that can be added up, and then
a comparison with the counts of training. Aggregates only: no user can be read out of them.
"""

import json
import math
from collections.abc import Sequence
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
        counts: How many there were in each bin.
    """

    edges: tuple[tuple[float, ...], ...]
    counts: Counts


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
    columns = (_count(features[:, n], np.asarray(e, np.float32)) for n, e in enumerate(edges))
    deciles = above(manifest.decile_cuts, predictions.probability)
    ids = np.array([segment.id for segment in manifest.segments])
    return Counts(
        tuple(columns),
        np.bincount(deciles, minlength=len(manifest.decile_cuts) + 1),
        (predictions.segment[:, np.newaxis] == ids).sum(axis=0),
    )


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
                **_shift(then, now),
                "missing": _share(now),
                "missing_reference": _share(then),
            }
            for feature, then, now in columns
        ],
        "score": _shift(reference.counts.score, found.score),
        "segments": _shift(reference.counts.segments, found.segments),
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
        "rows": reference.counts.rows,
        "features": {
            feature.name: {"edges": list(edges), "users": counts.tolist()}
            for feature, edges, counts in columns
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
    return Reference(edges, counts)


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


def _shift(then: np.ndarray, now: np.ndarray) -> dict[str, Any]:
    found = population_stability_index(then, now)
    seen = found > chance(then, now)
    level = "alarm" if seen and found >= ALARM else "warn" if seen and found >= WARN else "none"
    return {"psi": round(found, DECIMALS), "level": level}


def _share(counts: np.ndarray) -> float:
    return round(float(counts[-1] / max(int(counts.sum()), 1)), DECIMALS)
