"""The main path of training: labelled users in, one bundle out. Start here."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle.evaluation import Evaluation, FitRecord, Json, evaluation_to_json
from engine.bundle.manifest import Manifest
from engine.bundle.open import (
    EVALUATION,
    MANIFEST,
    MODEL_CARD,
    PLAYBOOK,
    REFERENCE,
    REPORT,
    Bundle,
    open_bundle,
)
from engine.bundle.reference import Reference, reference_to_json
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError
from engine.model.session import Session
from engine.rows.typed import to_features
from training.compare.strategies import (
    SEGMENT_FEATURE,
    fit_segment_figures,
    segment_feature_strategy,
)
from training.data.dataset import Dataset, load_dataset, size_figures
from training.data.folds import Folds, make_folds
from training.data.horizon import check_horizon
from training.data.scored import ScoredUsers, run_engine
from training.data.seen import seen_counts
from training.data.split import Split, split
from training.effort import Effort, TrialWatch, unwatched
from training.evaluate.evaluation import evaluate
from training.evaluate.gain import gain_cautions
from training.evaluate.leakage import Parts, leakage_checks
from training.export.bundle import (
    bundle_contents,
    bundle_manifest,
    bundle_version,
    package_versions,
)
from training.export.conformance import conformance_contents
from training.export.description import described
from training.export.parity import check_parity, run_native
from training.export.reference import fit_reference
from training.model.baselines import fit_baselines
from training.model.categories import fit_categories, order_by_train_rates
from training.model.classifier import Classifier, fit_classifier
from training.model.search import Fold, Pool
from training.model.trees import Sample
from training.playbook.document import playbook_document, playbook_to_json
from training.playbook.rules import PlaybookRules, check_features, load_rules, rules_document
from training.promote.publish import publish_bundle
from training.report.card import model_card
from training.report.page import report_pages
from training.report.subject import Subject
from training.schema.disguise import disguised_features
from training.segments.lineage import PreviousSegments, check_previous, previous_segments
from training.segments.profiles import Description, Profiled, describe_segments
from training.segments.segments import Segmentation, fit_segments
from training.staging import check_target

Progress = Callable[[str], None]
"""Called with each stage that begins, in a few words."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What decides a fit, besides the data.

    Attributes:
        schema: The table.
        seed: The seed of every random draw.
        playbook: What to do in which segment and band, and where the bands are cut.
        effort: How much work the fit does.
        max_cost: The most nanoseconds a user that the purchase model may take; see `choose_trees`.
        previous: The bundle whose segments are continued: its folder, or one with `CURRENT`. None
            numbers segments from 1.
    """

    schema: FeatureSchema
    seed: int = 7
    playbook: PlaybookRules = field(default_factory=load_rules)
    effort: Effort = field(default_factory=Effort)
    max_cost: float | None = None
    previous: Path | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The bundle that a fit has written.

    Attributes:
        manifest: As written.
        evaluation: As written.
    """

    manifest: Manifest
    evaluation: Evaluation


def fit(
    inputs: Sequence[str],
    options: FitOptions,
    out: Path,
    progress: Progress = lambda stage: None,  # noqa: ARG005
    watch: TrialWatch = unwatched,
) -> Fitted:
    """Fit all models, export them, and write a bundle if ONNX and native models agree.

    Args:
        inputs: Files, globs or directories of labelled users.
        options: The table, and the seed.
        out: The folder of the bundle, empty or absent.
        progress: Called with each stage that begins.
        watch: Follows the search for the purchase model.

    Raises:
        EngineError: The fit failed; nothing was written.
    """
    check_target(out, is_bundle=True)
    check_features(options.playbook, options.schema)
    previous = _open_previous(options)
    progress("reading users")
    users = _prepared(load_dataset(inputs, options.schema))
    parts, rows = users.parts, users.dataset.rows
    progress(f"fitting the purchase model to {len(parts.train):,} of {rows:,} users")
    classifier = _fit_classifier(users, options, watch)
    progress("looking for segments")
    train = users.dataset.typed[parts.train]
    before = None if previous is None else previous_segments(previous, train)
    segmentation = _fit_segments(users, options, before)
    native = run_native(users.features, classifier, segmentation)
    description = _described_segments(users, segmentation, native.segment, before)
    progress("exporting to ONNX")
    version = _version(users.dataset, options, len(classifier.report["trials"]), previous)
    models = _Models(classifier, segmentation, description)
    bundle = _exported(out, f"{options.schema.name}/{version}", users, models)
    progress(f"comparing ONNX with the native models on {rows:,} users")
    predictions = run_engine(Session(bundle), users.features)
    scored = ScoredUsers(users.dataset, users.features, predictions)
    parity = check_parity(bundle, users.dataset.typed, users.features, predictions, native)
    progress("measuring the models on users they have not seen")
    record = _record(users, models, parity, predictions.probability, options)
    evaluation = _evaluated(bundle, scored, users, models, record, options)
    gains = () if previous is None else gain_cautions(evaluation, previous)
    disguised = disguised_features(users.dataset.typed, options.schema.model_features)
    evaluation = replace(evaluation, cautions=(*disguised, *record.leakage["cautions"], *gains))
    bundle = _with_verdict(bundle, evaluation.quality)
    progress("writing the report")
    test = parts.test
    reference = fit_reference(
        users.features[test], predictions[test], bundle.manifest, users.dataset.users[test]
    )
    bundle = _documented(bundle, evaluation, reference, users.dataset, options.playbook)
    vectors = conformance_contents(bundle, reference, classifier, segmentation, options.seed)
    manifest = publish_bundle(out, bundle.manifest, {**bundle.contents, **vectors})
    return Fitted(manifest, evaluation)


@dataclass(frozen=True, slots=True)
class _Users:
    """Labelled users as the models see them.

    Attributes:
        dataset: The users.
        parts: Which rows train, validate, calibrate and test.
        folds: In which models are compared, and calibrated if there is one snapshot.
        categories: The codes of categories, learned from the train part.
        features: float32 [rows, features], NaN where missing.
    """

    dataset: Dataset
    parts: Split
    folds: Folds
    categories: dict[str, tuple[str, ...]]
    features: np.ndarray

    @property
    def calibration_rows(self) -> np.ndarray:
        """The calibration part of a panel; with one snapshot, the rows that the folds validate."""
        return self.parts.calibration if self.parts.by_time else self.folds.validated

    def sample(self, rows: np.ndarray) -> Sample:
        """Features and labels of some of them."""
        return Sample(self.features[rows], self.dataset.label[rows])


@dataclass(frozen=True, slots=True)
class _Models:
    """Everything that was fitted, in its native form."""

    classifier: Classifier
    segmentation: Segmentation
    description: Description


def _open_previous(options: FitOptions) -> Bundle | None:
    if options.previous is None:
        return None
    if not options.previous.is_dir():
        raise BundleError(
            f"{options.previous}: no such bundle. Give the current one with --previous, or omit it to "
            "number segments from 1."
        )
    previous = open_bundle(options.previous)
    check_previous(previous, options.schema)
    return previous


def _prepared(dataset: Dataset) -> _Users:
    check_horizon(dataset)
    parts, schema = split(dataset), dataset.schema
    train = parts.train
    categories = fit_categories(dataset.typed[train], dataset.label[train], schema)
    features = to_features(dataset.typed, schema.model_features, categories)
    return _Users(dataset, parts, make_folds(dataset, parts), categories, features)


def _fit_classifier(users: _Users, options: FitOptions, watch: TrialWatch) -> Classifier:
    pool, parts = _pool(users), users.parts
    return fit_classifier(
        pool,
        users.sample(parts.calibration) if parts.by_time else None,
        tuple(feature.name for feature in options.schema.model_features),
        options.seed,
        options.effort,
        options.playbook.band_shares,
        fit_baselines(pool, options.schema),
        watch,
        options.max_cost,
    )


def _pool(users: _Users) -> Pool:
    """The train and validation parts, and the folds in which models are compared."""
    folds = users.folds
    whole, people = users.sample(folds.rows), users.dataset.users[folds.rows]
    unordered = {
        column: users.categories[feature.name]
        for column, feature in enumerate(users.dataset.schema.model_features)
        if feature.kind == "categorical" and not feature.ordered
    }

    def fold(train: np.ndarray, validation: np.ndarray) -> Fold:
        samples = whole.subset(train), people[train], whole.subset(validation)
        return Fold(*order_by_train_rates(*samples, unordered), people[validation])

    return Pool(whole, tuple(fold(*rows) for rows in folds.members), folds.description)


def _fit_segments(
    users: _Users, options: FitOptions, before: PreviousSegments | None
) -> Segmentation:
    parts, features = users.parts, users.features
    return fit_segments(
        features[parts.train],
        features[parts.validation],
        features[parts.test],
        options.schema.model_features,
        users.categories,
        options.seed,
        options.effort,
        before,
    )


def _described_segments(
    users: _Users, segmentation: Segmentation, segment: np.ndarray, before: PreviousSegments | None
) -> Description:
    """The segments in words; `segment` is of all users, int64 [rows]."""
    train = users.parts.train
    who = Profiled(users.features[train], segment[train], users.dataset.users[train])
    return describe_segments(users.dataset.schema, users.categories, segmentation, who, before)


def _exported(out: Path, bundle_id: str, users: _Users, models: _Models) -> Bundle:
    """The models as ONNX, in memory, ready for the engine; their quality is not yet known."""
    fitted = (users.dataset.schema, users.categories, models.classifier, models.segmentation)
    manifest = bundle_manifest(bundle_id, *fitted, models.description.segments)
    return Bundle(out, manifest, bundle_contents(bundle_id, *fitted))


def _record(
    users: _Users,
    models: _Models,
    parity: dict[str, Any],
    probability: np.ndarray,
    options: FitOptions,
) -> FitRecord:
    """What only the fit can know; `probability` is of all users, float32 [rows]."""
    dataset, parts = users.dataset, users.parts
    # Without ids, rows of one user on two dates look the same as rows of two similar users.
    nameless = parts.by_time and dataset.ids is None
    seen = Parts(
        users.features,
        dataset.label,
        parts.train,
        parts.test,
        probability[parts.test],
        None if nameless else dataset.users,
    )
    return FitRecord(
        training={
            **size_figures(dataset),
            "data_fingerprint": dataset.fingerprint,
            "schema_fingerprint": options.schema.fingerprint,
            "seed": options.seed,
            "split": parts.description,
            **seen_counts(users.features, dataset.label, dataset.users),
        },
        search=models.classifier.report,
        clustering={**models.segmentation.report, "changes": models.description.changes},
        profiles=models.description.profiles,
        leakage=leakage_checks(seen, dataset.schema.model_features, options.seed),
        parity=parity,
        packages=package_versions(),
    )


def _evaluated(
    bundle: Bundle,
    scored: ScoredUsers,
    users: _Users,
    models: _Models,
    record: FitRecord,
    options: FitOptions,
) -> Evaluation:
    """The test part, measured once."""
    dataset, parts, predictions = users.dataset, users.parts, scored.predictions
    ids = [segment.id for segment in bundle.manifest.segments]
    classifier, segment = models.classifier, predictions.segment
    figures = fit_segment_figures(
        ids,
        parts.train,
        dataset.label,
        segment,
        users.calibration_rows,
        classifier.calibration_margin,
    )
    everybody = Sample(users.features, dataset.label)
    grown = segment_feature_strategy(
        figures, parts, everybody, segment, classifier.config, classifier.calibration, options.seed
    )
    economics = options.playbook.economics
    which = "the last dates," if parts.by_time else "users"
    return evaluate(
        bundle,
        scored,
        parts.test,
        record,
        figures,
        what=f"the test part: {which} held out from fitting, measured once",
        strategies={SEGMENT_FEATURE: grown},
        value_feature=None if economics is None else economics.order_value_feature,
    )


def _with_verdict(bundle: Bundle, quality: Json) -> Bundle:
    """The bundle with the verdict of its evaluation, the only measured entry of a manifest."""
    unusable = () if quality["may_be_used"] else tuple(quality["reasons"])
    return replace(bundle, manifest=replace(bundle.manifest, unusable=unusable))


def _documented(
    bundle: Bundle,
    evaluation: Evaluation,
    reference: Reference,
    dataset: Dataset,
    rules: PlaybookRules,
) -> Bundle:
    """The bundle with every file but the conformance rows, and graphs that describe themselves."""
    manifest = bundle.manifest
    playbook = playbook_document(rules, manifest, evaluation, _population(dataset))
    subject = Subject(manifest, evaluation, playbook)
    snapshots = evaluation.fit.training["snapshots"]
    contents = {
        **bundle.contents,
        EVALUATION: evaluation_to_json(evaluation),
        REFERENCE: reference_to_json(reference, manifest),
        PLAYBOOK: playbook_to_json(playbook),
        **described(bundle.contents, manifest, playbook, snapshots),
        **report_pages(subject, REPORT),
        MODEL_CARD: model_card(subject).encode(),
    }
    return replace(bundle, contents=contents)


def _population(dataset: Dataset) -> int:
    """The number of users of the last snapshot."""
    dates = dataset.snapshots
    return dataset.rows if dates is None else int((dates == dates.max()).sum())


def _version(dataset: Dataset, options: FitOptions, trials: int, previous: Bundle | None) -> str:
    dates = dataset.snapshots
    last = "undated" if dates is None else str(dates.max())
    settings = {
        "seed": options.seed,
        "effort": asdict(replace(options.effort, trials=trials, minutes=None)),
        "max_cost": options.max_cost,
        "playbook": rules_document(options.playbook),
        "previous": previous and hashlib.sha256(previous.contents[MANIFEST]).hexdigest(),
    }
    return bundle_version(last, dataset.fingerprint, options.schema.fingerprint, settings)
