"""A bundle as a model repository of Triton, which MLServer serves over the same protocol."""

import json
from pathlib import Path

from engine.bundle.graphs import FLOAT, INT64, TEXT, TensorSpec, signatures
from engine.bundle.open import SCORER, Bundle

GRAPH = "1/model.onnx"
"""Where Triton looks for the first version of a model."""

MLSERVER_RUNTIME = Path(__file__).with_name("mlserver_runtime.py")
"""Copied, never imported: it needs mlserver."""

_TYPES = {FLOAT: "TYPE_FP32", INT64: "TYPE_INT64", TEXT: "TYPE_STRING"}


def write_triton_repository(folder: Path, bundle: Bundle) -> None:
    """Write `scorer.onnx` as the only model of a repository, named as the bundle.

    Triton reads `config.pbtxt`, MLServer `model-settings.json`.

    Args:
        folder: The repository, absent.
        bundle: An opened bundle.
    """
    name, _, _ = bundle.manifest.bundle_id.partition("/")
    settings = {"name": name, "implementation": f"{MLSERVER_RUNTIME.stem}.OnnxModel"}
    contents = {
        GRAPH: bundle.contents[SCORER],
        "config.pbtxt": triton_config(name, bundle).encode(),
        "model-settings.json": f"{json.dumps(settings)}\n".encode(),
        MLSERVER_RUNTIME.name: MLSERVER_RUNTIME.read_bytes(),
    }
    for path, content in contents.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def triton_config(name: str, bundle: Bundle) -> str:
    """The text of `config.pbtxt`.

    Triton does not batch: with `max_batch_size: 0` every shape has its own dimension of rows, and a
    request is one run of the graph. Requests that are merged by chance would change the last bits.

    Args:
        name: The name of the model.
        bundle: An opened bundle.
    """
    signature = signatures(bundle.manifest)[SCORER]
    return "\n".join(
        [
            f"name: {_text(name)}",
            'backend: "onnxruntime"',
            "max_batch_size: 0",
            *_tensors("input", signature.inputs),
            *_tensors("output", signature.outputs),
            "instance_group [ { kind: KIND_CPU } ]",
            "parameters [",
            f'  {{ key: "bundle_id" value: {{ string_value: {_text(bundle.manifest.bundle_id)} }} }}',
            "]",
            "",
        ]
    )


def _tensors(field: str, specs: tuple[TensorSpec, ...]) -> list[str]:
    lines = [
        f"  {{ name: {_text(spec.name)} data_type: {_TYPES[spec.type]} dims: {_dims(spec)} }}"
        for spec in specs
    ]
    return [f"{field} [", *(f"{line}," for line in lines[:-1]), lines[-1], "]"]


def _dims(spec: TensorSpec) -> list[int]:
    """The sizes of a tensor, -1 for rows."""
    return [-1 if isinstance(size, str) else size for size in spec.shape]


def _text(value: str) -> str:
    """A quoted text; the format escapes what JSON does."""
    return json.dumps(value, ensure_ascii=False)
