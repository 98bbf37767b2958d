"""Thrift's compact protocol, in which Parquet writes its footer and its page headers.

A footer may have a million values, of which a few are needed: `read_fields` passes over the others. To
change a footer, `read_struct` reads all of it, and `write_struct` writes it.
"""

from collections.abc import Callable, Mapping

from engine.inputs.errors import DamagedError

# NOTE: plain numbers, because comparing with members of an enumeration takes four times as long.
_TRUE = 1
_FALSE = 2
_BYTE = 3
_I16 = 4
_I64 = 6
_DOUBLE = 7
_BINARY = 8
_LIST = 9
_SET = 10
STRUCT = 12
MAX_DEPTH = 32
MAX_SHIFT = 63

Reader = Callable[[bytes, int, int], tuple[object, int]]
"""Reads a value, given the bytes, its place and its kind; gives the value and the place behind it."""
Wanted = Mapping[int, Reader | None]
"""The fields to read by their number: numbers and texts need no reader, other kinds need one."""


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


def read_fields(content: bytes, start: int, wanted: Wanted) -> tuple[dict[int, object], int]:
    """Read some fields of a structure; gives them by their number, and the place behind it.

    Raises:
        DamagedError: The bytes are no structure, or end too early.
    """
    fields: dict[int, object] = {}
    at, number = start, 0
    try:
        while head := content[at]:
            at += 1
            kind = head & 15
            if head > 15:
                number += head >> 4
            else:
                number, at = _read_zigzag(content, at)
            if number not in wanted:
                at = _skip_value(content, at, kind, 0)
            # NOTE: most values are short numbers, and large tables have thousands of pages.
            elif _I16 <= kind <= _I64 and content[at] < 128:
                fields[number] = (content[at] >> 1) ^ -(content[at] & 1)
                at += 1
            elif kind <= _FALSE:
                fields[number] = kind == _TRUE
            elif reader := wanted[number]:
                fields[number], at = reader(content, at, kind)
            elif kind <= _BINARY:
                fields[number], at = _read_value(content, at, kind, 0)
            else:
                at = _skip_value(content, at, kind, 0)
    except IndexError:
        raise DamagedError("its metadata ends too early") from None
    return fields, at + 1


def struct_reader(wanted: Wanted) -> Reader:
    """What reads some fields of a structure."""

    def read(content: bytes, at: int, kind: int) -> tuple[object, int]:
        check_kind(kind, STRUCT)
        return read_fields(content, at, wanted)

    return read


def list_reader(wanted: Wanted) -> Reader:
    """What reads some fields of each structure in a list."""

    def read(content: bytes, at: int, kind: int) -> tuple[object, int]:
        count, at = read_count(content, at, kind)
        items = []
        for _ in range(count):
            item, at = read_fields(content, at, wanted)
            items.append(item)
        return items, at

    return read


def read_numbers(content: bytes, at: int, kind: int) -> tuple[object, int]:
    """Read which fields a structure has, by their numbers."""
    check_kind(kind, STRUCT)
    numbers: list[int] = []
    number = 0
    while head := content[at]:
        number, at = (number + (head >> 4), at + 1) if head > 15 else _read_zigzag(content, at + 1)
        numbers.append(number)
        at = _skip_value(content, at, head & 15, 0)
    return numbers, at + 1


def read_count(content: bytes, at: int, kind: int) -> tuple[int, int]:
    """Read how many structures a list has; gives the place of the first, too."""
    check_kind(kind, _LIST)
    head = content[at]
    check_kind(head & 15, STRUCT)
    return (head >> 4, at + 1) if head < 0xF0 else _read_varint(content, at + 1)


def check_kind(kind: int, expected: int) -> None:
    """Check the kind of a value.

    Raises:
        DamagedError: It is another.
    """
    if kind != expected:
        raise DamagedError("its metadata holds a value of another kind")


def skip_struct(content: bytes, at: int, depth: int = 0) -> int:
    """The place behind a structure, none of whose values is read."""
    if depth > MAX_DEPTH:
        raise DamagedError("its metadata is nested too deeply")
    while head := content[at]:
        at += 1
        if head < 16:
            at = _skip_varint(content, at)
        kind = head & 15
        if _I16 <= kind <= _I64:
            while content[at] > 127:
                at += 1
            at += 1
        elif kind == _BINARY and content[at] < 128:
            at += content[at] + 1
        elif kind > _FALSE:
            at = _skip_value(content, at, kind, depth)
    return at + 1


def _skip_value(content: bytes, at: int, kind: int, depth: int) -> int:
    if _I16 <= kind <= _I64:
        return _skip_varint(content, at)
    if kind == _BINARY:
        length, at = _read_varint(content, at)
        return at + length
    if kind == STRUCT:
        return skip_struct(content, at, depth + 1)
    if kind in (_LIST, _SET):
        return _skip_items(content, at, depth + 1)
    if kind == _DOUBLE:
        return at + 8
    if kind == _BYTE:
        return at + 1
    if kind <= _FALSE:
        return at
    raise DamagedError("its metadata holds an unknown kind of value")


def _read_items_head(content: bytes, at: int, depth: int) -> tuple[int, int, int]:
    """The kind and the number of the items of a list, and where they begin."""
    if depth > MAX_DEPTH:
        raise DamagedError("its metadata is nested too deeply")
    kind, count = content[at] & 15, content[at] >> 4
    at += 1
    if count == 15:
        count, at = _read_varint(content, at)
    return kind, count, at


def _skip_items(content: bytes, at: int, depth: int) -> int:
    kind, count, at = _read_items_head(content, at, depth)
    if kind <= _BYTE:
        return at + count
    for _ in range(count):
        at = _skip_value(content, at, kind, depth)
    return at


def _skip_varint(content: bytes, at: int) -> int:
    while content[at] > 127:
        at += 1
    return at + 1


def _read_zigzag(content: bytes, at: int) -> tuple[int, int]:
    zigzag, at = _read_varint(content, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at


def read_struct(content: bytes, start: int = 0) -> tuple[Struct, int]:
    """Read a whole structure and the place behind it.

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
    while head := content[at]:
        at += 1
        if head > 15:
            number += head >> 4
        else:
            number, at = _read_zigzag(content, at)
        kind = fields.kinds[number] = head & 15
        if kind <= _FALSE:
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _read_value(content, at, kind, depth)
    return fields, at + 1


def _read_value(content: bytes, at: int, kind: int, depth: int) -> tuple[object, int]:
    if _I16 <= kind <= _I64:
        return _read_zigzag(content, at)
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
    kind, count, at = _read_items_head(content, at, depth)
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
