"""A bundle measured on labelled users: its probabilities, its segments and what moves its scores.

`outcome_metrics` measures what the engine said of users whose outcome is known: those of the test
part in a fit, or any others. `evaluate_bundle` does it for a bundle and files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle.manifest import Manifest
from engine.bundle.open import REFERENCE, open_bundle
from engine.bundle.reference import Users, reference_from_json
from engine.errors import InputError, pluralize
from engine.explain.drift import drift_report
from engine.model.session import Predictions, Session
from engine.rows.typed import to_features
from training.compare.figures import comparison
from training.compare.strategies import compared_users, figures_from_json
from training.data.dataset import Dataset, load_dataset, size_figures
from training.data.freshness import cautions
from training.evaluate.drivers import drivers_report
from training.evaluate.quality import quality_band
from training.evaluate.slices import cell_metrics, slice_metrics
from training.export.parity import run_engine
from training.metrics.classification import classification_metrics
from training.metrics.disclosure import MIN_USERS, users_in
from training.metrics.metrics import Outcomes, rounded, segment_places
from training.segments.kmeans import sampled, silhouette
from training.segments.segments import TEST_ROWS
from training.segments.space import space_from_report

SAMPLE_SEED = 0


def evaluate_bundle(bundle: Path, inputs: Sequence[str]) -> dict[str, Any]:
    """Score labelled users through the engine and measure the scores.

    Args:
        bundle: A bundle folder, or a folder with `CURRENT`.
        inputs: Files, globs or directories of labelled users.

    Returns:
        `bundle_id`, `data`, `cautions`, `metrics`, `segments`, `drivers`, `drift`, `comparison` and
        `quality`, plain JSON values. The cautions tell of users that the bundle knows. What the fit found about leakage is taken from the bundle: it needs the
        users of training.

    Raises:
        InputError: There are so few users that the figures would tell of each of them.
        EngineError: The bundle or the data cannot be used.
    """
    opened = open_bundle(bundle)
    manifest = opened.manifest
    dataset = load_dataset(inputs, manifest.schema)
    data = data_figures(dataset, inputs)
    if data["users"] < MIN_USERS:
        raise InputError(
            f"{data['what']}: {pluralize(data['users'], 'user')}; at least {MIN_USERS} are needed, so that "
            "no user can be told from the figures. Add users."
        )
    features = to_features(dataset.typed, manifest.schema.model_features, manifest.categories)
    scored = run_engine(Session(opened), features)
    rows = np.arange(dataset.rows)
    leakage = manifest.metrics["leakage"]
    metrics = {**outcome_metrics(manifest, dataset, rows, scored), "leakage": leakage}
    reference = reference_from_json(opened.contents[REFERENCE], manifest)
    users = Users(features, scored.probability, scored.segment)
    quality = quality_band(metrics, leakage, manifest.unusable, manifest.clustering["reasons"])
    return {
        "bundle_id": manifest.bundle_id,
        "data": data,
        "cautions": cautions(dataset, manifest),
        "metrics": metrics,
        "segments": segment_figures(manifest, features, scored.segment, dataset.users),
        "drivers": drivers_report(manifest, features, scored, dataset.users),
        "drift": drift_report(reference, users, manifest),
        "comparison": _comparison(manifest, dataset, rows, scored, quality),
        "quality": quality,
    }


def outcome_metrics(
    manifest: Manifest, dataset: Dataset, rows: np.ndarray, scored: Predictions
) -> dict[str, Any]:
    """Every figure of some users, overall, by slice and by segment and band; plain JSON values.

    Args:
        manifest: Threshold, cut-points and segments.
        dataset: Labelled users.
        rows: Those that are measured, int64.
        scored: What the engine says of them, in the same order.
    """
    truth = None if dataset.truth is None else dataset.truth[rows]
    outcomes = Outcomes(scored.probability, dataset.label[rows], dataset.users[rows], truth)
    table = dataset.typed.hstack(dataset.unused)[rows]
    return {
        **classification_metrics(outcomes, manifest.threshold, manifest.decile_cuts),
        "slices": slice_metrics(outcomes, table, manifest.schema),
        "cells": cell_metrics(outcomes, scored.segment, manifest),
    }


def _comparison(
    manifest: Manifest,
    dataset: Dataset,
    rows: np.ndarray,
    scored: Predictions,
    quality: Mapping[str, Any],
) -> dict[str, Any]:
    """The model against the segments; empty where the bundle has no figures of its segments."""
    figures = figures_from_json(manifest.comparison.get("fitted", ()))
    if not figures:
        return {}
    return comparison(manifest, compared_users(dataset, rows, scored, figures), figures, quality)


def data_figures(dataset: Dataset, inputs: Sequence[str]) -> dict[str, Any]:
    """Which users were measured: rows, users, dates and file names; plain JSON values."""
    return {**size_figures(dataset), "what": ", ".join(Path(text).name for text in inputs)}


def segment_silhouette(
    manifest: Manifest, features: np.ndarray, segment: np.ndarray
) -> tuple[float | None, int]:
    """The silhouette in the clustering space, on at most `TEST_ROWS` users, and on how many.

    Args:
        manifest: The segments and their space.
        features: float32 [rows, features].
        segment: The id of each row's segment, int64 [rows].
    """
    names = [feature.name for feature in manifest.schema.model_features]
    points = space_from_report(manifest.clustering, names).coordinates(features)
    rows = sampled(np.arange(len(points)), TEST_ROWS, SAMPLE_SEED)
    return silhouette(points[rows], segment[rows]), len(rows)


def segment_figures(
    manifest: Manifest, features: np.ndarray, segment: np.ndarray, users: np.ndarray
) -> dict[str, Any]:
    """The silhouette, as `segment_silhouette` gives it, and the shares.

    The share of a segment with 1 to 19 users is None.

    Args:
        manifest: The segments and their space.
        features: float32 [rows, features].
        segment: The id of each row's segment, int64 [rows].
        users: A number from 0 for each user, int64 [rows].
    """
    found, rows = segment_silhouette(manifest, features, segment)
    ids = [s.id for s in manifest.segments]
    place = segment_places(ids, segment)
    people = users_in(place, users, len(ids))
    shares = np.bincount(place, minlength=len(ids)) / len(place)
    return {
        "names": {str(s.id): s.name for s in manifest.segments},
        "silhouette": found,
        "silhouette_rows": rows,
        "shares": {
            str(number): None if 0 < people[n] < MIN_USERS else rounded(float(shares[n]))
            for n, number in enumerate(ids)
        },
    }
