"""The holdout: later users, scored with the candidate and with the champion.

Rows inside the training window of either bundle, or within the horizon after it, are refused,
because that bundle has partly seen their outcomes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.bundle.evaluation import Evaluation, FitRecord, read_evaluation
from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError, InputError, pluralize
from engine.model.session import Predictions, Session
from training.data.dataset import Dataset, load_dataset
from training.data.freshness import are_those_of_training, early_rows, first_later_date
from training.data.scored import ScoredUsers, score_users
from training.evaluate.evaluation import evaluate_users

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
        dataset: Labelled users, later than the training users of both.
        evaluation: The candidate, measured on them.
    """

    candidate: Contender
    champion: Contender | None
    dataset: Dataset
    evaluation: Evaluation


def open_contest(candidate: Bundle, champion: Bundle | None, inputs: Sequence[str]) -> Contest:
    """Score the holdout with both bundles.

    Args:
        candidate: The new bundle.
        champion: The current bundle, if there is one.
        inputs: Files, globs or directories of labelled users.

    Raises:
        BundleError: The bundles are of different tables.
        InputError: The users cannot be read, are too few, or are not later than those of training.
    """
    schema = common_schema(candidate, champion)
    dataset = load_dataset(inputs, schema)
    where = ", ".join(inputs)
    users = len(np.unique(dataset.users))
    if users < MIN_USERS:
        raise InputError(
            f"{where}: {pluralize(users, 'user')}; measuring a candidate needs at least "
            f"{MIN_USERS:,}. Give more users."
        )
    sides = [
        _contender(bundle, dataset, where) for bundle in (candidate, champion) if bundle is not None
    ]
    return Contest(
        candidate=sides[0],
        champion=sides[1] if champion is not None else None,
        dataset=dataset,
        evaluation=evaluate_users(candidate, sides[0].users, inputs),
    )


def common_schema(candidate: Bundle, champion: Bundle | None) -> FeatureSchema:
    """The candidate's table, with every feature that only the champion reads.

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
    return replace(schema, features=tuple(found.values()))


def check_later(dataset: Dataset, manifest: Manifest, fit: FitRecord, where: str) -> None:
    """Check that users are later than those that a bundle was fitted to.

    Without dates in the schema, only the exact users of training are recognised.

    Raises:
        InputError: Rows lie in its training window or within the horizon after it, or their dates
            are missing.
    """
    bundle_id = manifest.bundle_id
    if are_those_of_training(dataset, fit):
        raise InputError(
            f"{where}: these are the users that {bundle_id} was fitted to. Give later ones."
        )
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


def _contender(bundle: Bundle, dataset: Dataset, where: str) -> Contender:
    fit = read_evaluation(bundle).fit
    check_later(dataset, bundle.manifest, fit, where)
    return Contender(bundle, Session(bundle), score_users(bundle, dataset), fit)
