"""Reads untrusted ONNX files without the onnx package, in one walk over the wire format.

A Protocol Buffers message becomes a dictionary of its fields by number. Only messages that may hold an
operator or refer to other data are opened. Encoding:
https://protobuf.dev/programming-guides/encoding/ Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NoReturn

from engine.errors import BundleError

FLOAT, INT64, TEXT = 1, 7, 8
"""Element types of tensors, by their numbers in ONNX."""

MAX_FIELDS = 1_000_000
"""Limits the time that a hostile file can take."""

_ELEMENT_BYTES = {FLOAT: 4, INT64: 8}
_MAX_SIZE = 2**31
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10

_REFUSED = {
    "ModelProto": {20: "training_info", 25: "functions", 26: "configuration"},
    "GraphProto": {15: "sparse_initializer"},
    "NodeProto": {8: "overload of a function"},
    "AttributeProto": {
        5: "tensor",
        10: "tensors",
        22: "sparse tensor",
        23: "sparse tensors",
        6: "subgraph",
        11: "subgraphs",
        21: "reference to a function",
    },
    "TensorProto": {3: "segment", 13: "external_data", 14: "data_location"},
}
"""Fields that no bundle's graph may have: they hold code or data that the other checks do not see."""

Value = int | memoryview
"""An integer for varints, the bytes for all others."""

Message = dict[int, list[Value]]
"""The values of each field by number, in order."""


@dataclass(frozen=True, slots=True)
class Model:
    """What an ONNX file needs from its runtime.

    Attributes:
        ir_version: The version of the file format.
        opsets: (domain, version) of each import.
        operators: (domain, operator) of each node.
    """

    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    operators: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """The values of one input or output.

    Attributes:
        name: The name of the input or output.
        element: The number of its element type.
        shape: Its sizes.
        raw: Little-endian values; empty for texts.
        texts: The values of a tensor of texts, UTF-8.
    """

    name: str
    element: int
    shape: tuple[int, ...]
    raw: bytes
    texts: tuple[bytes, ...]


def read_model(content: bytes, where: str) -> Model:
    """Read the versions and operators of a ModelProto.

    Raises:
        BundleError: The bytes are not a ModelProto, or hold functions, subgraphs or external data;
            `where` begins the message.
    """
    wire = _Wire(where)
    (model,) = wire.opened("ModelProto", [memoryview(content)])
    graphs = wire.opened("GraphProto", model.get(7, []))
    nodes = wire.opened("NodeProto", [node for graph in graphs for node in graph.get(1, [])])
    wire.opened("AttributeProto", [found for node in nodes for found in node.get(5, [])])
    wire.opened("TensorProto", [found for graph in graphs for found in graph.get(5, [])])
    opsets = wire.opened("OperatorSetIdProto", model.get(8, []))
    return Model(
        ir_version=wire.integer(model, 1),
        opsets=tuple((wire.text(opset, 1), wire.integer(opset, 2)) for opset in opsets),
        operators=tuple((wire.text(node, 7), wire.text(node, 4)) for node in nodes),
    )


def read_tensor(content: bytes, where: str) -> Tensor:
    """Read a TensorProto whose values are raw bytes or texts.

    Raises:
        BundleError: The bytes are not such a tensor, or its shape does not match its values;
            `where` begins the message.
    """
    wire = _Wire(where)
    (tensor,) = wire.opened("TensorProto", [memoryview(content)])
    name, element, shape = wire.text(tensor, 8), wire.integer(tensor, 2), wire.sizes(tensor, 1)
    raw, texts = wire.content(tensor, 9), tuple(wire.slices(tensor, 6))
    values = len(texts) if element == TEXT else len(raw) / _ELEMENT_BYTES.get(element, 1)
    if element not in (*_ELEMENT_BYTES, TEXT) or (raw if element == TEXT else texts):
        wire.refuse(f"tensor {name!r} has type {element} or values of another type")
    if not all(0 <= size < _MAX_SIZE for size in shape) or values != prod(shape):
        wire.refuse(f"tensor {name!r} of shape {list(shape[:8])} has {values:g} values")
    return Tensor(name, element, shape, raw, texts)


class _Wire:
    """A reader of one file; every field read counts towards `MAX_FIELDS`."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._fields_left = MAX_FIELDS

    def opened(self, kind: str, values: list[Value]) -> list[Message]:
        """The fields of messages of one kind; raises on a field in `_REFUSED`."""
        refused = _REFUSED.get(kind, {})
        messages = []
        for value in values:
            message: Message = {}
            for number, inner in self._fields(self._bytes(value, kind)):
                if number in refused:
                    self.refuse(f"{kind} has field {number} ({refused[number]})")
                message.setdefault(number, []).append(inner)
            messages.append(message)
        return messages

    def integer(self, message: Message, number: int) -> int:
        """A number; 0 if absent."""
        value = self._only(message, number)
        if isinstance(value, memoryview):
            self.refuse(f"field {number} is not a number")
        return _signed(value or 0)

    def sizes(self, message: Message, number: int) -> tuple[int, ...]:
        """Numbers, packed or not."""
        found: list[int] = []
        for value in message.get(number, []):
            found += [value] if isinstance(value, int) else self._packed(value)
        return tuple(map(_signed, found))

    def content(self, message: Message, number: int) -> bytes:
        """The bytes of a field; empty if absent."""
        value = self._only(message, number)
        return b"" if value is None else bytes(self._bytes(value, f"field {number}"))

    def text(self, message: Message, number: int) -> str:
        """A text; empty if absent."""
        try:
            return self.content(message, number).decode()
        except UnicodeDecodeError:
            self.refuse(f"field {number} is not UTF-8")

    def slices(self, message: Message, number: int) -> Iterator[bytes]:
        """The bytes of each value of a repeated field."""
        return (bytes(self._bytes(v, f"field {number}")) for v in message.get(number, []))

    def refuse(self, what: str) -> NoReturn:
        raise BundleError(
            f"{self._where}: not what this engine loads: {what}. Copy the bundle again."
        )

    def _only(self, message: Message, number: int) -> Value | None:
        values = message.get(number, [])
        # NOTE: given two values, two readers may use different ones.
        if len(values) > 1:
            self.refuse(f"field {number} comes twice")
        return values[0] if values else None

    def _bytes(self, value: Value, what: str) -> memoryview:
        if isinstance(value, int):
            self.refuse(f"{what} is a number")
        return value

    def _fields(self, content: memoryview) -> Iterator[tuple[int, Value]]:
        """The number and the value of each field of a message."""
        position = 0
        while position < len(content):
            self._fields_left -= 1
            if self._fields_left < 0:
                self.refuse(f"more than {MAX_FIELDS:,} fields")
            key, position = self._varint(content, position)
            wire = key & 7
            if wire == _VARINT:
                value, position = self._varint(content, position)
                yield key >> 3, value
                continue
            if wire == _BYTES:
                size, position = self._varint(content, position)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                self.refuse(f"a field of wire type {wire}")
            if size > len(content) - position:
                self.refuse(f"a field of {size:,} bytes where {len(content) - position:,} are left")
            yield key >> 3, content[position : position + size]
            position += size

    def _packed(self, content: memoryview) -> Iterator[int]:
        position = 0
        while position < len(content):
            number, position = self._varint(content, position)
            yield number

    def _varint(self, content: memoryview, position: int) -> tuple[int, int]:
        """An unsigned number of at most 64 bits, and where the next value begins."""
        number = 0
        for n, byte in enumerate(content[position : position + _MAX_VARINT_BYTES]):
            number |= (byte & 0x7F) << (7 * n)
            if byte < 0x80 and number < 1 << 64:
                return number, position + n + 1
        return self.refuse("a number that does not end, or has more than 64 bits")


def _signed(number: int) -> int:
    """Negative numbers are stored in two's complement."""
    return number - (1 << 64) if number >> 63 else number
