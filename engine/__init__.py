"""Batch scoring of users with an ONNX bundle, on Polars and ONNX Runtime."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import engine.forks  # noqa: F401 - it notes forks from now on

# NOTE: on Linux and macOS ONNX Runtime (1.29 and later) sends usage data and stores a machine id in the
# home directory, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from engine.bundle.schema import FeatureSchema as FeatureSchema
    from engine.errors import EngineError as EngineError
    from engine.options import ScoreOptions as ScoreOptions
    from engine.outputs.summary import Summary as Summary
    from engine.pipeline import score as score
    from engine.scorer import load_bundle as load_bundle

# Resolved at first use, so that `engine --help` does not load Polars and ONNX Runtime.
_HOMES = {
    "EngineError": "engine.errors",
    "FeatureSchema": "engine.bundle.schema",
    "ScoreOptions": "engine.options",
    "Summary": "engine.outputs.summary",
    "load_bundle": "engine.scorer",
    "score": "engine.pipeline",
}
__all__ = ["EngineError", "FeatureSchema", "ScoreOptions", "Summary", "load_bundle", "score"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one of several public types
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
