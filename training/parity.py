"""ONNX through the engine against the native models, on every row: the gate of every export.

The native models are LightGBM and scikit-learn in double precision, on the same float32 numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl

from engine.bundle import SCORER, Bundle, Manifest
from engine.errors import SelfCheckError, counted
from engine.pipeline import available_cores, in_order
from engine.schema import Feature
from engine.scores import above
from engine.session import PADDED_ROWS, Session, load_graph
from engine.tensors import to_features
from training.fit.classifier import Classifier, calibrated
from training.fit.segments import Segmentation

TOLERANCES = {"probability": 1e-6, "cut_point": 1e-6, "distance": 1e-5}
"""Largest difference of a probability; how near to a cut-point a user may change sides; how near
in distance two segments may be for a user to change between them."""

CHUNK_ROWS = 8_192
CHUNK_SIZES = (1, 7, 127, 1_000)
CHUNKS_CHECKED = 100


@dataclass(frozen=True, slots=True)
class Scored:
    """What one way of scoring says: `probability` float [rows], `segment` int64 [rows]."""

    probability: np.ndarray
    segment: np.ndarray


@dataclass(frozen=True, slots=True)
class Native:
    """What the native models say, in double precision.

    Attributes:
        scored: Probabilities and segment ids.
        tied: Whether two segments are nearly equally near, bool [rows].
    """

    scored: Scored
    tied: np.ndarray


def check_parity(
    bundle: Bundle, typed: pl.DataFrame, classifier: Classifier, segmentation: Segmentation
) -> dict[str, Any]:
    """Compare the engine, `scorer.onnx` and the native models on all rows.

    Args:
        bundle: The bundle, before it is written.
        typed: Users, what `tensors.to_typed` gives.
        classifier: The native purchase model.
        segmentation: The native segments.

    Returns:
        The figures of the comparison.

    Raises:
        SelfCheckError: They differ by more than `TOLERANCES` allow.
    """
    manifest = bundle.manifest
    features = to_features(typed, manifest.schema.model_features, manifest.categories)
    session = Session(bundle)
    fast = run_engine(session, features)
    named = run_scorer(load_graph(bundle, SCORER), typed, manifest.schema.model_features)
    native = run_native(features, classifier, segmentation)
    figures = {
        "rows": typed.height,
        "tolerances": TOLERANCES,
        **compare(fast, native, manifest),
        "changed_in_scorer": _different_bits(fast, named),
        "changed_by_chunk": chunk_differences(session, features, fast),
    }
    _refuse_failures(figures, manifest.bundle_id)
    return figures


def run_engine(session: Session, features: np.ndarray) -> Scored:
    """Score with the engine's own path, chunk by chunk on all cores."""
    chunks = (features[i : i + CHUNK_ROWS] for i in range(0, len(features), CHUNK_ROWS))
    found = list(in_order(session.run, chunks, available_cores()))
    return Scored(
        np.concatenate([f.probability for f in found]), np.concatenate([f.segment for f in found])
    )


def run_scorer(
    graph: ort.InferenceSession, typed: pl.DataFrame, features: tuple[Feature, ...]
) -> Scored:
    """Score with `scorer.onnx`: one input for each feature, categories as text."""

    def run(chunk: pl.DataFrame) -> Scored:
        inputs = named_inputs(_padded(chunk), features)
        probability, segment = graph.run(["probability", "segment"], inputs)
        return Scored(probability[: chunk.height, 0], segment[: chunk.height])

    found = list(in_order(run, typed.iter_slices(CHUNK_ROWS), available_cores()))
    return Scored(
        np.concatenate([f.probability for f in found]), np.concatenate([f.segment for f in found])
    )


def named_inputs(typed: pl.DataFrame, features: tuple[Feature, ...]) -> dict[str, np.ndarray]:
    """The inputs of `scorer.onnx`: float32 or text [rows, 1], NaN or "" where missing."""
    return {
        f.name: (
            typed[f.name].fill_null(float("nan")).to_numpy()
            if f.kind == "numeric"
            else typed[f.name].fill_null("").to_numpy().astype(object)
        ).reshape(-1, 1)
        for f in features
    }


def run_native(features: np.ndarray, classifier: Classifier, segmentation: Segmentation) -> Native:
    """Score with LightGBM and scikit-learn in double precision."""
    points = segmentation.space.coordinates(features)
    ids = np.array([segment.id for segment in segmentation.segments])
    distances = segmentation.model.transform(points)
    if distances.shape[1] > 1:
        nearest = np.partition(distances, 1, axis=1)
        tied = nearest[:, 1] - nearest[:, 0] <= TOLERANCES["distance"]
    else:
        tied = np.zeros(len(points), dtype=bool)
    probability = calibrated(classifier.booster, classifier.calibration, features)
    return Native(Scored(probability, ids[segmentation.model.predict(points)]), tied)


def compare(fast: Scored, native: Native, manifest: Manifest) -> dict[str, Any]:
    """Count the users about whom two ways of scoring say different things."""
    p, reference = fast.probability.astype(np.float64), native.scored.probability
    figures: dict[str, Any] = {
        "max_probability_difference": float(np.abs(p - reference).max(initial=0.0)),
        "mean_probability_difference": float(np.abs(p - reference).mean()),
    }
    cuts = {
        "will_purchase": (manifest.threshold,),
        "decile": manifest.decile_cuts,
        "band": manifest.band_cuts,
    }
    for name, values in cuts.items():
        near = _is_near(reference, values)
        changed = above(values, fast.probability) != np.searchsorted(values, reference, "right")
        figures[f"changed_{name}"] = int((changed & ~near).sum())
        figures[f"near_{name}_cut"] = int(near.sum())
    changed = fast.segment != native.scored.segment
    figures["changed_segment"] = int((changed & ~native.tied).sum())
    figures["near_segment_border"] = int(native.tied.sum())
    return figures


def chunk_differences(session: Session, features: np.ndarray, whole: Scored) -> int:
    """How many users score differently, to the last bit, for the size of the chunk they are in."""
    changed = 0
    for size in CHUNK_SIZES:
        rows = min(len(features), CHUNKS_CHECKED * size)
        expected = Scored(whole.probability[:rows], whole.segment[:rows])
        changed += _different_bits(_in_chunks(session, features[:rows], size), expected)
    return changed


def _in_chunks(session: Session, features: np.ndarray, size: int) -> Scored:
    found = [session.run(features[i : i + size]) for i in range(0, len(features), size)]
    return Scored(
        np.concatenate([f.probability for f in found]), np.concatenate([f.segment for f in found])
    )


def _different_bits(one: Scored, other: Scored) -> int:
    bits = one.probability.view(np.uint32) != other.probability.view(np.uint32)
    return int((bits | (one.segment != other.segment)).sum())


def _is_near(probability: np.ndarray, cuts: tuple[float, ...]) -> np.ndarray:
    gaps = np.abs(probability[:, np.newaxis] - np.array(cuts))
    return gaps.min(axis=1) <= TOLERANCES["cut_point"]


def _padded(chunk: pl.DataFrame) -> pl.DataFrame:
    """Rows repeated up to a multiple of the engine's padding."""
    missing = -chunk.height % PADDED_ROWS
    return chunk.select(pl.all().gather([*range(chunk.height), *[0] * missing]))


def _problems(figures: dict[str, Any]) -> Iterator[str]:
    difference = figures["max_probability_difference"]
    if not difference <= TOLERANCES["probability"]:
        yield f"probabilities differ by up to {difference:.3g}, allowed {TOLERANCES['probability']}"
    for name, value in figures.items():
        if name.startswith("changed_") and value:
            yield f"{name.removeprefix('changed_')}: {counted(value, 'user')} changed, allowed 0"


def _refuse_failures(figures: dict[str, Any], bundle_id: str) -> None:
    problems = list(_problems(figures))
    if problems:
        raise SelfCheckError(
            f"{bundle_id}: ONNX and the native models differ on {figures['rows']:,} users: "
            f"{'; '.join(problems)}. Nothing was written; report this with the versions in use."
        )
