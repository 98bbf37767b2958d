"""`evaluate`: a bundle measured on labelled users, for a fit, a promotion and the report alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine.bundle.evaluation import Evaluation, FitRecord, Json, read_evaluation
from engine.bundle.manifest import Manifest
from engine.bundle.open import REFERENCE, Bundle, open_bundle
from engine.bundle.playbook import read_playbook
from engine.bundle.reference import Reference, Users, reference_from_json
from engine.errors import InputError, pluralize
from engine.explain.drift import drift_report
from engine.model.session import Predictions
from training.compare.figures import comparison
from training.compare.strategies import SegmentFigures, compared_users, figures_from_json
from training.data.dataset import Dataset, load_dataset, size_figures
from training.data.freshness import Doubt, doubt
from training.data.scored import ScoredUsers, score_users
from training.evaluate.drivers import drivers_report
from training.evaluate.quality import lower_quality, quality_band
from training.evaluate.slices import band_metrics, cell_metrics, slice_metrics
from training.metrics.classification import classification_metrics
from training.metrics.disclosure import MIN_USERS, users_in
from training.metrics.histogram import score_histogram
from training.metrics.metrics import Outcomes, rounded, segment_places
from training.segments.kmeans import sampled, silhouette
from training.segments.segments import TEST_ROWS
from training.segments.space import space_from_report
from training.segments.verdict import verdict_sentence

SAMPLE_SEED = 0


def evaluate(
    bundle: Bundle,
    users: ScoredUsers,
    rows: np.ndarray,
    fit: FitRecord,
    figures: Sequence[SegmentFigures],
    what: str,
    strategies: Mapping[str, np.ndarray] | None = None,
    reference: Reference | None = None,
    fitted_quality: Json | None = None,
    doubted: Doubt | None = None,
    value_feature: str | None = None,
) -> Evaluation:
    """Measure a bundle on some labelled users.

    Args:
        bundle: The bundle.
        users: Labelled users, scored with it.
        rows: Those that are measured, int64.
        fit: What only the fit knows.
        figures: Of each segment, from the fit, for the comparison with the model.
        what: The measured users, in words.
        strategies: Further scores of the measured users that the comparison includes.
        reference: Histograms of the training users, if later users are measured; None for the test
            part of a fit, from which they are made.
        fitted_quality: Of the test part of the fit. It is the best that users seen in training can
            show.
        doubted: Why the figures may be too good.
        value_feature: The feature that holds the value of an order, if one does.

    Returns:
        Every figure of these users.
    """
    manifest, dataset = bundle.manifest, users.dataset
    features, scored = users.features[rows], users.predictions[rows]
    people = dataset.users[rows]
    metrics = outcome_metrics(manifest, dataset, rows, scored, value_feature)
    quality: Json = quality_band(
        metrics, fit.leakage, manifest.unusable, manifest.segments_unusable
    )
    if doubted is not None and doubted.seen and fitted_quality is not None:
        quality = lower_quality(fitted_quality, quality)
    compared = compared_users(dataset, rows, scored, figures, strategies)
    seen = Users(features, scored.probability, scored.segment)
    return Evaluation(
        bundle_id=manifest.bundle_id,
        data={**size_figures(dataset, rows), "what": what},
        cautions=() if doubted is None else (doubted.words,),
        metrics=metrics,
        segments=segment_figures(manifest, fit, features, scored.segment, people),
        drivers=drivers_report(manifest, features, scored, people),
        drift={} if reference is None else drift_report(reference, seen, manifest),
        comparison=comparison(manifest, compared, figures, quality),
        quality=quality,
        fit=fit,
    )


def evaluate_users(
    bundle: Bundle, users: ScoredUsers, inputs: Sequence[str], *, known_later: bool = False
) -> Evaluation:
    """Measure a published bundle on labelled users.

    Args:
        bundle: An opened bundle.
        users: Labelled users, scored with it.
        inputs: Where they were read, for the description.
        known_later: Whether they are later than those of the fit; if not, that is looked into.

    Raises:
        InputError: There are so few users that they would be identifiable in the figures.
        BundleError: The bundle's own evaluation or its reference is invalid.
    """
    own = read_evaluation(bundle)
    what = ", ".join(Path(text).name for text in inputs)
    count = len(np.unique(users.dataset.users))
    if count < MIN_USERS:
        raise InputError(
            f"{what}: {pluralize(count, 'user')}; at least {MIN_USERS} are needed, so that no user is "
            "identifiable in the figures. Add users."
        )
    return evaluate(
        bundle,
        users,
        np.arange(users.dataset.rows),
        own.fit,
        figures_from_json(own.comparison["fitted"]),
        what,
        reference=reference_from_json(bundle.contents[REFERENCE], bundle.manifest),
        fitted_quality=own.quality,
        doubted=None if known_later else doubt(users, bundle.manifest, own.fit),
        value_feature=read_playbook(bundle).get("economics", {}).get("order_value_feature"),
    )


def evaluate_bundle(bundle: Path, inputs: Sequence[str]) -> Evaluation:
    """Score labelled users through the engine and measure the scores.

    Args:
        bundle: A bundle folder, or a folder with `CURRENT`.
        inputs: Files, globs or directories of labelled users.

    Raises:
        EngineError: The bundle or the data cannot be used.
    """
    opened = open_bundle(bundle)
    users = score_users(opened, load_dataset(inputs, opened.manifest.schema))
    return evaluate_users(opened, users, inputs)


def outcome_metrics(
    manifest: Manifest,
    dataset: Dataset,
    rows: np.ndarray,
    scored: Predictions,
    value_feature: str | None = None,
) -> dict[str, Any]:
    """Every figure of some users, overall, by slice and by segment and band; plain JSON values.

    Args:
        manifest: Threshold, cut-points and segments.
        dataset: Labelled users.
        rows: Those that are measured, int64.
        scored: Engine predictions for them, in the same order.
        value_feature: The feature that holds the value of an order, if one does.
    """
    every = dataset.every_feature[rows]
    value = None if value_feature is None else _order_values(every[value_feature])
    truth = None if dataset.truth is None else dataset.truth[rows]
    outcomes = Outcomes(scored.probability, dataset.label[rows], dataset.users[rows], truth)
    return {
        **classification_metrics(outcomes, manifest.threshold, manifest.decile_cuts),
        "slices": slice_metrics(outcomes, every, manifest.schema),
        "bands": band_metrics(outcomes, manifest.band_cuts, value),
        "cells": cell_metrics(outcomes, scored.segment, manifest, value),
        "histogram": score_histogram(outcomes, scored.segment, [s.id for s in manifest.segments]),
    }


def _order_values(column: pl.Series) -> np.ndarray:
    """float64 [rows], NaN where unknown."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def segment_figures(
    manifest: Manifest, fit: FitRecord, features: np.ndarray, segment: np.ndarray, users: np.ndarray
) -> dict[str, Any]:
    """The silhouette of the segments in their space, on at most `TEST_ROWS` rows, shares and verdict.

    The share of a segment with 1 to 19 users is None.

    Args:
        manifest: The segments.
        fit: Their space.
        features: float32 [rows, features].
        segment: The id of each row's segment, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
    """
    names = [feature.name for feature in manifest.schema.model_features]
    points = space_from_report(fit.clustering, names).coordinates(features)
    rows = sampled(np.arange(len(points)), TEST_ROWS, SAMPLE_SEED)
    # One thread: with several, the last bits depend on their number.
    with threadpool_limits(1):
        measured = silhouette(points[rows], segment[rows])
    ids = [s.id for s in manifest.segments]
    place = segment_places(ids, segment)
    people = users_in(place, users, len(ids))
    shares = np.bincount(place, minlength=len(ids)) / len(place)
    return {
        "names": {str(s.id): s.name for s in manifest.segments},
        "silhouette": measured,
        "silhouette_rows": len(rows),
        "verdict": manifest.segments_verdict,
        "usable": manifest.segments_usable,
        "sentence": verdict_sentence(manifest.segments_verdict, fit.clustering),
        "shares": {
            str(number): None if 0 < people[n] < MIN_USERS else rounded(float(shares[n]))
            for n, number in enumerate(ids)
        },
    }
