"""The train, validation, calibration and test parts.

With one snapshot, a hash of the id decides, so that a user always stays in the same part. There is no
calibration part: out-of-fold scores are used for calibration. With several snapshots, time decides,
with the label's horizon as a gap: the outcomes of the days before a snapshot are already visible in its
features. Calibration and test then hold different users of the newest dates, because purchase rates
change with the season.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations

import numpy as np
import polars as pl

from engine.errors import InputError, pluralize, rule_counts
from training.data.dataset import Dataset
from training.metrics.disclosure import MIN_USERS

PARTS = ("train", "validation", "calibration", "test")
SHARES = (0.75, 0.10, 0.15)
"""Train, validation and test, with one snapshot."""

TIME_SHARES = (0.68, 0.10, 0.07, 0.15)
"""All four parts, with several."""

SALT = "split-v1:"


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of each part, int64 [rows of the part], rising; no row is in two parts.

    Attributes:
        train: Fits category tables and segments, and with the validation part the trees.
        validation: Chooses the number of segments.
        calibration: Fits Platt scaling, the threshold and the cut-points; empty with one snapshot.
        test: Measured once, at the end.
        description: How the rows were divided, for the manifest.
    """

    train: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray
    test: np.ndarray
    description: dict[str, object]

    @property
    def by_time(self) -> bool:
        """Whether there are several snapshots, so that time decides."""
        return self.description.get("kind") == "time"

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The parts in the order of `PARTS`."""
        return self.train, self.validation, self.calibration, self.test


def split(dataset: Dataset) -> Split:
    """Divide the rows.

    Raises:
        InputError: There are too few rows, snapshots, or labels of one kind for all parts.
    """
    draws = hash_draws(dataset.ids, dataset.rows)
    snapshots = dataset.snapshots
    if snapshots is None or snapshots.n_unique() == 1:
        used_parts = np.array([PARTS.index(name) for name in ("train", "validation", "test")])
        part = used_parts[np.searchsorted(np.cumsum(SHARES)[:-1], draws, side="right")]
        description: dict[str, object] = {"kind": "hash of the id", "shares": list(SHARES)}
    else:
        part, description = _by_time(dataset, snapshots, draws)
    rows = [np.flatnonzero(part == number) for number in range(len(PARTS))]
    used = dict(zip(PARTS, rows, strict=True))
    if description["kind"] != "time":
        del used["calibration"]
    for name, members in used.items():
        _check_part(name, dataset, members)
    description["rows"] = {name: len(members) for name, members in used.items()}
    return Split(rows[0], rows[1], rows[2], rows[3], description)


def hash_draws(ids: pl.Series | None, rows: int) -> np.ndarray:
    """A number in [0, 1) for each row, always the same for the same id.

    The first 8 hex digits of SHA-256("split-v1:" + id) over 2**32; without ids, the row number from
    0 is hashed.

    Args:
        ids: The id of each row.
        rows: The number of rows.

    Returns:
        float64 [rows].
    """
    texts = range(rows) if ids is None else ids.cast(pl.String)
    digests = (hashlib.sha256(f"{SALT}{text}".encode()).digest()[:4] for text in texts)
    return np.frombuffer(b"".join(digests), ">u4") / 2.0**32


def _by_time(
    dataset: Dataset, snapshots: pl.Series, draws: np.ndarray
) -> tuple[np.ndarray, dict[str, object]]:
    """Train on the first dates, calibrate and test on the last; the part of each row, -1 in a gap."""
    if snapshots.null_count():
        raise InputError(
            f"training data: {pluralize(snapshots.null_count(), 'row')} of {dataset.rows:,} without "
            f"a date in {snapshots.name!r}. Fix them, or leave them out."
        )
    gap = timedelta(days=dataset.schema.horizon_days)
    counts = snapshots.value_counts().sort(snapshots.name)
    dates, rows = counts[snapshots.name].to_list(), counts["count"].to_numpy()
    middle_date, last_date = _cut_dates(dates, rows, gap)
    day = snapshots.to_numpy()
    start, end = np.datetime64(middle_date), np.datetime64(last_date)
    train = (day <= np.datetime64(middle_date - gap)) & (day < start)
    middle = (day >= start) & (day <= np.datetime64(last_date - gap)) & (day < end)
    last = day >= end
    calibrates = draws < TIME_SHARES[2] / (TIME_SHARES[2] + TIME_SHARES[3])
    parts = [train, middle, last & calibrates, last & ~calibrates]
    part = np.select(parts, [0, 1, 2, 3], default=-1)
    return part, {
        "kind": "time",
        "gap_days": gap.days,
        "first_validation_date": middle_date.isoformat(),
        "first_test_date": last_date.isoformat(),
        "rows_in_gaps": int((part < 0).sum()),
    }


def _cut_dates(dates: list[date], rows: np.ndarray, gap: timedelta) -> tuple[date, date]:
    """The first dates of validation, and of calibration and test, that come closest to `TIME_SHARES`."""
    day = np.array([d.toordinal() for d in dates])
    # How many dates lie a full horizon before each date.
    earlier = np.minimum(np.searchsorted(day, day - gap.days, side="right"), np.arange(len(day)))
    share = np.concatenate([[0], np.cumsum(rows)]) / rows.sum()
    wanted = np.array([*TIME_SHARES[:2], TIME_SHARES[2] + TIME_SHARES[3]])
    best, best_miss = None, np.inf
    for m, t in combinations(range(1, len(dates)), 2):
        if earlier[m] and earlier[t] > m:
            found = [share[earlier[m]], share[earlier[t]] - share[m], 1 - share[t]]
            miss = float(np.abs(found - wanted).sum())
            if miss < best_miss:
                best, best_miss = (dates[m], dates[t]), miss
    if best is None:
        raise InputError(
            f"training data: {len(dates)} snapshot dates ({dates[0]} to {dates[-1]}); a split by "
            f"time needs at least 3 that lie {gap.days} days or more apart. Add earlier "
            "snapshots, or give a single one."
        )
    return best


def _check_part(name: str, dataset: Dataset, members: np.ndarray) -> None:
    label = dataset.label[members]
    users = len(np.unique(dataset.users[members]))
    if name == "test" and users < MIN_USERS:
        raise InputError(
            f"training data: the test part has {pluralize(users, 'user')}; it needs at least "
            f"{MIN_USERS}, so that no single user can be read from its figures. Give more rows."
        )
    if len(np.unique(label)) < 2:
        left_out = f" Rows left out: {rule_counts(dataset.rejected)}." if dataset.rejected else ""
        raise InputError(
            f"training data: the {name} part has {pluralize(len(label), 'row')} and "
            f"{pluralize(int(label.sum()), 'purchase')}; every part needs users who bought and users "
            f"who did not. Give more rows.{left_out}"
        )
