"""Who teaches and who judges while models are compared: folds inside train and validation.

Takes a `Dataset` and its `Split`, gives positions in a pool. One snapshot: by the hash of the id that
splits the parts. Several snapshots: by time, with the horizon of the label as a gap, as the parts
are split; the last fold is then the train part judged by the validation part.
"""

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Dataset
from training.data.split import SHARES, Split, hash_draws
from training.metrics.metrics import rounded

FOLDS = 3
FOLD_ROWS = 100_000
"""All folds together have about so many rows at most; what is compared needs no more."""

Fold = tuple[np.ndarray, np.ndarray]
"""Positions of those who teach and of those who judge, int64, rising."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Folds of the train and validation parts.

    Attributes:
        rows: The pool: the rows of both parts, rising, int64.
        members: Folds of positions in `rows`; the one that teaches most stands first.
        description: How they were made, for the manifest.
    """

    rows: np.ndarray
    members: tuple[Fold, ...]
    description: dict[str, object]


def make_folds(dataset: Dataset, parts: Split) -> Folds:
    """Divide the rows of train and validation; each judges at most once."""
    pool = np.sort(np.concatenate([parts.train, parts.validation]))
    in_validation = np.isin(pool, parts.validation, assume_unique=True)
    draws = hash_draws(dataset.ids, dataset.rows)[pool]
    share = min(1.0, FOLD_ROWS / len(pool))
    kept = draws * 2**16 % 1 < share
    dates = dataset.snapshots
    if parts.description["kind"] == "time" and dates is not None:
        masks = _by_time(dates.to_numpy()[pool], in_validation, dataset.schema.horizon_days)
        kind = "earlier dates teach, later ones judge"
    else:
        number = (draws / (SHARES[0] + SHARES[1]) * FOLDS).astype(int)
        masks = [(number != n, number == n) for n in range(FOLDS)]
        kind = "hash of the id"
    label = dataset.label[pool]
    found = [
        (np.flatnonzero(kept & teaches), np.flatnonzero(kept & judges)) for teaches, judges in masks
    ]
    usable = [fold for fold in found if all(_has_both(label[members]) for members in fold)]
    if not usable:
        kind, share = "the parts themselves", 1.0
        usable = [(np.flatnonzero(~in_validation), np.flatnonzero(in_validation))]
    members = sorted(usable, key=lambda fold: -len(fold[0]))
    return Folds(
        pool,
        tuple(members),
        {
            "kind": kind,
            "folds": len(members),
            "share_of_rows": rounded(share),
            "rows": [[len(teaches), len(judges)] for teaches, judges in members],
        },
    )


def _by_time(day: np.ndarray, in_validation: np.ndarray, gap_days: int) -> list[Fold]:
    """Masks over the pool: two blocks of dates of the train part judge, then the validation part.

    Args:
        day: The date of each row of the pool.
        in_validation: Whether it is in the validation part, bool.
        gap_days: So many days lie between those who teach and those who judge.
    """
    dates = np.unique(day[~in_validation])
    late = dates[(len(dates) + 1) // 2 :]
    blocks = [block for block in np.array_split(late, FOLDS - 1) if len(block)]
    judging = [~in_validation & np.isin(day, block) for block in blocks]
    masks = []
    for judges in [*judging, in_validation]:
        first = day[judges].min()
        teaches = (day <= first - np.timedelta64(gap_days, "D")) & (day < first)
        masks.append((~in_validation & teaches, judges))
    return masks


def _has_both(label: np.ndarray) -> bool:
    return len(np.unique(label)) > 1
