"""Whether users are more recent than those that a bundle was fitted to.

Without dates, only the exact rows of training are recognised.
"""

from datetime import date, timedelta

import polars as pl

from engine.bundle.evaluation import FitRecord
from engine.bundle.manifest import Manifest
from engine.errors import pluralize
from training.data.dataset import Dataset


def are_those_of_training(dataset: Dataset, fit: FitRecord) -> bool:
    """Whether these are exactly the rows that a bundle was fitted to."""
    return bool(fit.training["data_fingerprint"] == dataset.fingerprint)


def last_date(fit: FitRecord) -> date | None:
    """The last date of the users that a bundle was fitted to; None where they had none."""
    dates = fit.training["snapshots"]
    return date.fromisoformat(dates[-1]) if dates else None


def first_later_date(manifest: Manifest, last: date) -> date:
    """The first date after those of training whose features show none of their outcomes."""
    return last + timedelta(days=max(manifest.schema.horizon_days, 1))


def early_dates(snapshots: pl.Series, first_allowed: date) -> pl.Series:
    """The dates before the first allowed one, one for each row, rising."""
    return snapshots.filter(snapshots < first_allowed).sort()


def days(dates: pl.Series) -> str:
    """The first and the last of rising dates, as text."""
    return f"{dates[0]} to {dates[-1]}" if dates[0] != dates[-1] else str(dates[0])


def cautions(dataset: Dataset, manifest: Manifest, fit: FitRecord) -> list[str]:
    """Why figures on these users may be too good, in sentences."""
    if are_those_of_training(dataset, fit):
        return [
            f"These are the users that {manifest.bundle_id} was fitted to: the models have seen most "
            "of them, so the figures are too good. Measure the bundle on later users."
        ]
    last, snapshots = last_date(fit), dataset.snapshots
    if last is None or snapshots is None:
        return []
    first_allowed = first_later_date(manifest, last)
    early = early_dates(snapshots, first_allowed)
    if not len(early):
        return []
    return [
        f"{pluralize(len(early), 'row')} of {dataset.rows:,} are of {days(early)}; "
        f"{manifest.bundle_id} was fitted to users up to {last}, whose outcomes end "
        f"{manifest.schema.horizon_days} days later: if these are the same users, the figures are too "
        "good. Measure the bundle on later users."
    ]
