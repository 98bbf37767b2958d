"""Messages of Protocol Buffers as plain values, read strictly from untrusted bytes.

Only the fields of a table are read. Everything else is refused: fields that are unknown, and fields
that come twice where one is due, of which two readers might take two different ones. No message of
a table contains itself, so nesting is bounded; so are the number of fields and, with the size of
the file, time and memory. Encoding: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from engine.errors import BundleError

MAX_FIELDS = 1_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MORE_FOLLOWS = 0x80


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: how it is stored, and whether it may come more than once."""

    name: str
    kind: "Literal['int', 'float', 'text', 'bytes'] | Message"
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """The fields that a message may have, by number; `refused` names some that it may not have."""

    name: str
    fields: Mapping[int, Field]
    refused: Mapping[int, str]


def read_message(content: bytes, message: Message, where: str) -> dict[str, Any]:
    """The fields that are there, by name; those that may repeat always, as lists.

    Texts are str, messages such dictionaries, floats their four bytes.

    Raises:
        BundleError: The bytes are no such message; `where` opens the error's message.
    """
    return _Reader(content, where).message(message, 0, len(content))


class _Reader:
    """Reads the messages of one file, and counts their fields.

    NOTE: a message is a place in the bytes, and values are copies of them, not slices of a memoryview:
    those are objects that Python's garbage collector counts, and every few hundred of them start a
    search, which together take longer than the reading.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self._content = content
        self._where = where
        self._fields_left = MAX_FIELDS

    def message(self, message: Message, position: int, end: int) -> dict[str, Any]:
        """The fields that are there, by name; those that may repeat always, as lists."""
        found: dict[str, Any] = {f.name: [] for f in message.fields.values() if f.repeated}
        while position < end:
            key, position = self._varint(position, end)
            number, wire = key >> 3, key & 7
            field = message.fields.get(number)
            if field is None:
                what = message.refused.get(number, "unknown")
                self._refuse(f"{message.name} has field {number} ({what})")
            start, position = self._extent(wire, position, end)
            values = self._values(field, wire, start, position)
            if field.repeated:
                found[field.name] += values
            elif field.name in found:
                self._refuse(f"{message.name}.{field.name} comes twice")
            else:
                (found[field.name],) = values
        return found

    def _extent(self, wire: int, position: int, end: int) -> tuple[int, int]:
        """Where the value of a field of any wire type begins and ends."""
        self._count_field()
        if wire == _BYTES:
            size, position = self._varint(position, end)
        elif wire == _VARINT:
            size = self._varint(position, end)[1] - position
        elif wire in _FIXED_BYTES:
            size = _FIXED_BYTES[wire]
        else:
            self._refuse(f"a field of wire type {wire}")
        if size > end - position:
            self._refuse(f"a field of {size:,} bytes where {end - position:,} are left")
        return position, position + size

    def _values(self, field: Field, wire: int, start: int, end: int) -> list[Any]:
        """The values of one field: several where numbers are packed."""
        kind = field.kind
        if wire == _VARINT:
            if kind != "int":
                self._refuse(f"field {field.name!r} is a number")
            return [_signed(self._varint(start, end)[0])]
        if kind in ("int", "float") and wire == _BYTES and field.repeated:
            return list(self._packed(kind, start, end))
        if wire != (_FIXED32 if kind == "float" else _BYTES) or kind == "int":
            self._refuse(f"field {field.name!r} of wire type {wire}")
        if isinstance(kind, Message):
            return [self.message(kind, start, end)]
        value = self._content[start:end]
        return [self._text(field, value) if kind == "text" else value]

    def _packed(self, kind: str, position: int, end: int) -> Iterator[int | bytes]:
        while position < end:
            self._count_field()
            if kind == "int":
                number, position = self._varint(position, end)
                yield _signed(number)
            else:
                yield self._content[position : position + 4]
                position += 4
        if position != end:
            self._refuse("packed numbers that end in the middle of one")

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """An unsigned number of at most 64 bits, and where the next field begins."""
        # NOTE: most numbers have one byte; without this, reading takes twice the time.
        if position < end and (byte := self._content[position]) < _MORE_FOLLOWS:
            return byte, position + 1
        number = 0
        for n, byte in enumerate(self._content[position : min(position + _MAX_VARINT_BYTES, end)]):
            number |= (byte & 0x7F) << (7 * n)
            if byte < _MORE_FOLLOWS:
                if number >= 1 << 64:
                    break
                return number, position + n + 1
        return self._refuse("a number that does not end, or has more than 64 bits")

    def _text(self, field: Field, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return self._refuse(f"field {field.name!r} is not UTF-8")

    def _count_field(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            self._refuse(f"more than {MAX_FIELDS:,} fields")

    def _refuse(self, what: str) -> NoReturn:
        raise BundleError(
            f"{self._where}: not what this engine loads: {what}. Copy the bundle again."
        )


def _signed(number: int) -> int:
    """Negative numbers are stored in two's complement."""
    return number - (1 << 64) if number >> 63 else number
