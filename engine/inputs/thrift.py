"""Thrift's compact protocol, in which Parquet writes its footer and its page headers."""

from engine.inputs.errors import DamagedError

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, STRUCT = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    12,
)
MAX_DEPTH = 32
MAX_SHIFT = 63


class Struct(dict[int, object]):
    """The values of a structure by the number of their field, with the kind of each."""

    __slots__ = ("kinds",)

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[int, int] = {}


class Items(list[object]):
    """The values of a list, with their kind."""

    __slots__ = ("kind",)

    def __init__(self, values: list[object], kind: int) -> None:
        super().__init__(values)
        self.kind = kind


def read_struct(content: bytes, start: int = 0) -> tuple[Struct, int]:
    """Read a structure and the place behind it.

    Raises:
        DamagedError: The bytes are no structure, or end too early.
    """
    try:
        return _read_fields(content, start, 0)
    except IndexError:
        raise DamagedError("its metadata ends too early") from None


def _read_fields(content: bytes, at: int, depth: int) -> tuple[Struct, int]:
    if depth > MAX_DEPTH:
        raise DamagedError("its metadata is nested too deeply")
    fields, number = Struct(), 0
    kinds = fields.kinds
    while head := content[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            zigzag, at = _read_varint(content, at)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        kind = kinds[number] = head & 15
        # NOTE: most values are short numbers, and large tables have thousands of pages.
        if _I16 <= kind <= _I64 and content[at] < 128:
            fields[number] = (content[at] >> 1) ^ -(content[at] & 1)
            at += 1
        elif kind <= _FALSE:
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _read_value(content, at, kind, depth)
    return fields, at + 1


def _read_value(content: bytes, at: int, kind: int, depth: int) -> tuple[object, int]:
    if _I16 <= kind <= _I64:
        zigzag, at = _read_varint(content, at)
        return (zigzag >> 1) ^ -(zigzag & 1), at
    if kind == _BINARY:
        length, at = _read_varint(content, at)
        return _slice(content, at, length), at + length
    if kind == STRUCT:
        return _read_fields(content, at, depth + 1)
    if kind in (_LIST, _SET):
        return _read_items(content, at, depth + 1)
    if kind == _DOUBLE:
        return _slice(content, at, 8), at + 8
    if kind in (_BYTE, _TRUE, _FALSE):
        return content[at], at + 1
    raise DamagedError("its metadata holds an unknown kind of value")


def _read_items(content: bytes, at: int, depth: int) -> tuple[Items, int]:
    if depth > MAX_DEPTH:
        raise DamagedError("its metadata is nested too deeply")
    kind, count = content[at] & 15, content[at] >> 4
    at += 1
    if count == 15:
        count, at = _read_varint(content, at)
    values = []
    for _ in range(count):
        value, at = _read_value(content, at, kind, depth)
        values.append(value)
    return Items(values, kind), at


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    byte = content[at]
    at += 1
    if byte < 128:
        return byte, at
    value, shift = byte & 127, 7
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > MAX_SHIFT:
            raise DamagedError("its metadata holds a number that is too long")


def _slice(content: bytes, at: int, length: int) -> bytes:
    found = content[at : at + length]
    if len(found) != length:
        raise DamagedError("its metadata ends too early")
    return found


def write_struct(fields: Struct) -> bytes:
    """Write a structure as `read_struct` reads it."""
    written, before = bytearray(), 0
    for number in sorted(fields):
        kind, value = fields.kinds[number], fields[number]
        if kind in (_TRUE, _FALSE):
            kind = _TRUE if value else _FALSE
        step = number - before
        written += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + _zigzag(number)
        before = number
        if kind not in (_TRUE, _FALSE):
            written += _write_value(value, kind)
    return bytes(written + b"\0")


def _write_value(value: object, kind: int) -> bytes:
    if isinstance(value, Struct):
        return write_struct(value)
    if isinstance(value, Items):
        count = len(value)
        head = bytes([count << 4 | value.kind]) if count < 15 else bytes([0xF0 | value.kind])
        length = b"" if count < 15 else _varint(count)
        return head + length + b"".join(_write_value(item, value.kind) for item in value)
    if isinstance(value, bytes):
        return value if kind == _DOUBLE else _varint(len(value)) + value
    if not isinstance(value, int):
        raise TypeError(f"no Thrift value: {type(value)}")
    return bytes([value]) if kind in (_BYTE, _TRUE, _FALSE) else _zigzag(value)


def _zigzag(number: int) -> bytes:
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])
