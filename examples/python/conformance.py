"""Compares outputs for conformance rows with what a bundle expects; prints the largest differences."""

import hashlib
import json
from pathlib import Path

import numpy as np


def report(runtime: str, rows: dict, found: dict[str, np.ndarray], draws: Path) -> bool:
    """Print the largest difference of each output; gives whether all are small enough.

    Args:
        runtime: Its name and version.
        rows: The conformance rows.
        found: The outputs for them, by name.
        draws: A file of texts with the numbers that `draw` must give.
    """
    print(runtime)
    print(f"{rows['bundle_id']}: {rows['rows']} conformance rows")
    passed = True
    for name, allowed in rows["tolerances"].items():
        worst = difference(np.array(rows["outputs"][name], found[name].dtype), found[name])
        passed &= worst <= allowed
        print(
            f"{name:14} worst difference {worst:.2e}, allowed {allowed}: {verdict_of(worst <= allowed)}"
        )
    drawn = json.loads(draws.read_text(encoding="utf-8"))
    same = all(draw(text) == expected for text, expected in drawn.items())
    print(f"draws of control group and arms: {verdict_of(same)}")
    return passed and same


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
