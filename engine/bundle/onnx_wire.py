"""ONNX files as plain values, read from their bytes: the engine has no onnx package.

The tables name the few messages and fields that a bundle needs. `protobuf` refuses everything else:
functions, subgraphs, external data, sparse tensors. What a graph of a bundle may compute is left to
`checks`. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from engine.bundle.protobuf import Field, Message, read_message
from engine.errors import BundleError

FLOAT, INT32, INT64, TEXT, BOOL, DOUBLE = 1, 6, 7, 8, 9, 11
"""Element types of tensors, by their numbers in ONNX."""

_ELEMENT_BYTES = {FLOAT: 4, INT32: 4, INT64: 8, BOOL: 1, DOUBLE: 8}
_MAX_AXES = 8
_MAX_SIZE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Tensor:
    """The values of one input or output.

    Attributes:
        name: Of the value.
        element: The number of its type.
        shape: Its sizes.
        raw: Little-endian values; empty where they are texts.
        texts: The values of a tensor of texts, UTF-8.
    """

    name: str
    element: int
    shape: tuple[int, ...]
    raw: bytes
    texts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a graph: its name, the number of its type, sizes and size names."""

    name: str
    element: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What an ONNX file says of itself.

    Attributes:
        ir_version: Of the file format.
        opsets: (domain, version) of each set of operators, as often as it is imported.
        operators: (domain, operator) of each node.
        inputs: Of the graph, in order.
        outputs: Of the graph, in order.
        metadata: (key, value), as often as a key is there.
    """

    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    operators: tuple[tuple[str, str], ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: tuple[tuple[str, str], ...]


def read_model(content: bytes, where: str) -> Model:
    """Read the bytes of a ModelProto.

    Raises:
        BundleError: They are none, or hold what no graph of a bundle may; `where` opens the message.
    """
    model = read_message(content, _MODEL, where)
    graph = model.get("graph", {})
    for constant in graph.get("initializer", ()):
        _tensor(constant, where)
    return Model(
        ir_version=model.get("ir_version", 0),
        opsets=tuple((o.get("domain", ""), o.get("version", 0)) for o in model["opset_import"]),
        operators=tuple((n.get("domain", ""), n.get("op_type", "")) for n in graph.get("node", ())),
        inputs=tuple(map(_port, graph.get("input", ()))),
        outputs=tuple(map(_port, graph.get("output", ()))),
        metadata=tuple((p.get("key", ""), p.get("value", "")) for p in model["metadata_props"]),
    )


def read_tensor(content: bytes, where: str) -> Tensor:
    """Read the bytes of a TensorProto.

    Raises:
        BundleError: They are none, or its sizes do not fit its data; `where` opens the message.
    """
    return _tensor(read_message(content, _TENSOR, where), where)


_TENSOR = Message(
    "TensorProto",
    {
        1: Field("dims", "int", repeated=True),
        2: Field("data_type", "int"),
        6: Field("string_data", "bytes", repeated=True),
        7: Field("int64_data", "int", repeated=True),
        8: Field("name", "text"),
        9: Field("raw_data", "bytes"),
    },
    {3: "segment", 13: "external_data", 14: "data_location"},
)
_DIMENSION = Message(
    "TensorShapeProto.Dimension",
    {1: Field("dim_value", "int"), 2: Field("dim_param", "text")},
    {},
)
_SHAPE = Message("TensorShapeProto", {1: Field("dim", _DIMENSION, repeated=True)}, {})
_TENSOR_TYPE = Message(
    "TypeProto.Tensor", {1: Field("elem_type", "int"), 2: Field("shape", _SHAPE)}, {}
)
_TYPE = Message(
    "TypeProto",
    {1: Field("tensor_type", _TENSOR_TYPE)},
    {4: "sequence_type", 5: "map_type", 8: "sparse_tensor_type", 9: "optional_type"},
)
_VALUE = Message(
    "ValueInfoProto",
    {1: Field("name", "text"), 2: Field("type", _TYPE), 3: Field("doc_string", "text")},
    {},
)
_ATTRIBUTE = Message(
    "AttributeProto",
    {
        1: Field("name", "text"),
        2: Field("f", "float"),
        3: Field("i", "int"),
        4: Field("s", "bytes"),
        7: Field("floats", "float", repeated=True),
        8: Field("ints", "int", repeated=True),
        9: Field("strings", "bytes", repeated=True),
        20: Field("type", "int"),
    },
    {
        5: "tensor",
        6: "subgraph",
        10: "tensors",
        11: "subgraphs",
        21: "reference to a function",
        22: "sparse tensor",
        23: "sparse tensors",
    },
)
_NODE = Message(
    "NodeProto",
    {
        1: Field("input", "text", repeated=True),
        2: Field("output", "text", repeated=True),
        3: Field("name", "text"),
        4: Field("op_type", "text"),
        5: Field("attribute", _ATTRIBUTE, repeated=True),
        7: Field("domain", "text"),
    },
    {8: "overload of a function"},
)
_GRAPH = Message(
    "GraphProto",
    {
        1: Field("node", _NODE, repeated=True),
        2: Field("name", "text"),
        5: Field("initializer", _TENSOR, repeated=True),
        11: Field("input", _VALUE, repeated=True),
        10: Field("doc_string", "text"),
        12: Field("output", _VALUE, repeated=True),
    },
    {13: "value_info", 14: "quantization_annotation", 15: "sparse_initializer"},
)
_OPSET = Message("OperatorSetIdProto", {1: Field("domain", "text"), 2: Field("version", "int")}, {})
_PROPERTY = Message(
    "StringStringEntryProto", {1: Field("key", "text"), 2: Field("value", "text")}, {}
)
_MODEL = Message(
    "ModelProto",
    {
        1: Field("ir_version", "int"),
        2: Field("producer_name", "text"),
        5: Field("model_version", "int"),
        6: Field("doc_string", "text"),
        7: Field("graph", _GRAPH),
        8: Field("opset_import", _OPSET, repeated=True),
        14: Field("metadata_props", _PROPERTY, repeated=True),
    },
    {20: "training_info", 25: "functions", 26: "configuration"},
)


def _tensor(found: Mapping[str, Any], where: str) -> Tensor:
    """A tensor whose data has the size that its shape and its type say."""
    name, element, shape = found.get("name", ""), found.get("data_type", 0), tuple(found["dims"])
    raw, texts = found.get("raw_data", b""), tuple(found["string_data"])
    stored = {
        "raw_data": len(raw) / _ELEMENT_BYTES.get(element, 1),
        "int64_data": len(found["int64_data"]),
        "string_data": len(texts),
    }
    fitting = {TEXT: ("string_data",), INT64: ("raw_data", "int64_data")}
    allowed = fitting.get(element, ("raw_data",))
    used = [place for place, values in stored.items() if values]
    if element not in (*_ELEMENT_BYTES, TEXT) or len(used) > 1 or set(used) - set(allowed):
        raise _refused(where, f"tensor {name!r} of type {element} has its values in {used}")
    absurd = len(shape) > _MAX_AXES or not all(0 <= size <= _MAX_SIZE for size in shape)
    if absurd or sum(stored.values()) != prod(shape):
        raise _refused(
            where,
            f"tensor {name!r} of shape {list(shape[:_MAX_AXES])} has "
            f"{sum(stored.values()):g} values",
        )
    return Tensor(name, element, shape, raw, texts)


def _port(found: Mapping[str, Any]) -> Port:
    tensor = found.get("type", {}).get("tensor_type", {})
    sizes = tensor.get("shape", {}).get("dim", ())
    # NOTE: of a size that is named and numbered, two readers might take different ones.
    shape = tuple(next(iter(size.values())) if len(size) == 1 else "?" for size in sizes)
    return Port(found.get("name", ""), tensor.get("elem_type", 0), shape)


def _refused(where: str, what: str) -> BundleError:
    return BundleError(f"{where}: not what this engine loads: {what}. Copy the bundle again.")
