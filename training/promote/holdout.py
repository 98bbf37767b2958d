"""The holdout: later users, scored with the candidate and with the champion."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.bundle.evaluation import Evaluation, FitRecord, read_evaluation
from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle
from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import BundleError, InputError, pluralize, rule_counts
from engine.model.session import Predictions, Session
from training.data.dataset import Dataset, LeftOut, load_dataset
from training.data.scored import ScoredUsers, score_users
from training.evaluate.evaluation import evaluate_users
from training.promote.gate import RefusedError
from training.promote.later import check_later, comparison_cautions
from training.promote.rows import rows_gate

MIN_USERS = 1_000
"""With fewer, only gross losses can be told from chance."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One bundle, and its scores of the holdout.

    Attributes:
        bundle: An opened bundle.
        session: Its models.
        users: The holdout, scored with them.
        fitted: The evaluation of its fit.
    """

    bundle: Bundle
    session: Session
    users: ScoredUsers
    fitted: Evaluation

    @property
    def fit(self) -> FitRecord:
        """What only its fit knows."""
        return self.fitted.fit

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
        left_out: What each of both leaves out of the holdout, in this order.
        cautions: What limits the comparison, in sentences.
    """

    candidate: Contender
    champion: Contender | None
    dataset: Dataset
    evaluation: Evaluation
    left_out: tuple[LeftOut, ...]
    cautions: tuple[str, ...]


def open_contest(candidate: Bundle, champion: Bundle | None, inputs: Sequence[str]) -> Contest:
    """Score the holdout with both bundles.

    Args:
        candidate: The new bundle.
        champion: The current bundle, if there is one.
        inputs: Files, globs or directories of labelled users.

    Raises:
        BundleError: The bundles are of different tables.
        InputError: The users cannot be read, are too few, or are not later than those of training.
        RefusedError: They are too few because of what the candidate leaves out.
    """
    bundles = [bundle for bundle in (candidate, champion) if bundle is not None]
    schema = common_schema(candidate, champion)
    everybody = load_dataset(inputs, schema, [bundle.manifest.schema for bundle in bundles])
    where = ", ".join(inputs)
    _check_enough(everybody, where)
    dataset = _scored_by_all(everybody, candidate, where)
    sides = [_contender(bundle, dataset) for bundle in bundles]
    for side in sides:
        check_later(side.users, side.manifest, side.fit, where)
    return Contest(
        candidate=sides[0],
        champion=sides[1] if champion is not None else None,
        dataset=dataset,
        evaluation=evaluate_users(candidate, sides[0].users, inputs, known_later=True),
        left_out=everybody.left_out,
        cautions=tuple(
            words
            for side in sides
            for words in comparison_cautions(side.users, side.manifest, side.fit)
        ),
    )


def _check_enough(dataset: Dataset, where: str) -> None:
    users = len(np.unique(dataset.users))
    if users < MIN_USERS:
        left_out = f" Rows left out: {rule_counts(dataset.rejected)}." if dataset.rejected else ""
        raise InputError(
            f"{where}: {pluralize(users, 'user')}; measuring a candidate needs at least "
            f"{MIN_USERS:,}. Give more users.{left_out}"
        )


def _scored_by_all(everybody: Dataset, candidate: Bundle, where: str) -> Dataset:
    """The rows that break no rule of either bundle.

    Raises:
        RefusedError: They are too few because of the candidate.
        InputError: They are too few all the same.
    """
    dataset = everybody.subset(np.all([left_out.kept for left_out in everybody.left_out], axis=0))
    if len(np.unique(dataset.users)) >= MIN_USERS and 0 < dataset.label.sum() < dataset.rows:
        return dataset
    gate = rows_gate(*everybody.left_out)
    if gate.refused:
        raise RefusedError(f"{candidate.path}: {gate.words}. Nothing was changed. {gate.next_step}")
    reasons = {name: n for found in everybody.left_out for name, n in found.reasons.items()}
    raise InputError(
        f"{where}: {pluralize(len(np.unique(dataset.users)), 'user')} and "
        f"{pluralize(int(dataset.label.sum()), 'purchase')} that both bundles score; measuring a "
        f"candidate needs {MIN_USERS:,} users, some of whom bought. Give more users. Rows left out: "
        f"{rule_counts(reasons)}."
    )


def common_schema(candidate: Bundle, champion: Bundle | None) -> FeatureSchema:
    """The candidate's table without its rules for values, with every feature that only the champion reads.

    Raises:
        BundleError: The bundles are of different tables.
    """
    schema = candidate.manifest.schema
    found = {feature.name: feature for feature in schema.features}
    for feature in () if champion is None else _champion_features(candidate, champion):
        mine = found.get(feature.name, feature)
        if mine.kind != feature.kind:
            raise BundleError(
                f"{candidate.path}: {feature.name!r} is {mine.kind}, in the champion "
                f"{feature.kind}. Give a changed column another name."
            )
        found[feature.name] = replace(mine, use=True)
    features = (replace(f, min=None, max=None, missing="allowed") for f in found.values())
    return replace(schema, features=tuple(features))


def _champion_features(candidate: Bundle, champion: Bundle) -> tuple[Feature, ...]:
    """What the champion reads of the candidate's table."""
    schema, other = candidate.manifest.schema, champion.manifest.schema
    for what in ("name", "id", "label", "snapshot", "horizon_days"):
        mine, theirs = getattr(schema, what), getattr(other, what)
        if mine != theirs:
            raise BundleError(
                f"{candidate.path}: {what} of the schema is {mine!r}, in the champion "
                f"{theirs!r}. Promote to a folder of bundles of the same table."
            )
    return other.model_features


def _contender(bundle: Bundle, dataset: Dataset) -> Contender:
    users = score_users(bundle, dataset)
    return Contender(bundle, Session(bundle), users, read_evaluation(bundle))
