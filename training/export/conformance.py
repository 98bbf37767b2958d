"""Conformance files for a bundle: ONNX test data, and one JSON that any language reads.

Expected outputs are those of `scorer.onnx` on this machine, once its rows have passed parity: engine
and `scorer.onnx` equal to the bit, the native models within tolerance.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from onnx import numpy_helper

from engine.bundle.open import CONFORMANCE, CONFORMANCE_INPUT, CONFORMANCE_OUTPUT, SCORER, Bundle
from engine.bundle.reference import Reference
from engine.model.conformance import CORE_ROWS, TOLERANCES
from engine.model.session import load_graph
from engine.rows.typed import named_inputs
from training.export.conformance_rows import conformance_rows
from training.export.parity import check_rows
from training.export.scorer import OUTPUTS
from training.model.classifier import Classifier
from training.segments.segments import Segmentation

NATIVE_FIGURES = ("max_probability_difference", "max_margin_difference", "max_impact_difference")


def conformance_contents(
    bundle: Bundle,
    reference: Reference,
    classifier: Classifier,
    segmentation: Segmentation,
    seed: int,
) -> dict[str, bytes]:
    """The bytes of the files in `conformance/`, by name.

    Args:
        bundle: Its graphs and its manifest, before it is written.
        reference: Histograms of the training users.
        classifier: The native purchase model.
        segmentation: The native segments.
        seed: Of the random draws.

    Raises:
        SelfCheckError: Engine, `scorer.onnx` and the native models differ on a row.
    """
    typed = conformance_rows(bundle, reference, classifier.effects, seed)
    parity = check_rows(bundle, typed, classifier, segmentation)
    inputs = named_inputs(typed, bundle.manifest.schema.model_features)
    found = load_graph(bundle, SCORER).run(list(OUTPUTS), inputs)
    outputs = dict(zip(OUTPUTS, found, strict=True))
    document = {
        "bundle_id": bundle.manifest.bundle_id,
        "rows": typed.height,
        "core_rows": min(CORE_ROWS, typed.height),
        "tolerances": TOLERANCES,
        "native": {name: parity[name] for name in NATIVE_FIGURES},
        "inputs": {column.name: _plain(column) for column in typed},
        "outputs": {name: _nested(values) for name, values in outputs.items()},
    }
    return {
        CONFORMANCE: json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n",
        **_tensors(CONFORMANCE_INPUT, inputs),
        **_tensors(CONFORMANCE_OUTPUT, outputs),
    }


def _tensors(names: str, values: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """A TensorProto for each value, by the name of its file."""
    return {
        names.format(n): numpy_helper.from_array(value, name).SerializeToString(deterministic=True)
        for n, (name, value) in enumerate(values.items())
    }


def _plain(column: pl.Series) -> list[Any]:
    """Numbers as the shortest text that gives the same float32; texts as they are; null if missing."""
    if column.dtype == pl.Float32:
        # NOTE: JSON is written from doubles: the one whose text is that shortest text.
        return column.cast(pl.String).cast(pl.Float64).to_list()
    return column.to_list()


def _nested(values: np.ndarray) -> list[Any]:
    """Lists in the shape of the tensor."""
    flat = _plain(pl.Series(np.ascontiguousarray(values).ravel()))
    nested: list[Any] = np.array(flat, object).reshape(values.shape).tolist()
    return nested
