"""What a Parquet file says of itself, checked before Polars believes it.

Polars asks for as much memory as the footer and the page headers say. If a damaged number asks for more
than there is, the process is aborted and no message names the file. So sizes are compared with the file,
and numbers of values with each other.
"""

import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from engine.errors import InputError
from engine.inputs.arrow import check_needed, unreadable_types
from engine.inputs.errors import DamagedError
from engine.inputs.thrift import STRUCT, Items, Struct, read_struct, write_struct

MAGIC = b"PAR1"
TAIL_BYTES = 8
HEADER_BYTES = 512
"""Most page headers are shorter; one with long statistics is read again."""
LONGEST_HEADER_BYTES = 1 << 20
_ENCRYPTION = 8
_ARROW_SCHEMA = b"ARROW:schema"
_INTERVAL = 21
_LOGICAL = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)
_NAMES = {16: "VARIANT", 17: "GEOMETRY", 18: "GEOGRAPHY"}
_REPEATED = 2
_UNCOMPRESSED = 0
_DATA, _INDEX, _DICTIONARY, _DATA_2 = range(4)
# The bytes of a value by its physical type: of a text the length alone, of a fixed length nothing is known.
_VALUE_BYTES = {1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 4}

# NOTE: numbers below are those of the fields in `parquet.thrift`, which is the format's own list.


@dataclass(frozen=True, slots=True)
class _Node:
    """An element of the schema but for its root.

    Attributes:
        column: The name of the whole column.
        physical: The physical type of a leaf; None for a group.
        is_flat: Whether it has one value a row.
    """

    column: str
    physical: int | None
    is_flat: bool


@dataclass(slots=True)
class _Group:
    """A group of the schema that is being read, and how many of its children are still to come."""

    children: int
    column: str
    is_flat: bool


@dataclass(frozen=True, slots=True)
class _Tail:
    """The footer, where it starts, and its schema."""

    start: int
    footer: Struct
    nodes: list[_Node]


def checked_parquet(
    path: Path, new_file: Callable[[], Path], name: str, wanted: Collection[str]
) -> Path:
    """Check the sizes in a Parquet file; gives the file, or a copy without columns that Polars cannot open.

    Args:
        path: The file.
        new_file: Gives the path of a copy if one is needed.
        name: What messages call it.
        wanted: The columns that are needed; all of them if none are given.

    Raises:
        InputError: A needed column cannot be opened, or the file is encrypted.
        DamagedError: The file is damaged.
    """
    tail = check_sizes(path, wanted)
    if _ENCRYPTION in tail.footer:
        raise InputError(f"{name}: is encrypted, which cannot be read. Write it without.")
    return _openable(path, new_file, name, wanted, tail)


def check_sizes(path: Path, wanted: Collection[str]) -> _Tail:
    """Check the sizes that a Parquet file states of some columns; gives its footer.

    Args:
        path: The file.
        wanted: The columns; all of them if none are given.

    Raises:
        DamagedError: The file contradicts itself.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        tail = _read_tail(descriptor)
        if _ENCRYPTION not in tail.footer:
            _check_groups(descriptor, tail, frozenset(wanted))
    finally:
        os.close(descriptor)
    return tail


def _read_tail(descriptor: int) -> _Tail:
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    start = size - TAIL_BYTES - int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or start < len(MAGIC):
        raise DamagedError("its footer is not at its end")
    footer, _ = read_struct(os.pread(descriptor, size - start, start))
    return _Tail(start, footer, _nodes(_structs(footer, 2)))


def _structs(fields: Struct, number: int) -> list[Struct]:
    """The structures in a list."""
    items = fields.get(number, [])
    if not isinstance(items, list) or not all(isinstance(item, Struct) for item in items):
        raise DamagedError("its metadata holds a list of another kind")
    return items


def _nodes(elements: list[Struct]) -> list[_Node]:
    """The tree that the schema lists, depth first."""
    nodes = []
    groups = [_Group(_number(elements[0], 5), "", is_flat=True)] if elements else []
    for element in elements[1:]:
        while groups and not groups[-1].children:
            groups.pop()
        if not groups:
            raise DamagedError("its schema lists more columns than it counts")
        groups[-1].children -= 1
        column = groups[-1].column or _text(element, 4)
        is_flat = groups[-1].is_flat and element.get(3) != _REPEATED
        children = _number(element, 5, 0)
        if children:
            groups.append(_Group(children, column, is_flat=is_flat))
        nodes.append(_Node(column, None if children else _number(element, 1), is_flat))
    if any(group.children for group in groups):
        raise DamagedError("its schema lists fewer columns than it counts")
    return nodes


def _check_groups(descriptor: int, tail: _Tail, wanted: Collection[str]) -> None:
    leaves = [node for node in tail.nodes if node.physical is not None]
    rows = 0
    for group in _structs(tail.footer, 4):
        chunks = _structs(group, 1)
        if len(chunks) != len(leaves):
            raise DamagedError("a row group has another number of columns than the schema")
        group_rows = _number(group, 3)
        rows += group_rows
        for leaf, chunk in zip(leaves, chunks, strict=True):
            if not wanted or leaf.column in wanted:
                _check_chunk(descriptor, tail.start, chunk.get(3), leaf, group_rows)
    if rows != _number(tail.footer, 3):
        raise DamagedError("its row groups have another number of rows than its footer says")


def _check_chunk(descriptor: int, end: int, meta: object, leaf: _Node, rows: int) -> None:
    if not isinstance(meta, Struct):
        raise DamagedError(f"column {leaf.column!r} has no metadata")
    values, size = _number(meta, 5), _number(meta, 7)
    start = min(filter(None, (_number(meta, 9), _number(meta, 11, 0))), default=0)
    if _number(meta, 1) != leaf.physical:
        raise DamagedError(f"column {leaf.column!r} is stored in another type than the schema says")
    if start < len(MAGIC) or start + size > end:
        raise DamagedError(f"column {leaf.column!r} lies outside of the file")
    if leaf.is_flat and values != rows:
        raise DamagedError(f"column {leaf.column!r} has {values:,} values in {rows:,} rows")
    _number(meta, 6)
    found = 0
    while size and found < values:
        header, header_bytes = _read_header(descriptor, start, size)
        found += _check_page(header, meta, leaf)
        start, size = start + header_bytes, size - header_bytes - _number(header, 3)
        if size < 0:
            raise DamagedError(f"a page of column {leaf.column!r} is longer than the column")
        start += _number(header, 3)
    if found != values:
        raise DamagedError(f"the pages of column {leaf.column!r} hold another number of values")


def _read_header(descriptor: int, start: int, size: int) -> tuple[Struct, int]:
    try:
        return read_struct(os.pread(descriptor, min(size, HEADER_BYTES), start))
    except DamagedError:
        return read_struct(os.pread(descriptor, min(size, LONGEST_HEADER_BYTES), start))


def _check_page(header: Struct, meta: Struct, leaf: _Node) -> int:
    """Check a page; gives the number of values that it adds to the column."""
    kind, size, packed = header.get(1), _number(header, 2), _number(header, 3)
    if _number(meta, 4) == _UNCOMPRESSED and size != packed:
        raise DamagedError(f"a page of column {leaf.column!r} has two sizes")
    if size > _number(meta, 6):
        raise DamagedError(f"a page of column {leaf.column!r} unpacks to more than the column")
    if kind == _DATA:
        return _number(header.get(5), 1)
    if kind == _DATA_2:
        levels = _number(header.get(8), 5) + _number(header.get(8), 6)
        if levels > min(size, packed) or _number(header.get(8), 2) > _number(header.get(8), 1):
            raise DamagedError(f"a page of column {leaf.column!r} has more nulls than values")
        return _number(header.get(8), 1)
    if (
        kind == _DICTIONARY
        and _number(header.get(7), 1) * _VALUE_BYTES.get(leaf.physical or 0, 0) > size
    ):
        raise DamagedError(f"the dictionary of column {leaf.column!r} is shorter than it says")
    return 0


def _number(fields: object, number: int, default: int | None = None) -> int:
    value = fields.get(number, default) if isinstance(fields, Struct) else None
    if not isinstance(value, int) or value < 0:
        raise DamagedError(f"its metadata says {value!r} where a size or a number is due")
    return value


def _text(fields: Struct, number: int) -> str:
    value = fields.get(number)
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _openable(
    path: Path, new_file: Callable[[], Path], name: str, wanted: Collection[str], tail: _Tail
) -> Path:
    footer = tail.footer
    elements = _structs(footer, 2)[1:]
    unknown = {
        node.column: kind
        for node, element in zip(tail.nodes, elements, strict=True)
        if (kind := _unknown_type(element))
    }
    notes = _structs(footer, 5)
    arrow = [note for note in notes if note.get(1) == _ARROW_SCHEMA]
    types = unreadable_types(arrow[0].get(2)) if arrow else {}
    if not unknown and not types:
        return path
    check_needed(name, unknown, wanted)
    if unknown:
        _drop_columns(footer, tail.nodes, unknown.keys())
    if arrow:
        # Without Arrow's schema, columns are read in the types of Parquet.
        footer[5] = Items([note for note in notes if note not in arrow], STRUCT)
    target = Path(shutil.copyfile(path, new_file()))
    with target.open("r+b") as file:
        file.truncate(tail.start)
        file.seek(tail.start)
        written = write_struct(footer)
        file.write(written + len(written).to_bytes(4, "little") + MAGIC)
    return target


def _unknown_type(element: Struct) -> str | None:
    """The type of a column if Polars cannot open it."""
    if element.get(6) == _INTERVAL:
        return "INTERVAL"
    logical = element.get(10)
    unknown = (
        [number for number in logical if number not in _LOGICAL]
        if isinstance(logical, Struct)
        else []
    )
    return _NAMES.get(unknown[0], "an unknown logical type") if unknown else None


def _drop_columns(footer: Struct, nodes: list[_Node], dropped: Collection[str]) -> None:
    root, *elements = _structs(footer, 2)
    kept = [node.column not in dropped for node in nodes]
    root[5] = _number(root, 5) - len(dropped)
    footer[2] = Items([root, *compress(elements, kept)], STRUCT)
    leaves = [k for node, k in zip(nodes, kept, strict=True) if node.physical is not None]
    for group in _structs(footer, 4):
        group[1] = Items(list(compress(_structs(group, 1), leaves)), STRUCT)
        # The columns by which rows are sorted are counted by place.
        group.pop(4, None)
    if isinstance(orders := footer.get(7), Items):
        footer[7] = Items(list(compress(orders, leaves)), STRUCT)
