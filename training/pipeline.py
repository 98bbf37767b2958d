"""The main path of training: labelled users in, one bundle out. Start here."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle.manifest import Manifest, manifest_to_json
from engine.bundle.open import PLAYBOOK, REFERENCE, Bundle, open_bundle
from engine.bundle.reference import Reference, reference_to_json
from engine.bundle.schema import FeatureSchema
from engine.errors import BundleError
from engine.model.session import Predictions, Session
from engine.rows.typed import to_features
from training.compare.figures import comparison
from training.compare.strategies import (
    SEGMENT_FEATURE,
    compared_users,
    fit_segment_figures,
    segment_feature_strategy,
)
from training.data.dataset import Dataset, load_dataset, size_figures
from training.data.folds import make_folds
from training.data.split import Split, split
from training.effort import Effort, TrialWatch, unwatched
from training.evaluate.drivers import drivers_report
from training.evaluate.evaluation import outcome_metrics
from training.evaluate.leakage import Parts, leakage_checks
from training.evaluate.quality import quality_band
from training.export.bundle import bundle_contents, bundle_manifest, bundle_version
from training.export.conformance import conformance_contents
from training.export.description import described
from training.export.parity import check_parity, run_engine
from training.export.reference import fit_reference
from training.metrics.metrics import Outcomes
from training.model.baselines import fit_baselines
from training.model.categories import fit_categories, order_by_train_rates
from training.model.classifier import Classifier, fit_classifier
from training.model.search import Fold, Pool
from training.model.trees import Sample, TrainConfig
from training.playbook import (
    PlaybookRules,
    check_features,
    load_rules,
    playbook_document,
    playbook_to_json,
    rules_document,
)
from training.promote.publish import check_target, publish_bundle
from training.report.contents import report_contents
from training.report.subject import subject_of
from training.segments.lineage import PreviousSegments, check_previous, previous_segments
from training.segments.profiles import Profiled, describe_segments
from training.segments.segments import Segmentation, fit_segments

Progress = Callable[[str], None]
"""Told what begins, in a few words."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What decides a fit, beside the data.

    Attributes:
        schema: The table.
        seed: Of every draw.
        playbook: What to do in which segment and band, and where the bands are cut.
        effort: How much work the fit does.
        previous: The bundle in force, whose segments are carried on; its folder, or one with
            `CURRENT`. None numbers segments anew.
    """

    schema: FeatureSchema
    seed: int = 7
    playbook: PlaybookRules = field(default_factory=load_rules)
    effort: Effort = field(default_factory=Effort)
    previous: Path | None = None


def fit(
    inputs: Sequence[str],
    options: FitOptions,
    out: Path,
    progress: Progress = lambda stage: None,  # noqa: ARG005
    watch: TrialWatch = unwatched,
) -> Manifest:
    """Fit all models, export them, and write a bundle if ONNX and native models agree.

    Args:
        inputs: Files, globs or directories of labelled users.
        options: The table, and the seed.
        out: The folder of the bundle, empty or absent.
        progress: Told what begins.
        watch: Follows the search for the purchase model.

    Returns:
        The manifest as written.

    Raises:
        EngineError: The kind says what went wrong; nothing was written.
    """
    check_target(out)
    check_features(options.playbook, options.schema)
    previous = _open_previous(options)
    progress("reading users")
    users = _prepared(load_dataset(inputs, options.schema))
    rows = users.dataset.rows
    progress(f"fitting the purchase model to {len(users.parts.train):,} of {rows:,} users")
    classifier = _fit_classifier(users, options, watch)
    progress("looking for segments")
    train = users.dataset.typed[users.parts.train]
    before = None if previous is None else previous_segments(previous, train)
    segmentation = _fit_segments(users, options, before)
    progress("exporting to ONNX")
    version = _version(users.dataset, options, len(classifier.report["trials"]), previous)
    bundle = _exported(out, version, users, options, classifier, segmentation)
    progress(f"comparing ONNX with the native models on {rows:,} users")
    parity = check_parity(bundle, users.dataset.typed, classifier, segmentation)
    progress("measuring the models on users they have not seen")
    scored = run_engine(Session(bundle), users.features)
    profiled = _profiled(users, scored)
    manifest = describe_segments(bundle.manifest, *profiled, segmentation.lineage, before)
    figures = _test_figures(manifest, users, scored, options.seed)
    manifest = replace(manifest, parity=parity, **figures)
    compared = _comparison(manifest, users, scored, classifier.config, options.seed)
    manifest = replace(manifest, comparison=compared)
    progress("writing the report")
    test = users.parts.test
    people = users.dataset.users[test]
    reference = fit_reference(users.features[test], scored[test], manifest, people)
    bundle = _told(replace(bundle, manifest=manifest), users.dataset, reference, options.playbook)
    vectors = conformance_contents(bundle, reference, classifier, segmentation, options.seed)
    return publish_bundle(out, manifest, {**bundle.contents, **vectors})


@dataclass(frozen=True, slots=True)
class _Users:
    """Labelled users as the models see them.

    Attributes:
        dataset: Who they are.
        parts: Who trains, tunes, calibrates and tests.
        categories: The codes of categories, learned from the train part.
        features: float32 [rows, features], NaN where missing.
    """

    dataset: Dataset
    parts: Split
    categories: dict[str, tuple[str, ...]]
    features: np.ndarray

    def sample(self, rows: np.ndarray) -> Sample:
        """Features and labels of some of them."""
        return Sample(self.features[rows], self.dataset.label[rows])


def _prepared(dataset: Dataset) -> _Users:
    parts, schema = split(dataset), dataset.schema
    train = parts.train
    categories = fit_categories(dataset.typed[train], dataset.label[train], schema)
    features = to_features(dataset.typed, schema.model_features, categories)
    return _Users(dataset, parts, categories, features)


def _fit_classifier(users: _Users, options: FitOptions, watch: TrialWatch) -> Classifier:
    pool = _pool(users)
    return fit_classifier(
        pool,
        users.sample(users.parts.calibration),
        tuple(feature.name for feature in options.schema.model_features),
        options.seed,
        options.effort,
        options.playbook.band_shares,
        fit_baselines(pool, options.schema),
        watch,
    )


def _fit_segments(
    users: _Users, options: FitOptions, before: PreviousSegments | None
) -> Segmentation:
    parts, features = users.parts, users.features
    return fit_segments(
        features[parts.train],
        features[parts.validation],
        features[parts.test],
        options.schema.model_features,
        options.seed,
        options.effort,
        before,
    )


def _exported(
    out: Path,
    version: str,
    users: _Users,
    options: FitOptions,
    classifier: Classifier,
    segmentation: Segmentation,
) -> Bundle:
    """The models as ONNX, in memory, ready for the engine; measured by nobody yet."""
    bundle_id = f"{options.schema.name}/{version}"
    fitted = (options.schema, users.categories, classifier, segmentation)
    record = _record(users.dataset, users.parts, options)
    manifest = bundle_manifest(bundle_id, *fitted, record)
    return Bundle(out, manifest, bundle_contents(bundle_id, *fitted))


def _told(bundle: Bundle, dataset: Dataset, reference: Reference, rules: PlaybookRules) -> Bundle:
    """The bundle with the files that tell what was measured, and graphs that say what they are."""
    manifest = bundle.manifest
    playbook = _playbook(manifest, dataset, rules)
    told = {
        REFERENCE: reference_to_json(reference, manifest),
        PLAYBOOK: playbook_to_json(playbook),
        **described(bundle.contents, manifest, playbook),
        **report_contents(subject_of(manifest, playbook)),
    }
    return replace(bundle, contents={**bundle.contents, **told})


def _pool(users: _Users) -> Pool:
    """The train and validation parts, and the folds in which models are compared."""
    folds = make_folds(users.dataset, users.parts)
    whole, people = users.sample(folds.rows), users.dataset.users[folds.rows]
    unordered = {
        column: users.categories[feature.name]
        for column, feature in enumerate(users.dataset.schema.model_features)
        if feature.kind == "categorical" and not feature.ordered
    }
    members = (
        (
            order_by_train_rates(
                whole.subset(teach), people[teach], whole.subset(judge), unordered
            ),
            people[judge],
        )
        for teach, judge in folds.members
    )
    return Pool(whole, tuple(Fold(*both, judging) for both, judging in members), folds.description)


def _profiled(users: _Users, scored: Predictions) -> tuple[Profiled, Outcomes, np.ndarray]:
    """Who is described, and the outcomes and segments of those who had no part in any fit."""
    people, train, test = users.dataset.users, users.parts.train, users.parts.test
    who = Profiled(users.features[train], scored.segment[train], people[train])
    label = users.dataset.label[test]
    outcomes = Outcomes(scored.probability[test], label, people[test])
    return who, outcomes, scored.segment[test]


def _test_figures(
    manifest: Manifest, users: _Users, scored: Predictions, seed: int
) -> dict[str, Any]:
    """What the manifest says of the test part, which is seen once, through the engine.

    Args:
        manifest: Before it is known.
        users: All of them.
        scored: What the engine says of all of them.
        seed: Of what the checks for leaks draw.
    """
    dataset, parts = users.dataset, users.parts
    tested = scored[parts.test]
    # Without ids, nobody can tell a user of an earlier date from another who looks alike.
    nameless = parts.description["kind"] == "time" and dataset.ids is None
    seen = Parts(
        users.features,
        dataset.label,
        parts.train,
        parts.test,
        tested.probability,
        None if nameless else dataset.users,
    )
    leakage = leakage_checks(seen, manifest.schema.model_features, seed)
    metrics = outcome_metrics(manifest, dataset, parts.test, tested) | {"leakage": leakage}
    quality = quality_band(metrics, leakage, manifest.unusable, manifest.clustering["reasons"])
    return {
        "metrics": metrics,
        "drivers": drivers_report(
            manifest, users.features[parts.test], tested, dataset.users[parts.test]
        ),
        "quality": quality,
        "unusable": () if quality["may_be_used"] else tuple(quality["reasons"]),
    }


def _comparison(
    manifest: Manifest, users: _Users, scored: Predictions, config: TrainConfig, seed: int
) -> dict[str, Any]:
    """The model against the segments, on the test part; `scored` is of all users."""
    dataset, parts = users.dataset, users.parts
    ids = [segment.id for segment in manifest.segments]
    figures = fit_segment_figures(ids, parts, dataset.label, scored)
    everybody = Sample(users.features, dataset.label)
    grown = segment_feature_strategy(figures, parts, everybody, scored.segment, config, seed)
    compared = compared_users(
        dataset, parts.test, scored[parts.test], figures, {SEGMENT_FEATURE: grown}
    )
    return comparison(manifest, compared, figures, manifest.quality)


def _playbook(manifest: Manifest, dataset: Dataset, rules: PlaybookRules) -> dict[str, Any]:
    """The playbook for as many users as the last snapshot has."""
    dates = dataset.snapshots
    population = dataset.rows if dates is None else int((dates == dates.max()).sum())
    return playbook_document(rules, manifest.segments, manifest.metrics, population)


def _open_previous(options: FitOptions) -> Bundle | None:
    if options.previous is None:
        return None
    if not options.previous.is_dir():
        raise BundleError(
            f"{options.previous}: no such bundle. Give the one in force with --previous, or leave it "
            "out to number the segments anew."
        )
    previous = open_bundle(options.previous)
    check_previous(previous, options.schema)
    return previous


def _version(dataset: Dataset, options: FitOptions, trials: int, previous: Bundle | None) -> str:
    dates = dataset.snapshots
    last = "undated" if dates is None else str(dates.max())
    handed_on = None
    if previous is not None:
        handed_on = hashlib.sha256(manifest_to_json(previous.manifest)).hexdigest()
    settings = {
        "seed": options.seed,
        "effort": asdict(replace(options.effort, trials=trials, minutes=None)),
        "playbook": rules_document(options.playbook),
        "previous": handed_on,
    }
    return bundle_version(last, dataset.fingerprint, options.schema.fingerprint, settings)


def _record(dataset: Dataset, parts: Split, options: FitOptions) -> dict[str, Any]:
    """What the bundle was made from, for the manifest."""
    return {
        **size_figures(dataset),
        "data_fingerprint": dataset.fingerprint,
        "schema_fingerprint": options.schema.fingerprint,
        "seed": options.seed,
        "split": parts.description,
    }
