"""Whether users were seen in training, told by their values: under other dates or ids too.

A fit keeps how many of its buyers, and of its non-buyers, fall into each bucket of a hash of their
features. If the same rows come again, the counts of both go up and down together; those of other users
do not. Every different row counts once, so that users without any history weigh as one.

Rows of training agree in the label too: they look like buyers of training, and hardly like non-buyers.
Customers who come again with unchanged features look like both.

Every count is of `MIN_USERS` users or more, and no hash of a row is kept. So the counts are aggregates
like every other figure of a bundle: whether one row adds to a count of twenty cannot be told. Only
buyers of the holdout are looked for: users who do nothing look the same week after week.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from training.metrics.disclosure import MIN_USERS, users_in

MOST_BUCKETS = 2_048
FEWEST_BUCKETS = 8
HASH_PARTS = 4
"""Each row is counted once by each 16 bits of its hash: four counts make chance half as large."""

SEEN_SHARE = 0.3
STANDARD_ERRORS = 4.0

AGREEMENT = 4.0
"""So many times as many buyers must look like buyers of training as look like non-buyers: of the
customers who bought and come again with the same features, fewer than 80 % buy again."""


def seen_counts(features: np.ndarray, label: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    """The users of a fit by buckets of a hash of their features; plain JSON values.

    Args:
        features: Of all users, float32 [rows, features], NaN where missing.
        label: int8 [rows].
        users: A number from 0 for each user, int64 [rows].

    Returns:
        `seen` of the buyers and `seen_non_buyers`, each with `rows`, `buckets` and `counts`,
        hexadecimal; None if there are too few different ones.
    """
    return {
        name: _bucket_counts(features[label == value], users[label == value])
        for name, value in (("seen", 1), ("seen_non_buyers", 0))
    }


def seen_share(training: Mapping[str, Any], features: np.ndarray, label: np.ndarray) -> float:
    """About which share of different buyers comes from the rows of a fit; 0 if that may be chance.

    Args:
        training: `FitRecord.training`. Fits of earlier versions counted no non-buyers, and cannot tell.
        features: Of other users, as that bundle sees them, float32 [rows, features].
        label: int8 [rows].
    """
    bought, not_bought = training.get("seen"), training.get("seen_non_buyers")
    hashes = np.unique(row_hashes(features[label == 1]))
    if not bought or not not_bought or not len(hashes):
        return 0.0
    share = _shared(bought, hashes)
    least = max(SEEN_SHARE, STANDARD_ERRORS * _error(bought, len(hashes)))
    others = _shared(not_bought, hashes) + _error(not_bought, len(hashes))
    return min(share, 1.0) if share >= max(least, AGREEMENT * others) else 0.0


def smallest_share(training: Mapping[str, Any], features: np.ndarray, label: np.ndarray) -> float:
    """From which share on rows of a fit are recognised among these: above 1 never, infinite without counts.

    The arguments are those of `seen_share`.
    """
    bought = training.get("seen")
    if not bought or not training.get("seen_non_buyers"):
        return math.inf
    buyers = len(np.unique(row_hashes(features[label == 1])))
    return max(SEEN_SHARE, STANDARD_ERRORS * _error(bought, buyers))


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


def _bucket_counts(features: np.ndarray, users: np.ndarray) -> dict[str, Any] | None:
    hashes, first = np.unique(row_hashes(features), return_index=True)
    who, buckets = users[first], MOST_BUCKETS
    while buckets >= FEWEST_BUCKETS:
        parts = _buckets(hashes, buckets)
        if len(hashes) and all(users_in(part, who, buckets).min() >= MIN_USERS for part in parts):
            counts = [np.bincount(part, minlength=buckets).astype(">u4") for part in parts]
            return {
                "rows": len(hashes),
                "buckets": buckets,
                "counts": [count.tobytes().hex() for count in counts],
            }
        buckets //= 2
    return None


def _shared(known: Mapping[str, Any], hashes: np.ndarray) -> float:
    """About which share of rows is among those that were counted.

    Two independent sets of rows agree in no bucket more than in others. Each row in both adds one to
    the sum of products of their deviations.

    Args:
        known: The counts.
        hashes: Of the rows, each once, uint64 [rows].
    """
    rows, buckets = known["rows"], known["buckets"]
    found = []
    for part, text in zip(_buckets(hashes, buckets), known["counts"], strict=True):
        there = np.frombuffer(bytes.fromhex(text), ">u4").astype(np.float64)
        here = np.bincount(part, minlength=buckets)
        found.append(((there - rows / buckets) * (here - len(hashes) / buckets)).sum())
    return float(np.mean(found)) / (1 - 1 / buckets) / len(hashes)


def _error(known: Mapping[str, Any], rows: int) -> float:
    """The standard error of `_shared` for so many rows."""
    return float(np.sqrt(known["rows"] / (rows * known["buckets"] * HASH_PARTS)))


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
