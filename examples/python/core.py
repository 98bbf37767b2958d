"""Runs core.onnx in runtimes without texts: python core.py openvino|tract BUNDLE DRAWS.

The program makes the codes of categories itself, from the tables of the manifest. Exits with 1 if a
conformance row fails. Needs numpy and the runtime.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from conformance import report

GRAPH = "core.onnx"
"""The graph to embed: one tensor of features in, every output out."""

OUTPUTS = (
    "margin",
    "probability",
    "impacts",
    "driver_index",
    "driver_impact",
    "segment",
    "distances",
)
"""In the order of the graph, by which tract knows them."""


def run_openvino(graph: Path, features: np.ndarray) -> dict[str, np.ndarray]:
    """Run OpenVINO on the CPU, in full precision."""
    import openvino

    model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = model(features)
    return {name: found[name] for name in OUTPUTS}


def run_tract(graph: Path, features: np.ndarray) -> dict[str, np.ndarray]:
    """Run tract, an inference engine in Rust, through its package for Python."""
    import tract

    model = tract.onnx().load(str(graph))
    model.set_input_fact(0, f"{','.join(map(str, features.shape))},f32")
    found = model.into_model().into_runnable().run([features])
    return {name: tensor.to_numpy() for name, tensor in zip(OUTPUTS, found, strict=True)}


RUNTIMES: dict[str, Callable[[Path, np.ndarray], dict[str, np.ndarray]]] = {
    "openvino": run_openvino,
    "tract": run_tract,
}


def main(runtime: str, bundle: Path, draws: Path) -> bool:
    """Check the bundle in one runtime; gives whether every row is reproduced."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    rows = json.loads((bundle / "conformance/conformance.json").read_text(encoding="utf-8"))
    found = RUNTIMES[runtime](bundle / GRAPH, features(manifest, rows["inputs"]))
    return report(f"{runtime} {version(runtime)}", rows, found, draws)


def features(manifest: dict, columns: dict[str, list]) -> np.ndarray:
    """The tensor [rows, features], for users given as one column of values per feature.

    A category is its place in the manifest's table, from 0; NaN if it is missing or not there.
    """
    tables = manifest["categories"]
    coded = [codes(values, tables.get(name)) for name, values in columns.items()]
    return np.ascontiguousarray(np.array(coded, np.float32).T)


def codes(values: list, table: list[str] | None) -> list[float]:
    """A column as numbers; `table` has the values of a category."""
    if table is None:
        return [np.nan if value is None else value for value in values]
    places = {value: float(place) for place, value in enumerate(table)}
    return [places.get(value, np.nan) for value in values]


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in RUNTIMES:
        sys.exit(f"usage: python core.py {'|'.join(RUNTIMES)} BUNDLE DRAWS")
    sys.exit(not main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
