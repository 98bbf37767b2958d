"""Two bundles on the same later users: who may measure them, and what each bundle says of them.

Rows that lie inside the training window of either bundle, or within the horizon after it, are
refused: one of the two knows more of them than it will of the users of next week.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError, InputError, pluralize
from engine.model.session import Predictions, Session
from engine.rows.typed import to_features
from training.data.dataset import Dataset, load_dataset
from training.data.freshness import (
    are_those_of_training,
    days,
    early_dates,
    first_later_date,
    last_date,
)
from training.evaluate.evaluation import data_figures
from training.export.parity import run_engine
from training.metrics.metrics import Outcomes

MIN_USERS = 1_000
"""With fewer, the interval of every figure is wider than what the gates allow."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One bundle, and what it says of the users of the holdout.

    Attributes:
        bundle: An opened bundle.
        session: Its models.
        features: The users as its models see them, float32 [rows, features].
        scored: What they say.
    """

    bundle: Bundle
    session: Session
    features: np.ndarray
    scored: Predictions

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self.bundle.manifest

    @property
    def names(self) -> list[str]:
        """Its features, in order."""
        return [feature.name for feature in self.manifest.schema.model_features]


@dataclass(frozen=True, slots=True)
class Contest:
    """A candidate and the bundle in force on the same users.

    Attributes:
        candidate: Who wants to be in force.
        champion: Who is; None where nobody is yet.
        dataset: Labelled users, later than what either was fitted to.
        data: Rows, users and dates, for the report.
    """

    candidate: Contender
    champion: Contender | None
    dataset: Dataset
    data: dict[str, Any]

    @property
    def table(self) -> pl.DataFrame:
        """All features of the users, those without use too."""
        return self.dataset.typed.hstack(self.dataset.unused)

    def outcomes(self, contender: Contender) -> Outcomes:
        """What one of them said of the users, and what became of them."""
        dataset = self.dataset
        return Outcomes(
            contender.scored.probability, dataset.label, dataset.users, truth=dataset.truth
        )


def open_contest(candidate: Bundle, champion: Bundle | None, inputs: Sequence[str]) -> Contest:
    """Score the holdout with both bundles.

    Args:
        candidate: Who wants to be in force.
        champion: Who is, if anybody.
        inputs: Files, globs or directories of labelled users.

    Raises:
        BundleError: The bundles are of different tables.
        InputError: The users cannot be read, are too few, or are not later than those of training.
    """
    bundles = [candidate] if champion is None else [candidate, champion]
    schema = common_schema(candidate, champion)
    dataset = load_dataset(inputs, schema)
    where = ", ".join(inputs)
    users = len(np.unique(dataset.users))
    if users < MIN_USERS:
        raise InputError(
            f"{where}: {pluralize(users, 'user')} to measure a candidate on; at least {MIN_USERS:,} "
            "are needed. Give more users."
        )
    for bundle in bundles:
        check_later(dataset, bundle.manifest, where)
    scored = [_scored(bundle, dataset) for bundle in bundles]
    return Contest(
        candidate=scored[0],
        champion=scored[1] if champion is not None else None,
        dataset=dataset,
        data=data_figures(dataset, inputs),
    )


def common_schema(candidate: Bundle, champion: Bundle | None) -> FeatureSchema:
    """The candidate's table, with every feature that only the bundle in force reads.

    Raises:
        BundleError: Both are not of the same table.
    """
    schema = candidate.manifest.schema
    if champion is None:
        return schema
    other = champion.manifest.schema
    for what in ("name", "id", "label", "snapshot", "horizon_days"):
        mine, theirs = getattr(schema, what), getattr(other, what)
        if mine != theirs:
            raise BundleError(
                f"{candidate.path}: {what} of the schema is {mine!r}, in the bundle in force "
                f"{theirs!r}. Promote to a folder of bundles of the same table."
            )
    found = {feature.name: feature for feature in schema.features}
    for feature in other.model_features:
        mine = found.get(feature.name, feature)
        if mine.kind != feature.kind:
            raise BundleError(
                f"{candidate.path}: {feature.name!r} is {mine.kind}, in the bundle in force "
                f"{feature.kind}. Give a changed column another name."
            )
        found[feature.name] = replace(mine, use=True)
    return replace(schema, features=tuple(found.values()))


def check_later(dataset: Dataset, manifest: Manifest, where: str) -> None:
    """Check that users are later than those that a bundle was fitted to.

    A table without dates cannot show that: only the very users of training are recognised.

    Raises:
        InputError: Rows lie in its training window or within the horizon after it, or dates are
            missing that would tell.
    """
    bundle_id = manifest.bundle_id
    if are_those_of_training(dataset, manifest):
        raise InputError(
            f"{where}: these are the users that {bundle_id} was fitted to. Give later ones."
        )
    last = last_date(manifest)
    if last is None:
        return
    if dataset.snapshots is None:
        raise InputError(
            f"{where}: no column {manifest.schema.snapshot!r}, which {bundle_id} was fitted with; "
            "without it nobody can tell whether these users are later. Give dated users."
        )
    first_allowed = first_later_date(manifest, last)
    early = early_dates(dataset.snapshots, first_allowed)
    if len(early):
        raise InputError(
            f"{where}: {pluralize(len(early), 'row')} of {dataset.rows:,} of {days(early)}; "
            f"{bundle_id} was fitted to users up to {last}, whose outcomes end "
            f"{manifest.schema.horizon_days} days later. Give users of {first_allowed} or later."
        )


def _scored(bundle: Bundle, dataset: Dataset) -> Contender:
    manifest = bundle.manifest
    features = to_features(dataset.typed, manifest.schema.model_features, manifest.categories)
    session = Session(bundle)
    return Contender(bundle, session, features, run_engine(session, features))
