"""Columns of Arrow that Polars cannot open: they are left out of a file, or named if they are needed.

A column is left out by changing the metadata of a copy: the bytes of its values stay and nobody points
to them.
"""

import binascii
import os
import struct
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import accumulate, islice
from pathlib import Path
from typing import BinaryIO

import polars as pl

from engine.errors import InputError
from engine.inputs.arrow_messages import (
    BLOCK,
    FILE_HEAD,
    MAGIC,
    dictionary_id,
    growing,
    is_delta,
    message_of,
    read_message,
)
from engine.inputs.errors import DamagedError
from engine.inputs.flatbuffers import FlatTable
from engine.logs import LOG
from engine.rows.rules import MOST_DIGITS

MAX_DEPTH = 32
_TAIL_BYTES = 4 + len(MAGIC)


class _Type(IntEnum):
    """The types that are told apart: `Type` in the format's own Schema.fbs."""

    NULL = 1
    BINARY = 4
    UTF8 = 5
    DECIMAL = 7
    TIMESTAMP = 10
    INTERVAL = 11
    STRUCT = 13
    UNION = 14
    FIXED_LIST = 16
    LARGE_BINARY = 19
    LARGE_UTF8 = 20
    RUN_ENDS = 22
    BINARY_VIEW = 23
    UTF8_VIEW = 24
    LIST_VIEW = 25
    LARGE_LIST_VIEW = 26


_UNREADABLE: dict[int, str] = {
    _Type.INTERVAL: "an interval",
    _Type.UNION: "a union",
    _Type.RUN_ENDS: "run-end encoded",
    _Type.LIST_VIEW: "a list view",
    _Type.LARGE_LIST_VIEW: "a list view",
}
_BUFFERS: dict[int, int] = {
    _Type.NULL: 0,
    _Type.RUN_ENDS: 0,
    _Type.STRUCT: 1,
    _Type.FIXED_LIST: 1,
    _Type.BINARY: 3,
    _Type.UTF8: 3,
    _Type.LARGE_BINARY: 3,
    _Type.LARGE_UTF8: 3,
    _Type.LIST_VIEW: 3,
    _Type.LARGE_LIST_VIEW: 3,
}
"""Buffers by type; two for any other."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column, and what it takes of a record batch.

    Attributes:
        name: Its name.
        unreadable: Its type if Polars cannot open it.
        nodes: Its number of nodes: itself and its children.
        buffers: Their number of buffers.
        views: How many of them are views; a record batch says how many further buffers each has.
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
        schema = message_of(bytearray(b64decode(encoded))).table(2)
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
    footer = FlatTable.root(content)
    schema = footer.table(1)
    if schema is None:
        raise DamagedError("its footer has no schema")
    columns = [_column(field) for field in schema.tables(1)]
    dictionaries = [read_message(file, *block[:2]) for block in _blocks(footer, 2)]
    if any(is_delta(message) for message in dictionaries):
        raise growing(name)
    unreadable = {c.name: c.unreadable for c in columns if c.unreadable}
    check_needed(name, unreadable, wanted)
    if not unreadable:
        return
    kept = [i for i, column in enumerate(columns) if not column.unreadable]
    schema.keep_tables(1, kept)
    used = frozenset[int]().union(*(columns[i].dictionaries for i in kept))
    ids = [dictionary_id(message) for message in dictionaries]
    footer.keep(2, BLOCK.size, [i for i, number in enumerate(ids) if number in used])
    for block in _blocks(footer, 3):
        message = read_message(file, *block[:2])
        batch = message.table(2)
        if batch is None:
            raise DamagedError("a record batch has no metadata")
        _drop(batch, columns, kept)
        file.seek(block[0])
        file.write(message.content)
    file.seek(start)
    file.write(content)


def _drop(batch: FlatTable, columns: list[_Column], kept: list[int]) -> None:
    first, count = batch.vector(4, 8)
    long_texts = iter(struct.unpack_from(f"<{count}Q", batch.content, first))
    further = [sum(islice(long_texts, column.views)) for column in columns]
    for slot, item_bytes, counts in (
        (1, 16, [column.nodes for column in columns]),
        (2, 16, [column.buffers + more for column, more in zip(columns, further, strict=True)]),
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


def _column(field: FlatTable, depth: int = 0) -> _Column:
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
    if kind == _Type.UNION:
        union = field.table(3)
        buffers = 1 + (union.number(0, "<h") if union else 0)
    return _Column(
        name,
        unreadable or next((c.unreadable for c in children if c.unreadable), None),
        1 + sum(child.nodes for child in children),
        buffers + sum(child.buffers for child in children),
        (kind in (_Type.BINARY_VIEW, _Type.UTF8_VIEW)) + sum(child.views for child in children),
        frozenset[int]().union(*(child.dictionaries for child in children)),
    )


def _unreadable(field: FlatTable, kind: int) -> str | None:
    kind_of = field.table(3)
    if kind == _Type.TIMESTAMP and kind_of is not None:
        zone = kind_of.text(1)
        return f"time zone {zone}" if zone and not _is_zone(zone) else None
    if kind == _Type.DECIMAL and kind_of is not None and kind_of.number(0, "<i") > MOST_DIGITS:
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
    if not tail.endswith(MAGIC) or start < len(FILE_HEAD):
        raise DamagedError("its footer is not at its end")
    file.seek(start)
    return start, bytearray(file.read(size - _TAIL_BYTES - start))


def _blocks(footer: FlatTable, slot: int) -> Iterator[tuple[int, int, int]]:
    first, count = footer.vector(slot, BLOCK.size)
    for i in range(count):
        yield BLOCK.unpack_from(footer.content, first + i * BLOCK.size)
