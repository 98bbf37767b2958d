"""The holdout: later users, scored with the candidate and with the champion.

Rows inside the training window of either bundle, or within the horizon after it, are refused,
because that bundle has partly seen their outcomes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import cast

import numpy as np

from engine.bundle.evaluation import Evaluation, FitRecord, read_evaluation
from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError, InputError, pluralize, rule_counts
from engine.model.session import Predictions, Session
from training.data.dataset import Dataset, load_dataset
from training.data.freshness import (
    are_those_of_training,
    early_rows,
    first_later_date,
    seen_users,
)
from training.data.horizon import longest_gap
from training.data.scored import ScoredUsers, score_users
from training.evaluate.evaluation import evaluate_users
from training.promote.gate import Gate, RefusedError
from training.promote.rows import RowCount, kept_by_all, rows_gate

MIN_USERS = 1_000
"""With fewer, the interval of every figure is wider than the gates allow."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One bundle, and its scores of the holdout.

    Attributes:
        bundle: An opened bundle.
        session: Its models.
        users: The holdout, scored with them.
        fit: What only its fit knows.
    """

    bundle: Bundle
    session: Session
    users: ScoredUsers
    fit: FitRecord

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self.bundle.manifest

    @property
    def features(self) -> np.ndarray:
        """The users as its models see them, float32 [rows, features]."""
        return self.users.features

    @property
    def scored(self) -> Predictions:
        """What its models give for them."""
        return self.users.predictions

    @property
    def names(self) -> list[str]:
        """Its features, in order."""
        return [feature.name for feature in self.manifest.schema.model_features]


@dataclass(frozen=True, slots=True)
class Contest:
    """A candidate and the champion on the same users.

    Attributes:
        candidate: The new bundle.
        champion: The current bundle; None if there is none yet.
        dataset: Labelled users that both score, later than the training users of both.
        evaluation: The candidate, measured on them.
        rows: The gate on the rows that the candidate leaves out.
        cautions: What limits the comparison, in sentences.
        accepted_gain: Why figures that look too good are true; "" if nobody has said.
    """

    candidate: Contender
    champion: Contender | None
    dataset: Dataset
    evaluation: Evaluation
    rows: Gate
    cautions: tuple[str, ...]
    accepted_gain: str


def open_contest(
    candidate: Bundle, champion: Bundle | None, inputs: Sequence[str], accepted_gain: str = ""
) -> Contest:
    """Score the holdout with both bundles.

    Args:
        candidate: The new bundle.
        champion: The current bundle, if there is one.
        inputs: Files, globs or directories of labelled users.
        accepted_gain: Why figures that look too good are true.

    Raises:
        BundleError: The bundles are of different tables.
        InputError: The users cannot be read, are too few, or are not later than those of training.
        RefusedError: They are too few because of what the candidate leaves out.
    """
    bundles = [bundle for bundle in (candidate, champion) if bundle is not None]
    schema = common_schema(candidate, champion)
    counts = [RowCount(bundle.manifest.schema) for bundle in bundles]
    where = ", ".join(inputs)
    try:
        dataset = load_dataset(inputs, schema, partial(kept_by_all, counts))
        _check_enough(dataset, where)
    except InputError:
        gate = _rows_gate(counts)
        if gate.passed:
            raise
        raise RefusedError(
            f"{candidate.path}: {gate.words}. Nothing was changed. Correct the rules of its schema, "
            "and fit again."
        ) from None
    wrong_dates = "" if champion is None else far_ahead(champion, dataset)
    sides = [
        _contender(bundle, dataset, where, dates_count=bundle is candidate or not wrong_dates)
        for bundle in bundles
    ]
    return Contest(
        candidate=sides[0],
        champion=sides[1] if champion is not None else None,
        dataset=dataset,
        evaluation=evaluate_users(candidate, sides[0].users, inputs),
        rows=_rows_gate(counts),
        cautions=(wrong_dates,) if wrong_dates else (),
        accepted_gain=accepted_gain,
    )


def _rows_gate(counts: Sequence[RowCount]) -> Gate:
    return rows_gate(counts[0], counts[1] if len(counts) > 1 else None)


def _check_enough(dataset: Dataset, where: str) -> None:
    users = len(np.unique(dataset.users))
    if users < MIN_USERS:
        left_out = f" Rows left out: {rule_counts(dataset.rejected)}." if dataset.rejected else ""
        raise InputError(
            f"{where}: {pluralize(users, 'user')}; measuring a candidate needs at least "
            f"{MIN_USERS:,}. Give more users.{left_out}"
        )


def common_schema(candidate: Bundle, champion: Bundle | None) -> FeatureSchema:
    """The candidate's table without its rules for values, with every feature that only the champion reads.

    `RowCount` applies the rules of each.

    Raises:
        BundleError: The bundles are of different tables.
    """
    schema = candidate.manifest.schema
    if champion is None:
        return schema
    other = champion.manifest.schema
    for what in ("name", "id", "label", "snapshot", "horizon_days"):
        mine, theirs = getattr(schema, what), getattr(other, what)
        if mine != theirs:
            raise BundleError(
                f"{candidate.path}: {what} of the schema is {mine!r}, in the champion "
                f"{theirs!r}. Promote to a folder of bundles of the same table."
            )
    found = {feature.name: feature for feature in schema.features}
    for feature in other.model_features:
        mine = found.get(feature.name, feature)
        if mine.kind != feature.kind:
            raise BundleError(
                f"{candidate.path}: {feature.name!r} is {mine.kind}, in the champion "
                f"{feature.kind}. Give a changed column another name."
            )
        found[feature.name] = replace(mine, use=True)
    features = (replace(f, min=None, max=None, missing="allowed") for f in found.values())
    return replace(schema, features=tuple(features))


def check_later(
    users: ScoredUsers, manifest: Manifest, fit: FitRecord, where: str, *, dates_count: bool = True
) -> None:
    """Check that users are later than those that a bundle was fitted to.

    Args:
        users: The holdout, scored with the bundle.
        manifest: The bundle.
        fit: What its fit knows.
        where: The holdout, for messages.
        dates_count: Whether the dates of its fit can be trusted; rows of training are recognised by
            their values in any case.

    Raises:
        InputError: Rows lie in its training window or within the horizon after it, or their dates
            are missing.
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
    if first_allowed is None or not dates_count:
        return
    if dataset.snapshots is None:
        raise InputError(
            f"{where}: no column {manifest.schema.snapshot!r}, which {bundle_id} was fitted with; "
            "without it, whether these users are later is unknown. Give dated users."
        )
    early = early_rows(dataset, manifest, fit)
    if early:
        raise InputError(f"{where}: {early}. Give users of {first_allowed} or later.")


def far_ahead(champion: Bundle, dataset: Dataset) -> str:
    """Why the dates of a champion cannot be right, as a sentence; "" if they can.

    Fits of earlier versions took any date. Where no user will be later for years, a folder would
    keep such a champion for ever.
    """
    last = read_evaluation(champion).fit.training["snapshots"][-1:]
    if not last or dataset.snapshots is None:
        return ""
    gap = longest_gap(champion.manifest.schema.horizon_days)
    newest = cast("date", dataset.snapshots.max())
    if date.fromisoformat(last[0]) - newest <= gap:
        return ""
    return (
        f"{champion.manifest.bundle_id} was fitted to users dated up to {last[0]}, more than {gap.days} "
        f"days after these, of {newest} at most: its dates are wrong and were not compared"
    )


def _contender(bundle: Bundle, dataset: Dataset, where: str, *, dates_count: bool) -> Contender:
    fit, users = read_evaluation(bundle).fit, score_users(bundle, dataset)
    check_later(users, bundle.manifest, fit, where, dates_count=dates_count)
    return Contender(bundle, Session(bundle), users, fit)
