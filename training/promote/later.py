"""Whether a holdout is later than the users that both bundles were fitted to.

Rows inside the training window of a bundle, or within the horizon after it, are refused, because that
bundle has partly seen their outcomes. So are rows of training under other dates.
"""

import math

from engine.bundle.evaluation import FitRecord
from engine.bundle.manifest import Manifest
from engine.errors import InputError
from training.data.freshness import (
    are_those_of_training,
    early_rows,
    first_later_date,
    last_date,
    seen_users,
)
from training.data.scored import ScoredUsers
from training.data.seen import smallest_share

RECOGNISED_SHARE = 0.5
"""If only a larger share of copies would be recognised, the report says so."""


def check_later(users: ScoredUsers, manifest: Manifest, fit: FitRecord, where: str) -> None:
    """Check that users are later than those that a bundle was fitted to.

    Args:
        users: The holdout, scored with the bundle.
        manifest: The bundle.
        fit: What its fit knows.
        where: The holdout, for messages.

    Raises:
        InputError: Rows come from training, lie in its window or within the horizon after it, or
            their dates are missing.
    """
    bundle_id, dataset = manifest.bundle_id, users.dataset
    if are_those_of_training(dataset, fit):
        raise InputError(
            f"{where}: these are the users that {bundle_id} was fitted to. Give later ones."
        )
    seen = seen_users(users, manifest, fit)
    if seen:
        raise InputError(f"{where}: {seen}. Give later users.")
    first_allowed = first_later_date(manifest, fit)
    if first_allowed is None:
        return
    if dataset.snapshots is None:
        raise InputError(
            f"{where}: no column {manifest.schema.snapshot!r}, which {bundle_id} was fitted with; "
            "without it, whether these users are later is unknown. Give dated users."
        )
    early = early_rows(dataset, manifest, fit)
    if early:
        raise InputError(f"{where}: {early}. Give users of {first_allowed} or later.")


def comparison_cautions(users: ScoredUsers, manifest: Manifest, fit: FitRecord) -> list[str]:
    """What `check_later` cannot tell of a bundle, in sentences.

    Args:
        users: The holdout, scored with the bundle.
        manifest: The bundle.
        fit: What its fit knows.
    """
    found, dates, last = [], fit.training["snapshots"], last_date(manifest, fit)
    if dates and str(last) != dates[-1]:
        compared = (
            "its dates were not compared" if last is None else f"only those up to {last} count"
        )
        found.append(
            f"{manifest.bundle_id} was fitted to users dated up to {dates[-1]}, which cannot be right: "
            f"{compared}"
        )
    share = smallest_share(fit.training, users.features, users.dataset.label)
    if math.isinf(share):
        found.append(
            f"{manifest.bundle_id} has no counts of its users by which rows of its training would be "
            "recognised under other dates"
        )
    elif share > RECOGNISED_SHARE:
        found.append(
            f"too few buyers to recognise rows of the training of {manifest.bundle_id} under other dates"
            + (f", unless {share:.0%} of the buyers or more come from it" if share <= 1 else "")
        )
    return found
