"""ONNX through the engine against the native models, on every row: the gate of every export.

The native models are LightGBM and scikit-learn in double precision, on the same float32 numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.open import SCORER, Bundle
from engine.bundle.reference import digitize
from engine.bundle.schema import Feature
from engine.errors import SelfCheckError, pluralize
from engine.model.session import (
    CLASSIFIER_OUTPUTS,
    PADDED_ROWS,
    Predictions,
    Session,
    concat_predictions,
    load_graph,
)
from engine.model.threads import available_cores, in_order
from engine.rows.typed import named_inputs, to_features
from training.data.scored import CHUNK_ROWS, run_engine
from training.model.classifier import Classifier, sigmoid
from training.model.trees import raw_scores
from training.segments.segments import Segmentation

TOLERANCES = {
    "probability": 1e-6,
    "margin": 1e-5,
    "impact": 1e-5,
    "cut_point": 1e-6,
    "distance": 1e-5,
}
"""The largest difference allowed in a probability, a margin and an impact. Drivers may change places
if their impacts differ by less; users may change sides within `cut_point` of a cut-point, and
segments if two are equally near within `distance`."""

ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""The relative error of a distance that is computed from squares, as scikit-learn's is."""

CHUNK_SIZES = (1, 7, 127, 1_000)
CHUNKS_CHECKED = 100


@dataclass(frozen=True, slots=True)
class Native:
    """Predictions of the native models, in double precision.

    Attributes:
        margin: float64 [rows].
        probability: float64 [rows].
        impacts: slope x `pred_contrib`, float64 [rows, features].
        segment: The stable ids, int64 [rows].
        tied: Whether two segments are equally near within the tolerance, bool [rows].
    """

    margin: np.ndarray
    probability: np.ndarray
    impacts: np.ndarray
    segment: np.ndarray
    tied: np.ndarray


def check_parity(
    bundle: Bundle,
    typed: pl.DataFrame,
    features: np.ndarray,
    predictions: Predictions,
    native: Native,
) -> dict[str, Any]:
    """Compare the engine, `scorer.onnx` and the native models on all rows.

    Args:
        bundle: The bundle, before it is written.
        typed: Users, as `to_typed` returns them.
        features: The same users as the models see them, float32 [rows, features].
        predictions: Of the engine.
        native: Of the native models.

    Returns:
        The figures of the comparison.

    Raises:
        SelfCheckError: They differ by more than `TOLERANCES` allow.
    """
    manifest = bundle.manifest
    named = run_scorer(load_graph(bundle, SCORER), typed, manifest.schema.model_features)
    figures = {
        "rows": typed.height,
        "tolerances": TOLERANCES,
        **compare(predictions, native, manifest),
        "changed_in_scorer": different_bits(predictions, named),
        "changed_by_chunk": chunk_differences(Session(bundle), features, predictions),
    }
    problems = list(parity_problems(figures))
    if problems:
        raise SelfCheckError(
            f"{manifest.bundle_id}: ONNX and the native models differ on {typed.height:,} users: "
            f"{'; '.join(problems)}. Nothing was written; report this with the versions in use."
        )
    return figures


def check_rows(
    bundle: Bundle, typed: pl.DataFrame, classifier: Classifier, segmentation: Segmentation
) -> dict[str, Any]:
    """Score rows in every way, then `check_parity`."""
    manifest = bundle.manifest
    features = to_features(typed, manifest.schema.model_features, manifest.categories)
    predictions = run_engine(Session(bundle), features)
    native = run_native(features, classifier, segmentation)
    return check_parity(bundle, typed, features, predictions, native)


def run_scorer(
    graph: ort.InferenceSession, typed: pl.DataFrame, features: tuple[Feature, ...]
) -> Predictions:
    """Score with `scorer.onnx`: one input for each feature, categories as text."""

    def run(chunk: pl.DataFrame) -> Predictions:
        inputs = named_inputs(_padded(chunk), features)
        found = graph.run([*CLASSIFIER_OUTPUTS, "segment"], inputs)
        margin, probability, *others = found
        return Predictions(margin[:, 0], probability[:, 0], *others)[: chunk.height]

    found = list(in_order(run, typed.iter_slices(CHUNK_ROWS), available_cores()))
    return concat_predictions(found)


def run_native(features: np.ndarray, classifier: Classifier, segmentation: Segmentation) -> Native:
    """Score with LightGBM and scikit-learn in double precision."""
    points = segmentation.space.coordinates(features)
    ids = np.array([segment.id for segment in segmentation.segments])
    distances = segmentation.model.transform(points)
    tied = np.zeros(len(points), dtype=bool)
    if distances.shape[1] > 1:
        nearest = np.partition(distances, 1, axis=1)
        # Far from all centroids, neighbouring doubles lie further apart than the tolerance.
        tolerance = np.maximum(TOLERANCES["distance"], ROUNDING * nearest[:, 0])
        tied = nearest[:, 1] - nearest[:, 0] <= tolerance
    margin, impacts = native_impacts(classifier, features)
    segment = ids[segmentation.model.predict(points)]
    return Native(margin, sigmoid(margin), impacts, segment, tied)


def native_impacts(classifier: Classifier, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LightGBM's margin and TreeSHAP, calibrated: float64 [rows] and [rows, features]."""
    platt = classifier.calibration
    margin = platt.slope * raw_scores(classifier.booster, features) + platt.intercept
    found = classifier.booster.predict(features, pred_contrib=True)
    return margin, platt.slope * np.asarray(found, dtype=np.float64)[:, :-1]


def compare(fast: Predictions, native: Native, manifest: Manifest) -> dict[str, Any]:
    """Count the users whose results differ between the engine and the native models."""
    p, reference = fast.probability.astype(np.float64), native.probability
    figures: dict[str, Any] = {
        "max_probability_difference": _largest(p - reference),
        "mean_probability_difference": float(np.abs(p - reference).mean()),
        "max_margin_difference": _largest(fast.margin - native.margin),
        "max_impact_difference": _largest(fast.impacts - native.impacts),
        "changed_drivers": driver_changes(fast.driver_index, native.impacts),
    }
    thresholds = (manifest.threshold,)
    cuts = {"will_purchase": thresholds, "decile": manifest.decile_cuts, "band": manifest.band_cuts}
    for name, values in cuts.items():
        near = _is_near(reference, values)
        changed = digitize(values, fast.probability) != np.searchsorted(values, reference, "right")
        figures[f"changed_{name}"] = int((changed & ~near).sum())
        figures[f"near_{name}_cut"] = int(near.sum())
    changed = fast.segment != native.segment
    figures["changed_segment"] = int((changed & ~native.tied).sum())
    figures["near_segment_border"] = int(native.tied.sum())
    return figures


def driver_changes(index: np.ndarray, impacts: np.ndarray) -> int:
    """How many users have drivers in another order than LightGBM's, except for ties.

    Args:
        index: The drivers, int64 [rows, drivers].
        impacts: LightGBM's, float64 [rows, features].
    """
    size = np.abs(impacts)
    largest = -np.sort(-size, axis=1)[:, : index.shape[1]]
    apart = np.abs(np.take_along_axis(size, index, axis=1) - largest)
    repeated = (np.diff(np.sort(index, axis=1), axis=1) == 0).any(axis=1)
    return int(((apart > TOLERANCES["impact"]).any(axis=1) | repeated).sum())


def chunk_differences(session: Session, features: np.ndarray, whole: Predictions) -> int:
    """For how many users any bit of a score changes with the chunk size."""
    changed = 0
    for size in CHUNK_SIZES:
        rows = min(len(features), CHUNKS_CHECKED * size)
        parts = [session.run(features[i : i + size]) for i in range(0, rows, size)]
        changed += different_bits(concat_predictions(parts)[:rows], whole[:rows])
    return changed


def different_bits(one: Predictions, other: Predictions) -> int:
    """The number of users for whom two runs differ in any bit."""
    changed = np.zeros(len(one.probability), dtype=bool)
    for name in (f.name for f in fields(Predictions)):
        bits = [getattr(p, name).view(np.uint32).reshape(len(changed), -1) for p in (one, other)]
        changed |= (bits[0] != bits[1]).any(axis=1)
    return int(changed.sum())


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max(initial=0.0))


def _is_near(probability: np.ndarray, cuts: tuple[float, ...]) -> np.ndarray:
    gaps = np.abs(probability[:, np.newaxis] - np.array(cuts))
    return gaps.min(axis=1) <= TOLERANCES["cut_point"]


def _padded(chunk: pl.DataFrame) -> pl.DataFrame:
    """Rows repeated up to a multiple of the engine's padding."""
    missing = -chunk.height % PADDED_ROWS
    return chunk.select(pl.all().gather([*range(chunk.height), *[0] * missing]))


def parity_problems(figures: Mapping[str, Any]) -> Iterator[str]:
    """Which figures of `check_parity` exceed `TOLERANCES`, in words."""
    nouns = {"probability": "probabilities", "margin": "margins", "impact": "impacts"}
    for name, noun in nouns.items():
        difference = figures[f"max_{name}_difference"]
        if not difference <= TOLERANCES[name]:
            yield f"{noun} differ by up to {difference:.3g}, allowed {TOLERANCES[name]}"
    for name, value in figures.items():
        if name.startswith("changed_") and value:
            yield f"{name.removeprefix('changed_')}: {pluralize(value, 'user')} changed, allowed 0"
