"""Runs every conformance row of a bundle in ONNX Runtime: python check.py BUNDLE DRAWS.

Exits with 1 if a row fails. Needs onnxruntime and numpy, nothing of this project.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

GRAPH = "scorer.onnx"
"""The graph to embed: one column per feature in, every output out."""


def main(bundle: Path, draws: Path) -> bool:
    """Print the largest difference of each output; gives whether all are small enough."""
    rows = json.loads((bundle / "conformance/conformance.json").read_text(encoding="utf-8"))
    drawn = json.loads(draws.read_text(encoding="utf-8"))
    session = ort.InferenceSession(bundle / GRAPH)
    found = score(session, rows["inputs"])
    print(f"onnxruntime {ort.__version__}")
    print(f"{rows['bundle_id']}: {rows['rows']} conformance rows")
    passed = all(draw(text) == expected for text, expected in drawn.items())
    verdict = verdict_of(passed)
    for name, allowed in rows["tolerances"].items():
        worst = difference(np.array(rows["outputs"][name], found[name].dtype), found[name])
        passed &= worst <= allowed
        print(
            f"{name:14} worst difference {worst:.2e}, allowed {allowed}: {verdict_of(worst <= allowed)}"
        )
    print(f"draws of control group and arms: {verdict}")
    return passed


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


def difference(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, relative for numbers above 1; NaN never counts as close."""
    if expected.shape != found.shape:
        return np.inf
    share = np.abs(found.astype(float) - expected) / np.maximum(1, np.abs(expected))
    return np.nan_to_num(share, nan=np.inf).max()


def draw(text: str) -> int:
    """A number from 0 to 2^32 - 1: the first 8 hex digits of SHA-256.

    A user is in the control group if `draw("control-v1:" + id) < share * 2**32`, and in the first arm
    whose cumulated share exceeds `draw("arm-v1:" + campaign + ":" + id) / 2**32`.
    """
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def verdict_of(good: bool) -> str:
    """What is printed."""
    return "ok" if good else "WRONG"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python check.py BUNDLE DRAWS")
    sys.exit(not main(*map(Path, sys.argv[1:])))
