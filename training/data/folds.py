"""Folds inside the train and validation parts, in which models are compared.

With one snapshot, folds follow the hash of the id that also splits the parts, and their out-of-fold
scores are used for calibration. With several, they follow time, with the label's horizon as a gap; the
last fold then validates the train part on the validation part.
"""

from dataclasses import dataclass

import numpy as np

from training.data.dataset import Dataset
from training.data.split import SHARES, Split, hash_draws
from training.metrics.metrics import rounded

FOLDS = 3
FOLD_ROWS = 100_000
"""The most rows in all folds together; comparing models needs no more."""

FoldRows = tuple[np.ndarray, np.ndarray]
"""Positions of the train and of the validation rows, int64, rising."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Folds of the train and validation parts.

    Attributes:
        rows: The pool: the rows of both parts, rising, int64.
        members: Folds of positions in `rows`; the one with most train rows comes first.
        description: How they were made, for the manifest.
    """

    rows: np.ndarray
    members: tuple[FoldRows, ...]
    description: dict[str, object]

    @property
    def validated(self) -> np.ndarray:
        """The rows that some fold validates, fold after fold, int64."""
        return np.concatenate([self.rows[validation] for _, validation in self.members])


def make_folds(dataset: Dataset, parts: Split) -> Folds:
    """Divide the rows of both parts; each is in the validation rows of at most one fold."""
    pool = np.sort(np.concatenate([parts.train, parts.validation]))
    in_validation = np.isin(pool, parts.validation, assume_unique=True)
    draws = hash_draws(dataset.ids, dataset.rows)[pool]
    share = min(1.0, FOLD_ROWS / len(pool))
    kept = draws * 2**16 % 1 < share
    dates = dataset.snapshots
    if parts.by_time and dates is not None:
        masks = _by_time(dates.to_numpy()[pool], in_validation, dataset.schema.horizon_days)
        kind = "earlier dates train, later ones validate"
    else:
        number = (draws / (SHARES[0] + SHARES[1]) * FOLDS).astype(int)
        masks = [(number != n, number == n) for n in range(FOLDS)]
        kind = "hash of the id"
    label = dataset.label[pool]
    found = [
        (np.flatnonzero(kept & train), np.flatnonzero(kept & validation))
        for train, validation in masks
    ]
    usable = [fold for fold in found if all(len(np.unique(label[rows])) > 1 for rows in fold)]
    if not usable:
        kind, share = "the parts themselves", 1.0
        usable = [(np.flatnonzero(~in_validation), np.flatnonzero(in_validation))]
    members = sorted(usable, key=lambda fold: -len(fold[0]))
    description = {
        "kind": kind,
        "folds": len(members),
        "share_of_rows": rounded(share),
        "rows": [[len(train), len(validation)] for train, validation in members],
    }
    return Folds(pool, tuple(members), description)


def _by_time(day: np.ndarray, in_validation: np.ndarray, gap_days: int) -> list[FoldRows]:
    """Masks over the pool: validate on two blocks of train dates, then on the validation part.

    Args:
        day: The date of each row of the pool.
        in_validation: Whether it is in the validation part, bool.
        gap_days: The days between train and validation rows.
    """
    dates = np.unique(day[~in_validation])
    late = dates[(len(dates) + 1) // 2 :]
    blocks = [block for block in np.array_split(late, FOLDS - 1) if len(block)]
    late_blocks = [~in_validation & np.isin(day, block) for block in blocks]
    masks = []
    for validation in [*late_blocks, in_validation]:
        first = day[validation].min()
        train = (day <= first - np.timedelta64(gap_days, "D")) & (day < first)
        masks.append((~in_validation & train, validation))
    return masks
