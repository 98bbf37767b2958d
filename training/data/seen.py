"""Whether users were seen in training, told by their values: under other dates or ids too.

A fit keeps how many of its buyers fall into each bucket of a hash of their features. If the same rows
come again, the counts of both go up and down together; those of other users do not.

Every count is of `MIN_USERS` users or more, and no hash of a row is kept. So the counts are aggregates
like every other figure of a bundle: whether one row adds to a count of twenty cannot be told. Only
buyers count: users who do nothing look the same week after week, and a purchase changes the features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.metrics.disclosure import MIN_USERS, users_in

MOST_BUCKETS = 2_048
FEWEST_BUCKETS = 8
HASH_PARTS = 4
"""Each row is counted once by each 16 bits of its hash: four counts make chance half as large."""

DISTINCT_SHARE = 0.9
"""If more buyers than the rest look like another, later buyers may look like them by chance."""

SEEN_SHARE = 0.3
STANDARD_ERRORS = 4.0


def bucket_counts(
    features: np.ndarray, label: np.ndarray, users: np.ndarray
) -> dict[str, Any] | None:
    """The buyers of a fit by buckets of a hash of their features; plain JSON values.

    Args:
        features: Of all users, float32 [rows, features], NaN where missing.
        label: int8 [rows].
        users: A number from 0 for each user, int64 [rows].

    Returns:
        `rows`, `buckets` and `counts`, hexadecimal; None if there are too few buyers, or too many
        of them look alike.
    """
    bought = label == 1
    hashes, who = row_hashes(features[bought]), users[bought]
    if len(np.unique(hashes)) < DISTINCT_SHARE * len(hashes):
        return None
    buckets = MOST_BUCKETS
    while buckets >= FEWEST_BUCKETS:
        parts = _buckets(hashes, buckets)
        if all(users_in(part, who, buckets).min() >= MIN_USERS for part in parts):
            counts = [np.bincount(part, minlength=buckets).astype(">u4") for part in parts]
            return {
                "rows": len(hashes),
                "buckets": buckets,
                "counts": [count.tobytes().hex() for count in counts],
            }
        buckets //= 2
    return None


def seen_share(known: Mapping[str, Any] | None, features: np.ndarray, label: np.ndarray) -> float:
    """About which share of buyers has exactly the features of a buyer of a fit; 0 if that may be chance.

    Two independent sets of rows agree in no bucket more than in others. Each row in both adds one to
    the sum of products of their deviations.

    Args:
        known: From `bucket_counts`.
        features: Of other users, as that bundle sees them, float32 [rows, features].
        label: int8 [rows].
    """
    hashes = row_hashes(features[label == 1])
    if not known or not len(hashes):
        return 0.0
    rows, buckets = known["rows"], known["buckets"]
    found = []
    for part, text in zip(_buckets(hashes, buckets), known["counts"], strict=True):
        there = np.frombuffer(bytes.fromhex(text), ">u4").astype(np.float64)
        here = np.bincount(part, minlength=buckets)
        found.append(((there - rows / buckets) * (here - len(hashes) / buckets)).sum())
    share = float(np.mean(found)) / (1 - 1 / buckets) / len(hashes)
    error = float(np.sqrt(rows / (len(hashes) * buckets * HASH_PARTS)))
    return min(share, 1.0) if share >= max(SEEN_SHARE, STANDARD_ERRORS * error) else 0.0


def row_hashes(features: np.ndarray) -> np.ndarray:
    """A number for each row that only its values decide, uint64 [rows].

    Args:
        features: float32 [rows, features]; -0 counts as 0, and every NaN as the same.
    """
    values = np.where(np.isnan(features), np.float32(np.nan), features + np.float32(0))
    bits = np.ascontiguousarray(values.T).view(np.uint32).astype(np.uint64)
    found = np.zeros(len(features), np.uint64)
    for column in bits:
        found = _mixed(found + column)
    return found


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """The step of SplitMix64 (Steele, Lea & Flood 2014); it wraps around at 2**64."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _buckets(hashes: np.ndarray, buckets: int) -> list[np.ndarray]:
    """The bucket of each row by each part of its hash, int64 [rows]; `buckets` is a power of two."""
    return [
        (hashes >> np.uint64(16 * part)).astype(np.int64) & (buckets - 1)
        for part in range(HASH_PARTS)
    ]
