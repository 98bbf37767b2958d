"""The package versions that decide the bytes of an output."""

import platform
from importlib.metadata import version


def running_versions() -> dict[str, str]:
    """The versions that decide the bytes of an output."""
    packages = ("shopnow-scoring", "polars", "onnxruntime", "numpy")
    return {**{name: version(name) for name in packages}, "python": platform.python_version()}
