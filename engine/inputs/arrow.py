"""Arrow's own metadata: what Polars cannot open is left out, and streams become files.

A column is left out by changing the metadata of a copy: the bytes of its values stay and nobody points
to them. The metadata are FlatBuffers: tables that list the places of their fields.
"""

import binascii
import os
import shutil
import struct
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import polars as pl

from engine.errors import InputError
from engine.inputs.errors import DamagedError
from engine.logs import LOG

MAGIC = b"ARROW1"
_CONTINUES = b"\xff\xff\xff\xff"
"""Stands before the length of metadata, since version 0.15 of Arrow."""
_FILE_HEAD = MAGIC + b"\0\0"
_TAIL_BYTES = 4 + len(MAGIC)
_BLOCK = struct.Struct("<qi4xq")
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_VERSION_5 = 4
MAX_DEPTH = 32
MOST_DIGITS = 38
"""Of a decimal number."""

# NOTE: numbers below are those of `Type` in the format's own Schema.fbs.
_NULL, _BINARY, _UTF8, _DECIMAL, _TIMESTAMP, _INTERVAL, _LIST, _STRUCT, _UNION = (
    *(1, 4, 5, 7),
    *(10, 11, 12, 13, 14),
)
_FIXED_LIST, _MAP, _LARGE_BINARY, _LARGE_UTF8, _LARGE_LIST = 16, 17, 19, 20, 21
_RUN_ENDS, _BINARY_VIEW, _UTF8_VIEW, _LIST_VIEW, _LARGE_LIST_VIEW = 22, 23, 24, 25, 26
_UNREADABLE = {
    _INTERVAL: "an interval",
    _UNION: "a union",
    _RUN_ENDS: "run-end encoded",
    _LIST_VIEW: "a list view",
    _LARGE_LIST_VIEW: "a list view",
}
# Buffers by type; two for any other.
_BUFFERS = {
    _NULL: 0,
    _RUN_ENDS: 0,
    _STRUCT: 1,
    _FIXED_LIST: 1,
    **dict.fromkeys((_BINARY, _UTF8, _LARGE_BINARY, _LARGE_UTF8, _LIST_VIEW, _LARGE_LIST_VIEW), 3),
}


@dataclass(frozen=True, slots=True)
class _Flat:
    """A table of FlatBuffers, by its place."""

    content: bytearray
    at: int

    @classmethod
    def root(cls, content: bytearray, start: int = 0) -> "_Flat":
        return cls(content, start + _unpack("<I", content, start))

    def place(self, slot: int) -> int | None:
        """Where a field is; None if it has its default."""
        fields = self.at - _unpack("<i", self.content, self.at)
        if 4 + 2 * slot >= _unpack("<H", self.content, fields):
            return None
        offset = _unpack("<H", self.content, fields + 4 + 2 * slot)
        return self.at + offset if offset else None

    def number(self, slot: int, form: str) -> int:
        place = self.place(slot)
        return 0 if place is None else _unpack(form, self.content, place)

    def table(self, slot: int) -> "_Flat | None":
        place = self.place(slot)
        return None if place is None else _Flat.root(self.content, place)

    def vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Where the first item is, and their number."""
        place = self.place(slot)
        if place is None:
            return 0, 0
        start = place + _unpack("<I", self.content, place)
        count = _unpack("<I", self.content, start)
        if start + 4 + count * item_bytes > len(self.content):
            raise DamagedError("its metadata end too early")
        return start + 4, count

    def tables(self, slot: int) -> list["_Flat"]:
        first, count = self.vector(slot, 4)
        return [_Flat.root(self.content, first + 4 * i) for i in range(count)]

    def text(self, slot: int) -> str:
        first, count = self.vector(slot, 1)
        return bytes(self.content[first : first + count]).decode(errors="replace")

    def keep(self, slot: int, item_bytes: int, kept: list[int]) -> None:
        """Leave only some items of a vector of structures."""
        first, _ = self.vector(slot, item_bytes)
        for new, old in enumerate(kept):
            start = first + old * item_bytes
            item = self.content[start : start + item_bytes]
            self.content[first + new * item_bytes : first + (new + 1) * item_bytes] = item
        struct.pack_into("<I", self.content, first - 4, len(kept))

    def keep_tables(self, slot: int, kept: list[int]) -> None:
        """Leave only some items of a vector of tables; each is named by how far away it is."""
        first, _ = self.vector(slot, 4)
        for new, old in enumerate(kept):
            place = first + 4 * old
            away = _unpack("<I", self.content, place) + 4 * (old - new)
            struct.pack_into("<I", self.content, first + 4 * new, away)
        struct.pack_into("<I", self.content, first - 4, len(kept))


@dataclass(frozen=True, slots=True)
class _Column:
    """A column, and what it takes of a record batch.

    Attributes:
        name: Its name.
        unreadable: Its type if Polars cannot open it.
        nodes: Its number of nodes: itself and its children.
        buffers: Their number of buffers.
        views: How many of them are views, which have further buffers.
        dictionaries: The dictionaries that it uses.
    """

    name: str
    unreadable: str | None
    nodes: int
    buffers: int
    views: int
    dictionaries: frozenset[int]


def unreadable_types(encoded: object) -> dict[str, str]:
    """The columns that Polars cannot open, of a schema as Parquet files keep it, with their types."""
    if not isinstance(encoded, bytes):
        return {}
    try:
        schema = _message(bytearray(b64decode(encoded))).table(2)
        columns = [_column(field) for field in schema.tables(1)] if schema else []
    except (binascii.Error, struct.error, ValueError):
        # Polars ignores a schema that it cannot decode.
        return {}
    return {c.name: c.unreadable for c in columns if c.unreadable}


def check_needed(name: str, unreadable: Mapping[str, str], wanted: Collection[str]) -> None:
    """Say which columns are left out because Polars cannot open them.

    Args:
        name: The file.
        unreadable: Their names and types.
        wanted: The columns that are needed.

    Raises:
        InputError: One of them is needed.
    """
    needed = [(c, "a type that can be read", kind) for c, kind in unreadable.items() if c in wanted]
    if needed:
        raise InputError.wrong_types(name, needed)
    if unreadable:
        shown = ", ".join(f"{column!r} ({kind})" for column, kind in unreadable.items())
        LOG.warning("%s: left out, because its type cannot be read: %s.", name, shown)


def openable_file(path: Path, name: str, wanted: Collection[str]) -> None:
    """Leave those columns out of an IPC file that Polars cannot open; the file is changed.

    Raises:
        InputError: One of them is needed, or a dictionary grows within the file.
        DamagedError: The file is damaged.
    """
    with path.open("r+b") as file:
        try:
            _make_openable(file, name, wanted)
        except struct.error:
            raise DamagedError("its metadata end too early") from None


def _make_openable(file: BinaryIO, name: str, wanted: Collection[str]) -> None:
    start, content = _read_footer(file)
    footer = _Flat.root(content)
    schema = footer.table(1)
    if schema is None:
        raise DamagedError("its footer has no schema")
    columns = [_column(field) for field in schema.tables(1)]
    dictionaries = [_read_message(file, block) for block in _blocks(footer, 2)]
    if any(_is_delta(message) for message in dictionaries):
        raise _growing(name)
    unreadable = {c.name: c.unreadable for c in columns if c.unreadable}
    check_needed(name, unreadable, wanted)
    if not unreadable:
        return
    kept = [i for i, column in enumerate(columns) if not column.unreadable]
    schema.keep_tables(1, kept)
    used = frozenset[int]().union(*(columns[i].dictionaries for i in kept))
    ids = [_dictionary_id(message) for message in dictionaries]
    footer.keep(2, _BLOCK.size, [i for i, number in enumerate(ids) if number in used])
    for block in _blocks(footer, 3):
        message = _read_message(file, block)
        batch = message.table(2)
        if batch is None:
            raise DamagedError("a record batch has no metadata")
        _drop(batch, columns, kept)
        file.seek(block[0])
        file.write(message.content)
    file.seek(start)
    file.write(content)


def _drop(batch: _Flat, columns: list[_Column], kept: list[int]) -> None:
    for slot, item_bytes, counts in (
        (1, 16, [column.nodes for column in columns]),
        (2, 16, [column.buffers for column in columns]),
        (4, 8, [column.views for column in columns]),
    ):
        _, count = batch.vector(slot, item_bytes)
        if sum(counts) != count:
            raise DamagedError("a record batch has other columns than the schema")
        ends = list(accumulate(counts))
        if count:
            batch.keep(
                slot, item_bytes, [n for i in kept for n in range(ends[i] - counts[i], ends[i])]
            )


def _column(field: _Flat, depth: int = 0) -> _Column:
    if depth > MAX_DEPTH:
        raise DamagedError("its columns are nested too deeply")
    kind, name = field.number(2, "<B"), field.text(0)
    unreadable = _unreadable(field, kind)
    dictionary = field.table(4)
    if dictionary is not None:
        number = dictionary.number(0, "<q")
        below = [_column(child, depth + 1) for child in field.tables(5)]
        used = frozenset({number}).union(*(child.dictionaries for child in below))
        return _Column(name, unreadable, 1, 2, 0, used)
    children = [_column(child, depth + 1) for child in field.tables(5)]
    buffers = _BUFFERS.get(kind, 2)
    if kind == _UNION:
        union = field.table(3)
        buffers = 1 + (union.number(0, "<h") if union else 0)
    return _Column(
        name,
        unreadable or next((c.unreadable for c in children if c.unreadable), None),
        1 + sum(child.nodes for child in children),
        buffers + sum(child.buffers for child in children),
        (kind in (_BINARY_VIEW, _UTF8_VIEW)) + sum(child.views for child in children),
        frozenset[int]().union(*(child.dictionaries for child in children)),
    )


def _unreadable(field: _Flat, kind: int) -> str | None:
    kind_of = field.table(3)
    if kind == _TIMESTAMP and kind_of is not None:
        zone = kind_of.text(1)
        return f"time zone {zone}" if zone and not _is_zone(zone) else None
    if kind == _DECIMAL and kind_of is not None and kind_of.number(0, "<i") > MOST_DIGITS:
        return f"{kind_of.number(0, '<i')} decimal digits"
    return _UNREADABLE.get(kind)


@cache
def _is_zone(zone: str) -> bool:
    try:
        pl.Series([], dtype=pl.Datetime("us", zone))
    except pl.exceptions.PolarsError:
        return False
    return True


def _read_footer(file: BinaryIO) -> tuple[int, bytearray]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    start = size - _TAIL_BYTES - int.from_bytes(tail[:4], "little")
    if not tail.endswith(MAGIC) or start < len(_FILE_HEAD):
        raise DamagedError("its footer is not at its end")
    file.seek(start)
    return start, bytearray(file.read(size - _TAIL_BYTES - start))


def _blocks(footer: _Flat, slot: int) -> Iterator[tuple[int, int, int]]:
    first, count = footer.vector(slot, _BLOCK.size)
    for i in range(count):
        yield _BLOCK.unpack_from(footer.content, first + i * _BLOCK.size)


def _read_message(file: BinaryIO, block: tuple[int, int, int]) -> _Flat:
    """The metadata of a block, whose length and its mark come first."""
    offset, length, _ = block
    size = os.fstat(file.fileno()).st_size
    if offset < 0 or length <= 0 or offset + length > size:
        raise DamagedError("a block lies outside of the file")
    file.seek(offset)
    return _message(bytearray(file.read(length)))


def _message(content: bytearray) -> _Flat:
    return _Flat.root(content, 8 if content.startswith(_CONTINUES) else 4)


def _dictionary_id(message: _Flat) -> int | None:
    dictionary = message.table(2)
    return dictionary.number(0, "<q") if dictionary else None


def _is_delta(message: _Flat) -> bool:
    dictionary = message.table(2)
    return dictionary is not None and dictionary.number(2, "<B") != 0


def _growing(name: str) -> InputError:
    return InputError(
        f"{name}: a dictionary changes between its record batches, which cannot be read. Write it "
        "without dictionaries, or as Parquet."
    )


def is_stream(head: bytes) -> bool:
    """Whether a file begins as a stream of Arrow does: with a message that holds a schema."""
    before, length = _prefix(head[:8])
    try:
        message = _message(bytearray(head[: before + length]))
        return message.number(1, "<B") == _SCHEMA and message.table(2) is not None
    except struct.error:
        return head.startswith(_CONTINUES)


def stream_to_file(path: Path, target: Path, name: str) -> Path:
    """Copy a stream of Arrow as an IPC file: the same messages, and a footer that lists them.

    Raises:
        InputError: A dictionary changes within the stream.
        DamagedError: The stream is damaged or cut off.
    """
    blocks: dict[int, list[bytes]] = {_DICTIONARY: [], _BATCH: []}
    schema, seen = bytearray(), set[int | None]()
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            for block in _messages(stream, size):
                message = _read_message(stream, block)
                kind = message.number(1, "<B")
                if kind == _SCHEMA and not schema:
                    if message.number(0, "<h") > _VERSION_5:
                        raise DamagedError("its metadata are of a later version of Arrow")
                    schema = message.content
                elif kind == _DICTIONARY:
                    if _is_delta(message) or _dictionary_id(message) in seen:
                        raise _growing(name)
                    seen.add(_dictionary_id(message))
                moved = _BLOCK.pack(block[0] + len(_FILE_HEAD), *block[1:])
                blocks.setdefault(kind, []).append(moved)
        except struct.error:
            raise DamagedError("its metadata end too early") from None
        stream.seek(0)
        with target.open("wb") as file:
            file.write(_FILE_HEAD)
            shutil.copyfileobj(stream, file)
            footer = _footer(schema, blocks[_DICTIONARY], blocks[_BATCH])
            file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
    return target


def _messages(stream: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """The place of each message, the length of its metadata, and that of its body."""
    at = 0
    while at < size:
        stream.seek(at)
        before, length = _prefix(stream.read(8))
        if not length:
            return
        block = (at, before + length, 0)
        body = _read_message(stream, block).number(3, "<q")
        at += before + length + body
        if body < 0 or at > size:
            raise DamagedError("its last message is cut off")
        yield (*block[:2], body)


def _prefix(head: bytes | bytearray) -> tuple[int, int]:
    """The bytes before the metadata of a message, and the length of these."""
    before = 8 if head.startswith(_CONTINUES) else 4
    return before, int.from_bytes(head[before - 4 : before], "little")


def _footer(schema: bytearray, dictionaries: list[bytes], batches: list[bytes]) -> bytes:
    """A footer that holds the message with the schema as it is.

    Its table has a version, and the places of the schema, the dictionaries and the batches.
    """
    table = _message(schema).table(2) if schema else None
    if table is None:
        raise DamagedError("it has no schema")
    batches_at = 44 + len(dictionaries) * _BLOCK.size
    schema_at = batches_at + 4 + len(batches) * _BLOCK.size
    fields = struct.pack("<6H", 12, 20, 4, 8, 12, 16)
    before, _ = _prefix(schema)
    places = (schema_at + table.at - before - 24, 36 - 28, batches_at - 32)
    head = struct.pack("<I", 16) + fields + struct.pack("<ihxx3I", 12, _VERSION_5, *places)
    first = struct.pack("<I", len(dictionaries)) + b"".join(dictionaries)
    second = struct.pack("<4xI", len(batches)) + b"".join(batches)
    return head + first + second + bytes(schema[before:])


def _unpack(form: str, content: bytearray, at: int) -> int:
    number: int = struct.unpack_from(form, content, at)[0]
    return number
