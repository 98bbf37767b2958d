"""Conformance rows: made-up users, and the outputs that every runtime must produce for them.

Intact files do not prove a correct runtime: ONNX Runtime 1.26.0 gave wrong probabilities for valid
graphs (https://github.com/microsoft/onnxruntime/issues/28557).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import polars as pl

from engine.bundle import wire
from engine.bundle.graphs import FLOAT, INT64, TEXT, TensorSpec, signatures
from engine.bundle.manifest import Manifest
from engine.bundle.open import CONFORMANCE_INPUT, CONFORMANCE_OUTPUT, SCORER, Bundle
from engine.errors import BundleError, SelfCheckError, pluralize
from engine.model.session import CLASSIFIER_OUTPUTS, Session
from engine.rows.typed import to_features

CORE_ROWS = 256
"""The number of first rows that are checked at every start."""

TOLERANCES = {
    "margin": 1e-5,
    "probability": 1e-6,
    "impacts": 1e-5,
    "driver_index": 1e-5,
    "driver_impact": 1e-5,
    "segment": 1e-5,
    "distances": 1e-5,
}
"""The largest allowed difference of each output, relative for numbers above 1.

A driver may be any feature with as large an impact as the expected one, and a segment any that is as
near as the nearest."""

_ELEMENTS = {FLOAT: wire.FLOAT, INT64: wire.INT64, TEXT: wire.TEXT}

Outputs = Mapping[str, np.ndarray]
"""Outputs of `scorer.onnx` by name, each [rows, ...]."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Inputs and expected outputs of some rows.

    Attributes:
        inputs: Typed columns as from `typed.to_typed`: Float32 or String, null if missing.
        outputs: The expected outputs of `scorer.onnx`.
        segments: The segment ids in the order of `distances`.
    """

    inputs: pl.DataFrame
    outputs: Outputs
    segments: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.inputs.height


def read_vectors(bundle: Bundle, rows: int | None = None) -> Vectors:
    """The conformance rows of a bundle.

    Args:
        bundle: An opened bundle.
        rows: How many rows to read; None reads all.

    Raises:
        BundleError: They do not match this bundle's `scorer.onnx`.
    """
    signature = signatures(bundle.manifest)[SCORER]
    inputs, outputs = (
        {
            spec.name: _read_values(bundle, names.format(n), spec, rows)
            for n, spec in enumerate(specs)
        }
        for names, specs in (
            (CONFORMANCE_INPUT, signature.inputs),
            (CONFORMANCE_OUTPUT, signature.outputs),
        )
    )
    found = sorted({len(values) for values in (*inputs.values(), *outputs.values())})
    if len(found) != 1 or found == [0]:
        raise BundleError(
            f"{bundle.path}: conformance files of {found} rows, expected one positive number. "
            "Copy the bundle again."
        )
    columns = {name: _input_column(values) for name, values in inputs.items()}
    ids = tuple(segment.id for segment in bundle.manifest.segments)
    return Vectors(pl.DataFrame(columns), outputs, ids)


def check_core(bundle: Bundle, session: Session) -> None:
    """Score the first conformance rows on the engine's own path.

    Raises:
        SelfCheckError: This machine's results differ.
    """
    vectors = read_vectors(bundle, CORE_ROWS)
    worst = differences(vectors, run_engine(bundle.manifest, session, vectors))
    refuse_differences(worst, vectors.rows, bundle.manifest.bundle_id)


def run_engine(manifest: Manifest, session: Session, vectors: Vectors) -> dict[str, np.ndarray]:
    """The engine's outputs for conformance rows; it computes no `distances`."""
    features = to_features(vectors.inputs, manifest.schema.model_features, manifest.categories)
    predictions = session.run(features)
    found = {name: getattr(predictions, name) for name in (*CLASSIFIER_OUTPUTS, "segment")}
    return found | {name: found[name][:, np.newaxis] for name in ("margin", "probability")}


def differences(vectors: Vectors, found: Outputs) -> dict[str, float]:
    """The largest difference found of each output, by the rules of `TOLERANCES`.

    Args:
        vectors: The expected outputs.
        found: Outputs for the same rows.
    """
    return {name: _difference(vectors, name, found[name]) for name in TOLERANCES if name in found}


def refuse_differences(worst: Mapping[str, float], rows: int, where: str) -> None:
    """Refuse outputs that differ too much.

    Args:
        worst: The result of `differences`.
        rows: How many rows were compared.
        where: The path that produced the outputs; it begins the message.

    Raises:
        SelfCheckError: An output differs by more than `TOLERANCES` allow.
    """
    wrong = [
        f"{name} by {value:.3g} (allowed {TOLERANCES[name]:g})"
        for name, value in worst.items()
        if not value <= TOLERANCES[name]
    ]
    if wrong:
        raise SelfCheckError(
            f"{where}: {pluralize(len(wrong), 'output')} of {len(worst)} not as expected on "
            f"{pluralize(rows, 'conformance row')} with ONNX Runtime {ort.__version__}: "
            f"{', '.join(wrong)}. Do not use these scores; see: engine verify"
        )


def _difference(vectors: Vectors, name: str, found: np.ndarray) -> float:
    expected = vectors.outputs[name]
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return np.inf
    if name == "driver_index":
        return _driver_difference(vectors, found)
    if name == "segment":
        return _segment_difference(vectors, found)
    return _largest(found.astype(np.float64) - expected, expected)


def _driver_difference(vectors: Vectors, index: np.ndarray) -> float:
    """The differences between the impacts of the named drivers and those expected."""
    size = np.abs(vectors.outputs["impacts"].astype(np.float64))
    repeated = (np.diff(np.sort(index, axis=1), axis=1) == 0).any()
    if repeated or index.min(initial=0) < 0 or index.max(initial=0) >= size.shape[1]:
        return np.inf
    expected = np.abs(vectors.outputs["driver_impact"])
    return _largest(np.take_along_axis(size, index, axis=1) - expected, expected)


def _segment_difference(vectors: Vectors, segment: np.ndarray) -> float:
    """How much farther away the named segments are than the nearest."""
    named = segment[:, np.newaxis] == np.array(vectors.segments)
    if not named.any(axis=1).all():
        return np.inf
    distances = vectors.outputs["distances"].astype(np.float64)
    nearest = distances.min(axis=1)
    return _largest(distances[named] - nearest, nearest)


def _largest(difference: np.ndarray, expected: np.ndarray) -> float:
    shares = np.abs(difference) / np.maximum(1, np.abs(expected))
    # NaN is never an allowed difference.
    return float(np.where(np.isnan(shares), np.inf, shares).max(initial=0))


def _read_values(bundle: Bundle, name: str, spec: TensorSpec, rows: int | None) -> np.ndarray:
    """The vectors of one input or output: float32, int64, or texts as objects, [rows, ...]."""
    if name not in bundle.contents:
        raise BundleError(f"{bundle.path / name}: not listed. Copy the bundle again.")
    tensor = wire.read_tensor(bundle.contents[name], str(bundle.path / name))
    wanted = (spec.name, _ELEMENTS[spec.type], spec.shape[1:])
    if (tensor.name, tensor.element, tensor.shape[1:]) != wanted:
        raise BundleError(
            f"{bundle.path / name}: {tensor.name!r} of element type {tensor.element} and shape "
            f"{list(tensor.shape)}, expected {spec}. Copy the bundle again."
        )
    if spec.type == TEXT:
        return np.array([str(t, "utf-8", "replace") for t in tensor.texts[:rows]], object)
    dtype = np.float32 if spec.type == FLOAT else np.int64
    return np.frombuffer(tensor.raw, dtype).reshape(tensor.shape)[:rows]


def _input_column(values: np.ndarray) -> pl.Series:
    """float32 [rows, 1] or texts [rows], with null for NaN and empty texts."""
    if values.dtype == object:
        texts = pl.Series(values, dtype=pl.String)
        return texts.set(texts == "", None)
    return pl.Series(values[:, 0], nan_to_null=True)
