"""The main path of training: labelled users in, one bundle out. Start here."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle import PLAYBOOK, REFERENCE, Bundle, Manifest, manifest_to_json, open_bundle
from engine.drift import reference_to_json
from engine.schema import FeatureSchema
from engine.session import Predictions, Session
from engine.tensors import to_features
from training.compare.figures import comparison
from training.compare.ways import (
    SEGMENT_FEATURE,
    compared_users,
    fit_segment_figures,
    segment_feature_way,
)
from training.dataset import Dataset, load_dataset
from training.drivers_report import drivers_report
from training.evaluate import Outcomes
from training.export.bundle import bundle_contents, bundle_manifest, bundle_version
from training.fit.baselines import fit_baselines
from training.fit.classifier import fit_classifier
from training.fit.preprocess import fit_categories
from training.fit.search import Budget, Pool
from training.fit.segments import fit_segments
from training.fit.succession import check_predecessor, predecessor
from training.fit.trees import Recipe, Sample
from training.folds import make_folds
from training.leakage import Parts, leakage_checks
from training.measure import outcome_metrics
from training.parity import check_parity, run_engine
from training.playbook import (
    PlaybookRules,
    check_features,
    load_rules,
    playbook_document,
    playbook_to_json,
)
from training.profiles import Profiled, describe_segments
from training.publish import check_target, publish_bundle
from training.quality import quality_band
from training.reference import fit_reference
from training.report.contents import report_contents
from training.report.subject import subject_of
from training.split import Split, split

Progress = Callable[[str], None]
"""Told what begins, in a few words."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What decides a fit, beside the data.

    Attributes:
        schema: The table.
        seed: Of every draw.
        playbook: What to do in which segment and band, and where the bands are cut.
        budget: When the search for the purchase model ends.
        previous: The bundle in force, whose segments are carried on; its folder, or one with
            `CURRENT`. None numbers segments anew.
    """

    schema: FeatureSchema
    seed: int = 7
    playbook: PlaybookRules = field(default_factory=load_rules)
    budget: Budget = field(default_factory=Budget)
    previous: Path | None = None


def fit(
    inputs: Sequence[str],
    options: FitOptions,
    out: Path,
    progress: Progress = lambda stage: None,  # noqa: ARG005
) -> Manifest:
    """Fit all models, export them, and write a bundle if ONNX and native models agree.

    Args:
        inputs: Files, globs or directories of labelled users.
        options: The table, and the seed.
        out: The folder of the bundle, empty or absent.
        progress: Told what begins.

    Returns:
        The manifest as written.

    Raises:
        EngineError: The kind says what went wrong; nothing was written.
    """
    schema = options.schema
    check_target(out)
    check_features(options.playbook, schema)
    previous = _open_previous(options)
    progress("reading users")
    dataset = load_dataset(inputs, schema)
    parts = split(dataset)
    progress(f"fitting the purchase model to {len(parts.train):,} of {dataset.rows:,} users")
    categories = fit_categories(dataset.typed[parts.train], dataset.label[parts.train], schema)
    features = to_features(dataset.typed, schema.model_features, categories)
    train, validation, calibration, test = (
        Sample(features[rows], dataset.label[rows]) for rows in parts.rows
    )
    pool = _pool(dataset, parts, features)
    classifier = fit_classifier(
        pool,
        calibration,
        tuple(feature.name for feature in schema.model_features),
        options.seed,
        options.budget,
        options.playbook.band_shares,
        fit_baselines(pool, schema),
    )
    progress("looking for segments")
    before = None if previous is None else predecessor(previous, dataset.typed[parts.train])
    segmentation = fit_segments(
        train.features,
        validation.features,
        test.features,
        schema.model_features,
        options.seed,
        before,
    )
    progress("exporting to ONNX")
    fitted = (schema, categories, classifier, segmentation)
    trials = len(classifier.report["trials"])
    bundle_id = f"{schema.name}/{_version(dataset, options, trials, previous)}"
    contents = bundle_contents(bundle_id, *fitted)
    manifest = bundle_manifest(bundle_id, *fitted, _record(dataset, parts, options))
    bundle = Bundle(out, manifest, contents)
    progress(f"comparing ONNX with the native models on {dataset.rows:,} users")
    parity = check_parity(bundle, dataset.typed, classifier, segmentation)
    everybody = run_engine(Session(bundle), features)
    scored = everybody[parts.test]
    who = Profiled(train.features, everybody.segment[parts.train], dataset.users[parts.train])
    outcomes = Outcomes(scored.probability, test.label, dataset.users[parts.test])
    manifest = describe_segments(
        manifest, who, outcomes, scored.segment, segmentation.succession, before
    )
    figures = _test_figures(manifest, dataset, parts, features, scored, options.seed)
    manifest = replace(manifest, parity=parity, **figures)
    progress("comparing the model with the segments")
    users = Sample(features, dataset.label)
    compared = _comparison(
        manifest, dataset, parts, users, everybody, classifier.recipe, options.seed
    )
    manifest = replace(manifest, comparison=compared)
    progress("writing the report")
    playbook = _playbook(manifest, dataset, options.playbook)
    contents |= {
        REFERENCE: reference_to_json(fit_reference(test.features, scored, manifest), manifest),
        PLAYBOOK: playbook_to_json(playbook),
        **report_contents(subject_of(manifest, playbook)),
    }
    return publish_bundle(out, manifest, contents)


def _pool(dataset: Dataset, parts: Split, features: np.ndarray) -> Pool:
    """The users by whom the purchase model is chosen, and from whom it is grown."""
    folds = make_folds(dataset, parts)
    sample = Sample(features[folds.rows], dataset.label[folds.rows])
    return Pool(sample, dataset.users[folds.rows], folds.members, folds.description)


def _test_figures(
    manifest: Manifest,
    dataset: Dataset,
    parts: Split,
    features: np.ndarray,
    scored: Predictions,
    seed: int,
) -> dict[str, Any]:
    """What the manifest says of the test part, which is seen once, through the engine."""
    # Without ids, nobody can tell a user of an earlier date from another who looks alike.
    nameless = parts.description["kind"] == "time" and dataset.ids is None
    seen = Parts(
        features,
        dataset.label,
        parts.train,
        parts.test,
        scored.probability,
        None if nameless else dataset.users,
    )
    leakage = leakage_checks(seen, manifest.schema.model_features, seed)
    metrics = outcome_metrics(manifest, dataset, parts.test, scored) | {"leakage": leakage}
    quality = quality_band(metrics, leakage, manifest.unusable, manifest.clustering["reasons"])
    return {
        "metrics": metrics,
        "drivers": drivers_report(manifest, features[parts.test], scored),
        "quality": quality,
        "unusable": () if quality["may_be_used"] else tuple(quality["reasons"]),
    }


def _comparison(
    manifest: Manifest,
    dataset: Dataset,
    parts: Split,
    users: Sample,
    scored: Predictions,
    recipe: Recipe,
    seed: int,
) -> dict[str, Any]:
    """The model against the segments, on the test part; `scored` is of all users."""
    ids = [segment.id for segment in manifest.segments]
    figures = fit_segment_figures(ids, parts, dataset.label, scored)
    grown = segment_feature_way(figures, parts, users, scored.segment, recipe, seed)
    compared = compared_users(
        dataset, parts.test, scored[parts.test], figures, {SEGMENT_FEATURE: grown}
    )
    return comparison(manifest, compared, figures, manifest.quality)


def _playbook(manifest: Manifest, dataset: Dataset, rules: PlaybookRules) -> dict[str, Any]:
    """The playbook for as many users as the last snapshot has."""
    dates = dataset.snapshots
    population = dataset.rows if dates is None else int((dates == dates.max()).sum())
    return playbook_document(rules, manifest.segments, manifest.metrics["cells"], population)


def _open_previous(options: FitOptions) -> Bundle | None:
    if options.previous is None:
        return None
    previous = open_bundle(options.previous)
    check_predecessor(previous, options.schema)
    return previous


def _version(dataset: Dataset, options: FitOptions, trials: int, previous: Bundle | None) -> str:
    dates = dataset.snapshots
    last = "undated" if dates is None else str(dates.max())
    playbook = asdict(options.playbook)
    handed_on = None
    if previous is not None:
        handed_on = hashlib.sha256(manifest_to_json(previous.manifest)).hexdigest()
    settings = {
        "seed": options.seed,
        "trials": trials,
        "playbook": playbook,
        "previous": handed_on,
    }
    return bundle_version(last, dataset.fingerprint, options.schema.fingerprint, settings)


def _record(dataset: Dataset, parts: Split, options: FitOptions) -> dict[str, Any]:
    """What the bundle was made from, for the manifest."""
    dates = dataset.snapshots
    return {
        "rows": dataset.rows,
        "rows_left_out": dict(sorted(dataset.rejected.items())),
        "snapshots": [] if dates is None else [str(d) for d in dates.unique().sort()],
        "data_fingerprint": dataset.fingerprint,
        "schema_fingerprint": options.schema.fingerprint,
        "seed": options.seed,
        "split": parts.description,
    }
