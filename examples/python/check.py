"""Runs every conformance row of a bundle in ONNX Runtime: python check.py BUNDLE DRAWS.

Exits with 1 if a row fails. Needs onnxruntime and numpy, nothing of this project.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from conformance import report

GRAPH = "scorer.onnx"
"""The graph to embed: one column per feature in, every output out."""


def main(bundle: Path, draws: Path) -> bool:
    """Check a bundle; gives whether every row is reproduced."""
    rows = json.loads((bundle / "conformance/conformance.json").read_text(encoding="utf-8"))
    session = ort.InferenceSession(bundle / GRAPH)
    return report(f"onnxruntime {ort.__version__}", rows, score(session, rows["inputs"]), draws)


def score(session: ort.InferenceSession, columns: dict[str, list]) -> dict[str, np.ndarray]:
    """Every output by name, for users given as one column of values per feature."""
    feeds = {tensor.name: column(tensor, columns[tensor.name]) for tensor in session.get_inputs()}
    names = [tensor.name for tensor in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def column(tensor: ort.NodeArg, values: list) -> np.ndarray:
    """A tensor [rows, 1]; a missing value is NaN or an empty text."""
    if tensor.type == "tensor(string)":
        return np.array([[value or ""] for value in values], object)
    return np.array([[np.nan if value is None else value] for value in values], np.float32)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python check.py BUNDLE DRAWS")
    sys.exit(not main(*map(Path, sys.argv[1:])))
