"""The ways to score and to explain users that are timed against one another, on one tensor.

Each is made ready first; what is timed is one call, with two threads.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import onnxmltools
import onnxruntime as ort
from onnxmltools.convert.common.data_types import FloatTensorType

from benchmarks.contenders import ROOT
from engine.bundle.manifest import Calibration
from engine.model.threads import in_order
from engine.options import ScoreOptions
from training.export.drivers import drivers_graph
from training.model.shapley.effects import model_effects

THREADS = 2
# As engine/model/session.py: what a slice needs stays in the core's own cache.
SLICE_ROWS = 2_048
FAST_ROUNDS, SLOW_ROUNDS = 5, 3
# LightGBM's TreeSHAP and shap take so few of the rows; their time is scaled up.
SLOW_ROWS = 12_000
OUTPUTS = ("margin", "probability", "impacts", "driver_index", "driver_impact")
OTHER_PYTHON = ROOT / "build" / "contenders" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that every contender runs; `path` and `features_path` are its text and a .npy file."""

    title: str
    path: Path
    booster: lgb.Booster
    calibration: Calibration
    graph: bytes
    features: np.ndarray
    features_path: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """One way; `run` makes one call and gives the seconds that it took."""

    title: str
    gives: str
    run: Callable[[], float]
    rows: int
    rounds: int = FAST_ROUNDS


def compiled(booster: lgb.Booster, calibration: Calibration, feature_count: int) -> bytes:
    """This project's graph of a model."""
    effects = model_effects(booster, calibration, feature_count)
    return drivers_graph(effects, feature_count).SerializeToString()


def run_graph(
    session: ort.InferenceSession, outputs: Sequence[str], features: np.ndarray
) -> list[list[np.ndarray]]:
    """Run a graph as the engine does: chunks side by side, each in slices; outputs by chunk."""

    def run(chunk: np.ndarray) -> list[np.ndarray]:
        slices = [
            session.run(outputs, {"features": chunk[start : start + SLICE_ROWS]})
            for start in range(0, len(chunk), SLICE_ROWS)
        ]
        return [np.concatenate(parts) for parts in zip(*slices, strict=True)]

    size = ScoreOptions().chunk_rows
    chunks = [features[start : start + size] for start in range(0, len(features), size)]
    return list(in_order(run, chunks, THREADS))


def onnxmltools_graph(booster: lgb.Booster) -> bytes:
    """The usual converter's graph: the score only."""
    entry = [("features", FloatTensorType([None, booster.num_feature()]))]
    return onnxmltools.convert_lightgbm(
        booster, initial_types=entry, zipmap=False
    ).SerializeToString()


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """The same call, giving its seconds."""

    def run() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return run


class Worker:
    """benchmarks/worker.py in its own environment; does one call per line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(OTHER_PYTHON), str(ROOT / "benchmarks" / "worker.py"), str(THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
        )

    def run(self, kind: str, model: Model, rows: int, out: Path | str = "") -> float:
        """One call; its result goes to `out`, a .npy file."""
        line = "\t".join(map(str, (kind, model.path, model.features_path, rows, out)))
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{kind}: the worker stopped; see what it wrote above.")
        return float(answer)

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()


def is_installed(module: str) -> bool:
    """Whether the environment of `make bench-contenders` has a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return OTHER_PYTHON.exists() and not subprocess.run([str(OTHER_PYTHON), "-c", code]).returncode
