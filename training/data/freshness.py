"""Whether users are more recent than those that a bundle was fitted to.

Rows of training are recognised by their values too, whatever their dates and ids: see `seen`.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from engine.bundle.evaluation import FitRecord
from engine.bundle.manifest import Manifest
from engine.errors import pluralize
from training.data.dataset import Dataset
from training.data.horizon import last_sound_date
from training.data.scored import ScoredUsers
from training.data.seen import seen_share


def are_those_of_training(dataset: Dataset, fit: FitRecord) -> bool:
    """Whether these are exactly the rows that a bundle was fitted to."""
    return bool(fit.training["data_fingerprint"] == dataset.fingerprint)


def last_date(manifest: Manifest, fit: FitRecord) -> date | None:
    """The last date of the users of a fit that can be right; None if there is none."""
    dates = pl.Series(map(date.fromisoformat, fit.training["snapshots"]), dtype=pl.Date)
    return last_sound_date(dates, manifest.schema.horizon_days)


def first_later_date(manifest: Manifest, fit: FitRecord) -> date | None:
    """The first date whose features show none of the training outcomes; None without dates."""
    last = last_date(manifest, fit)
    return last and last + timedelta(days=max(manifest.schema.horizon_days, 1))


def early_rows(dataset: Dataset, manifest: Manifest, fit: FitRecord) -> str:
    """How many rows are before that date, as the beginning of a sentence; "" if none are."""
    first_allowed, snapshots = first_later_date(manifest, fit), dataset.snapshots
    if first_allowed is None or snapshots is None:
        return ""
    early = snapshots.filter(snapshots < first_allowed).sort()
    if not len(early):
        return ""
    days = f"{early[0]} to {early[-1]}" if early[0] != early[-1] else str(early[0])
    return (
        f"{pluralize(len(early), 'row')} of {dataset.rows:,} are of {days}; {manifest.bundle_id} was "
        f"fitted to users up to {last_date(manifest, fit)}, whose outcomes end "
        f"{manifest.schema.horizon_days} days later"
    )


def seen_users(users: ScoredUsers, manifest: Manifest, fit: FitRecord) -> str:
    """How many buyers look exactly like buyers of training, as a sentence; "" if few do."""
    share = seen_share(fit.training, users.features, users.dataset.label)
    if not share:
        return ""
    return (
        f"about {share:.0%} of the buyers among these users have exactly the features of buyers that "
        f"{manifest.bundle_id} was fitted to: their rows come from training, with other dates or ids"
    )


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why figures on these users may be too good.

    Attributes:
        words: In sentences.
        seen: Whether the models have seen these users for certain.
    """

    words: str
    seen: bool


def doubt(users: ScoredUsers, manifest: Manifest, fit: FitRecord) -> Doubt | None:
    """Why figures on these users may be too good; None if nothing speaks for it."""
    if are_those_of_training(users.dataset, fit):
        return Doubt(
            f"These are the users that {manifest.bundle_id} was fitted to: the models have seen most "
            "of them, so the figures are too good. Measure the bundle on later users.",
            seen=True,
        )
    seen = seen_users(users, manifest, fit)
    if seen:
        words = (
            f"{seen[0].upper()}{seen[1:]}, so the figures are too good. Measure it on later users."
        )
        return Doubt(words, seen=True)
    early = early_rows(users.dataset, manifest, fit)
    if not early:
        return None
    return Doubt(
        f"{early}: these users may not be new, and the figures may be too good. Measure the bundle on "
        "later users.",
        seen=False,
    )
