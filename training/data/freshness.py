"""Whether users are more recent than those that a bundle was fitted to.

Rows of training are recognised by their values too, whatever their dates and ids: see `seen`.
"""

from datetime import date, timedelta

from engine.bundle.evaluation import FitRecord
from engine.bundle.manifest import Manifest
from engine.errors import pluralize
from training.data.dataset import Dataset
from training.data.scored import ScoredUsers
from training.data.seen import seen_share


def are_those_of_training(dataset: Dataset, fit: FitRecord) -> bool:
    """Whether these are exactly the rows that a bundle was fitted to."""
    return bool(fit.training["data_fingerprint"] == dataset.fingerprint)


def first_later_date(manifest: Manifest, fit: FitRecord) -> date | None:
    """The first date whose features show none of the training outcomes; None without dates."""
    dates = fit.training["snapshots"]
    gap = timedelta(days=max(manifest.schema.horizon_days, 1))
    if not dates:
        return None
    last = date.fromisoformat(dates[-1])
    return last + gap if last <= date.max - gap else date.max


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
        f"fitted to users up to {fit.training['snapshots'][-1]}, whose outcomes end "
        f"{manifest.schema.horizon_days} days later"
    )


def seen_users(users: ScoredUsers, manifest: Manifest, fit: FitRecord) -> str:
    """How many buyers look exactly like buyers of training, as a sentence; "" if few do."""
    share = seen_share(fit.training.get("seen"), users.features, users.dataset.label)
    if not share:
        return ""
    return (
        f"about {share:.0%} of the buyers among these users have exactly the features of buyers that "
        f"{manifest.bundle_id} was fitted to: their rows come from training, with other dates or ids"
    )


def cautions(dataset: Dataset, manifest: Manifest, fit: FitRecord, seen: str = "") -> list[str]:
    """Why figures on these users may be too good, in sentences; `seen` is from `seen_users`."""
    if are_those_of_training(dataset, fit):
        return [
            f"These are the users that {manifest.bundle_id} was fitted to: the models have seen most "
            "of them, so the figures are too good. Measure the bundle on later users."
        ]
    if seen:
        return [
            f"{seen[0].upper()}{seen[1:]}, so the figures are too good. Measure it on later users."
        ]
    early = early_rows(dataset, manifest, fit)
    if not early:
        return []
    return [
        f"{early}: if these are the same users, the figures are too good. Measure the bundle on "
        "later users."
    ]
