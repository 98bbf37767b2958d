"""What a bundle's graphs may contain: versions, operators, inputs and outputs.

`check_operators` reads the bytes before ONNX Runtime loads them; `signatures` gives the inputs and
outputs that ONNX Runtime must then find. The hashes of the manifest protect against changes; these
checks protect against bundles that were made wrongly or by others.
"""

from dataclasses import dataclass
from itertools import count

from engine.bundle.manifest import DRIVERS, Manifest
from engine.bundle.open import CLASSIFIER, CORE, PREPROCESS, SCORER, SEGMENTER
from engine.bundle.wire import Model, read_model
from engine.errors import BundleError, VersionError, pluralize, quoted

IR_VERSION = 8
OPSETS = {"": 17, "ai.onnx.ml": 3}
"""The newest allowed version of each operator set; other sets are refused."""

OPERATORS = {
    "": frozenset(
        {
            *("Abs", "Add", "And", "ArgMin", "Cast", "Concat", "Div", "Exp", "Gather"),
            *("GatherElements", "Gemm", "Greater", "IsNaN", "LessOrEqual", "Log", "MatMulInteger"),
            *("Max", "Mul", "Neg", "Not", "QuantizeLinear", "Reciprocal", "ReduceSum"),
            *("ReduceSumSquare", "Reshape", "Sigmoid", "Slice", "Sqrt", "Sub", "TopK"),
            *("Transpose", "Unsqueeze", "Where"),
        }
    ),
    "ai.onnx.ml": frozenset({"LabelEncoder"}),
}
"""The operators that the export uses. None takes a subgraph, reads a file or makes a tensor of any size."""

FLOAT, INT64, TEXT = "tensor(float)", "tensor(int64)", "tensor(string)"
"""Types of tensors, as ONNX Runtime names them."""

BATCH = "batch"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a graph: name, type, and sizes or their names."""

    name: str
    type: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name!r} of type {self.type} and shape {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and the outputs of a graph, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def signatures(manifest: Manifest) -> dict[str, Signature]:
    """The inputs and outputs that each graph of a bundle must have, by the name of its file."""
    features = manifest.schema.model_features
    width, drivers = len(features), min(DRIVERS, len(features))
    named = tuple(
        TensorSpec(f.name, FLOAT if f.kind == "numeric" else TEXT, (BATCH, 1)) for f in features
    )
    tensor = (TensorSpec("features", FLOAT, (BATCH, width)),)
    scores = (
        TensorSpec("margin", FLOAT, (BATCH, 1)),
        TensorSpec("probability", FLOAT, (BATCH, 1)),
        TensorSpec("impacts", FLOAT, (BATCH, width)),
        TensorSpec("driver_index", INT64, (BATCH, drivers)),
        TensorSpec("driver_impact", FLOAT, (BATCH, drivers)),
    )
    segments = (
        TensorSpec("segment", INT64, (BATCH,)),
        TensorSpec("distances", FLOAT, (BATCH, len(manifest.segments))),
    )
    return {
        PREPROCESS: Signature(named, tensor),
        CLASSIFIER: Signature(tensor, scores),
        SEGMENTER: Signature(tensor, segments),
        CORE: Signature(tensor, scores + segments),
        SCORER: Signature(named, scores + segments),
    }


def check_operators(content: bytes, where: str) -> Model:
    """Check versions and operators of a graph before ONNX Runtime loads it.

    Args:
        content: The bytes of the file.
        where: The file; it begins the message of an error.

    Returns:
        Its versions and operators.

    Raises:
        BundleError: It is not ONNX, or holds something that is not allowed.
        VersionError: It needs a newer ONNX than this engine reads.
    """
    model = read_model(content, where)
    _check_versions(model, where)
    unknown = sorted(
        {
            f"{domain or 'ai.onnx'}.{kind}"
            for domain, kind in model.operators
            if kind not in OPERATORS.get(domain, ())
        }
    )
    if unknown:
        raise BundleError(
            f"{where}: {pluralize(len(unknown), 'operator')} that no bundle has: {quoted(unknown)}. "
            "Do not use this bundle; train again."
        )
    return model


def check_signature(wanted: Signature, found: Signature, where: str) -> None:
    """Check the inputs and outputs that ONNX Runtime found in a graph.

    Raises:
        BundleError: They differ from those of the manifest.
    """
    for kind, specs, others in (
        ("input", wanted.inputs, found.inputs),
        ("output", wanted.outputs, found.outputs),
    ):
        if specs != others:
            n = next(n for n in count() if specs[n : n + 1] != others[n : n + 1])
            is_there, due = ("".join(map(str, s[n : n + 1])) or "none" for s in (others, specs))
            raise BundleError(
                f"{where}: {pluralize(len(others), kind)}, expected {len(specs)}; {kind} {n} is "
                f"{is_there}, expected {due}. Copy the bundle again."
            )


def _check_versions(model: Model, where: str) -> None:
    domains = [domain for domain, _ in model.opsets]
    if not {""} <= set(domains) <= set(OPSETS) or len(set(domains)) < len(domains):
        raise BundleError(
            f"{where}: imports the operators of {quoted(domains)}, expected 'ai.onnx' (or '') and "
            "'ai.onnx.ml', each once. Do not use this bundle; train again."
        )
    versions = [("IR", model.ir_version, IR_VERSION)]
    versions += [(domain or "ai.onnx", version, OPSETS[domain]) for domain, version in model.opsets]
    for name, found, newest in versions:
        if found > newest:
            raise VersionError(
                f"{where}: {name} version {found}; this engine reads up to {newest}. "
                "Install the engine version that made it, or train again."
            )
        if found < 1:
            raise BundleError(
                f"{where}: {name} version {found} is not a version. Copy the bundle again."
            )
