"""A bundle measured on labelled users: its probabilities and its segments."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle import Manifest, open_bundle
from engine.session import Session
from engine.tensors import to_features
from training.dataset import load_dataset
from training.evaluate import classification_metrics
from training.fit.segments import TEST_ROWS, sampled, silhouette
from training.fit.space import space_from_report
from training.parity import run_engine

SAMPLE_SEED = 0


def evaluate_bundle(bundle: Path, inputs: Sequence[str]) -> dict[str, Any]:
    """Score labelled users through the engine and measure the scores.

    Args:
        bundle: A bundle folder, or a folder with `CURRENT`.
        inputs: Files, globs or directories of labelled users.

    Returns:
        `bundle_id`, `metrics` and `segments`, plain JSON values.

    Raises:
        EngineError: The bundle or the data cannot be used.
    """
    opened = open_bundle(bundle)
    manifest = opened.manifest
    dataset = load_dataset(inputs, manifest.schema)
    features = to_features(dataset.typed, manifest.schema.model_features, manifest.categories)
    scored = run_engine(Session(opened), features)
    return {
        "bundle_id": manifest.bundle_id,
        "rows_left_out": dataset.rejected,
        "metrics": classification_metrics(
            scored.probability, dataset.label, manifest.threshold, dataset.truth
        ),
        "segments": _segment_figures(manifest, features, scored.segment),
    }


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """The report of `evaluate_bundle` for people."""
    yield f"bundle {report['bundle_id']} on {report['metrics']['rows']:,} users"
    for part in ("metrics", "segments"):
        yield ""
        yield part
        for name, value in report[part].items():
            yield f"  {name}: {value}"


def _segment_figures(
    manifest: Manifest, features: np.ndarray, segment: np.ndarray
) -> dict[str, Any]:
    """The silhouette in the clustering space, on at most `TEST_ROWS` users, and the shares."""
    names = [feature.name for feature in manifest.schema.model_features]
    points = space_from_report(manifest.clustering, names).coordinates(features)
    rows = sampled(np.arange(len(points)), TEST_ROWS, SAMPLE_SEED)
    counts = {s.id: int((segment == s.id).sum()) for s in manifest.segments}
    return {
        "silhouette": silhouette(points[rows], segment[rows]),
        "silhouette_rows": len(rows),
        "shares": {str(number): round(n / len(segment), 6) for number, n in counts.items()},
    }
