"""What a graph of a bundle may be: its versions, its operators, its ends, and whose it is.

Takes the bytes of ONNX files, before ONNX Runtime sees them. Which bytes they must be is left to the
hashes of the manifest; this is the second lock, against a bundle that was made wrongly or by others.
"""

from dataclasses import dataclass

from engine.bundle.onnx_wire import FLOAT, INT64, TEXT, Model, Port, read_model
from engine.bundle.schema import Feature
from engine.errors import BundleError, VersionError, pluralize, quoted

IR_VERSION = 8
OPSETS = {"": 17, "ai.onnx.ml": 3}
"""The newest version of each set of operators that a graph may import; no other set may be."""

OPERATORS = {
    "": frozenset(
        {
            *("Abs", "Add", "And", "ArgMin", "Cast", "Concat", "Div", "Gather", "GatherElements"),
            *("Gemm", "Greater", "IsNaN", "LessOrEqual", "Log", "Max", "Mul", "Not", "ReduceSum"),
            *("ReduceSumSquare", "Reshape", "Sigmoid", "Slice", "Sqrt", "Sub", "TopK"),
            *("Transpose", "Unsqueeze", "Where"),
        }
    ),
    "ai.onnx.ml": frozenset({"LabelEncoder"}),
}
"""Those that the export uses. None takes a subgraph, reads a file or makes a tensor of any size."""

BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Ends:
    """The inputs and the outputs of a graph, in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def preprocess_ends(features: tuple[Feature, ...]) -> Ends:
    """One input for each feature; `features`."""
    inputs = (Port(f.name, FLOAT if f.kind == "numeric" else TEXT, (BATCH, 1)) for f in features)
    return Ends(tuple(inputs), (_features(len(features)),))


def classifier_ends(width: int, drivers: int) -> Ends:
    """`features` of this width; the score and what moves it."""
    outputs = (
        Port("margin", FLOAT, (BATCH, 1)),
        Port("probability", FLOAT, (BATCH, 1)),
        Port("impacts", FLOAT, (BATCH, width)),
        Port("driver_index", INT64, (BATCH, drivers)),
        Port("driver_impact", FLOAT, (BATCH, drivers)),
    )
    return Ends((_features(width),), outputs)


def segmenter_ends(width: int, segments: int) -> Ends:
    """`features` of this width; the segment, and how far each of them is."""
    outputs = (Port("segment", INT64, (BATCH,)), Port("distances", FLOAT, (BATCH, segments)))
    return Ends((_features(width),), outputs)


def check_graph(content: bytes, ends: Ends, bundle_id: str, where: str) -> None:
    """Check one graph of a bundle.

    Args:
        content: The bytes of the file.
        ends: What its inputs and outputs must be.
        bundle_id: What it must carry.
        where: The file, which opens the message of an error.

    Raises:
        BundleError: It is no ONNX, or not a graph that this bundle may have.
        VersionError: It needs a newer ONNX than any bundle that this engine reads.
    """
    model = read_model(content, where)
    _check_versions(model, where)
    operators = sorted(
        {
            f"{domain or 'ai.onnx'}.{kind}"
            for domain, kind in model.operators
            if not _known(domain, kind)
        }
    )
    if operators:
        raise BundleError(
            f"{where}: {pluralize(len(operators), 'operator')} that no bundle has: "
            f"{quoted(operators)}. Do not use this bundle; train again."
        )
    _check_ports("input", ends.inputs, model.inputs, where)
    _check_ports("output", ends.outputs, model.outputs, where)
    found = [value for key, value in model.metadata if key == "bundle_id"]
    if found != [bundle_id]:
        raise BundleError(
            f"{where}: made for bundle {quoted(found) or 'without an id'}, expected "
            f"{bundle_id!r}: files of two bundles. Copy the bundle again."
        )


def _features(width: int) -> Port:
    return Port("features", FLOAT, (BATCH, width))


def _known(domain: str, kind: str) -> bool:
    return kind in OPERATORS.get(domain, ())


def _check_versions(model: Model, where: str) -> None:
    domains = [domain for domain, _ in model.opsets]
    strange = sorted(set(domains) - set(OPSETS))
    if strange or "" not in domains or len(set(domains)) < len(domains):
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
            raise BundleError(f"{where}: {name} version {found} is none. Copy the bundle again.")


def _check_ports(kind: str, wanted: tuple[Port, ...], found: tuple[Port, ...], where: str) -> None:
    if wanted == found:
        return
    # The first of each that has no equal in the same place: a name, a type or a size.
    places = range(max(len(wanted), len(found)))
    n = next(n for n in places if wanted[n : n + 1] != found[n : n + 1])
    raise BundleError(
        f"{where}: {pluralize(len(found), kind)}, expected {len(wanted)}; {kind} {n} is "
        f"{_words(found[n : n + 1])}, expected {_words(wanted[n : n + 1])}. Copy the bundle again."
    )


def _words(ports: tuple[Port, ...]) -> str:
    return (
        "".join(f"{p.name!r} of type {p.element} and shape {list(p.shape)}" for p in ports)
        or "none"
    )
