"""What a Parquet file says of itself, checked before Polars believes it.

Polars asks for as much memory as the footer and the page headers say. If a damaged number asks for more
than there is, the process is aborted and no message names the file. So sizes are compared with the file,
and numbers of values with each other.
"""

import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

from engine.errors import InputError
from engine.inputs.arrow import check_needed, unreadable_types
from engine.inputs.errors import DamagedError, check_width
from engine.inputs.thrift import (
    STRUCT,
    Items,
    Struct,
    list_reader,
    read_count,
    read_fields,
    read_numbers,
    read_struct,
    skip_struct,
    struct_reader,
    write_struct,
)

MAGIC = b"PAR1"
TAIL_BYTES = 8
LARGEST_FOOTER_BYTES = 128 << 20
"""A footer has 200 bytes for each column of each row group; Polars needs many times its size."""
NESTED_COLUMNS = 10
"""How many more elements a schema may have than columns, for those that are nested in others."""
HEADER_BYTES = 512
"""Most page headers are shorter; one with long statistics is read again."""
LONGEST_HEADER_BYTES = 1 << 20
_ARROW_SCHEMA = b"ARROW:schema"
_INTERVAL = 21
_LOGICAL = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)
_NAMES = {16: "VARIANT", 17: "GEOMETRY", 18: "GEOGRAPHY"}
_REPEATED = 2
_UNCOMPRESSED = 0
_DATA = 0
_DICTIONARY = 2
_DATA_2 = 3
# The bytes of a value by its physical type: of a text the length alone, of a fixed length nothing is known.
_VALUE_BYTES = {1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 4}

# NOTE: numbers below and in the readers are those of the fields in `parquet.thrift`, which is the format's own list.
_ENCRYPTION = 8
_ELEMENT = {1: None, 3: None, 4: None, 5: None, 6: None, 10: read_numbers}
_CHUNK = {3: struct_reader(dict.fromkeys((1, 4, 5, 6, 7, 9, 11)))}
_PAGE = {
    **dict.fromkeys((1, 2, 3)),
    5: struct_reader({1: None}),
    7: struct_reader({1: None}),
    8: struct_reader(dict.fromkeys((1, 2, 5, 6))),
}

Fields = dict[int, object]
"""The values of a structure that are needed, by the number of their field."""


@dataclass(frozen=True, slots=True)
class _Node:
    """An element of the schema but for its root.

    Attributes:
        column: The name of the whole column.
        physical: The physical type of a leaf; None for a group.
        is_flat: Whether it has one value a row.
        unknown: Its type if Polars cannot open it.
    """

    column: str
    physical: int | None
    is_flat: bool
    unknown: str | None


@dataclass(slots=True)
class _Group:
    """A group of the schema that is being read, and how many of its children are still to come."""

    children: int
    column: str
    is_flat: bool


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group.

    Attributes:
        rows: Its number of rows.
        chunks: The metadata of each wanted column, with its leaf of the schema.
    """

    rows: int
    chunks: list[tuple[_Node, object]]


@dataclass(slots=True)
class _Footer:
    """What is needed of the footer; filled while it is read.

    Attributes:
        start: Where it starts.
        content: Its bytes.
        wanted: The columns whose chunks are needed; all of them if there are none.
        most_columns: The most columns that are read.
        name: What messages call the file.
        nodes: Its schema.
        leaves: Those of its nodes that hold values.
        groups: Its row groups.
        fields: Its other fields.
    """

    start: int
    content: bytes
    wanted: Collection[str]
    most_columns: int
    name: str
    nodes: list[_Node] = field(default_factory=list)
    leaves: list[_Node] = field(default_factory=list)
    groups: list[_RowGroup] = field(default_factory=list)
    fields: Fields = field(default_factory=dict)

    def read(self) -> None:
        """Read the fields, in the order in which every writer writes them."""
        readers = {
            2: self._read_schema,
            3: None,
            4: self._read_groups,
            5: list_reader({1: None, 2: None}),
            _ENCRYPTION: struct_reader({}),
        }
        self.fields, _ = read_fields(self.content, 0, readers)

    @property
    def is_encrypted(self) -> bool:
        return _ENCRYPTION in self.fields

    def _read_schema(self, content: bytes, at: int, kind: int) -> tuple[None, int]:
        """Read the tree that the schema lists, depth first."""
        count, at = read_count(content, at, kind)
        if not count:
            return None, at
        check_width(count - 1, self.name, self.most_columns * NESTED_COLUMNS)
        root, at = read_fields(content, at, _ELEMENT)
        check_width(_number(root, 5), self.name, self.most_columns)
        groups = [_Group(_number(root, 5), "", is_flat=True)]
        for _ in range(count - 1):
            element, at = read_fields(content, at, _ELEMENT)
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
            physical = None if children else _number(element, 1)
            self.nodes.append(_Node(column, physical, is_flat, _unknown_type(element)))
        if any(group.children for group in groups):
            raise DamagedError("its schema lists fewer columns than it counts")
        self.leaves = [node for node in self.nodes if node.physical is not None]
        return None, at

    def _read_groups(self, content: bytes, at: int, kind: int) -> tuple[None, int]:
        count, at = read_count(content, at, kind)
        readers = {1: self._read_chunks, 3: None}
        for _ in range(count):
            group, at = read_fields(content, at, readers)
            chunks = group.get(1)
            if not isinstance(chunks, list):
                raise DamagedError("a row group has no columns")
            self.groups.append(_RowGroup(_number(group, 3), chunks))
        return None, at

    def _read_chunks(self, content: bytes, at: int, kind: int) -> tuple[object, int]:
        count, at = read_count(content, at, kind)
        if count != len(self.leaves):
            raise DamagedError("a row group has another number of columns than the schema")
        chunks: list[tuple[_Node, object]] = []
        for leaf in self.leaves:
            if self.wanted and leaf.column not in self.wanted:
                at = skip_struct(content, at)
            else:
                chunk, at = read_fields(content, at, _CHUNK)
                chunks.append((leaf, chunk.get(3)))
        return chunks, at


def checked_parquet(
    path: Path,
    new_file: Callable[[], Path],
    name: str,
    wanted: Collection[str],
    max_columns: int,
) -> Path:
    """Check the sizes in a Parquet file; gives the file, or a copy without columns that Polars cannot open.

    Args:
        path: The file.
        new_file: Gives the path of a copy if one is needed.
        name: What messages call it.
        wanted: The columns that are needed; all of them if none are given.
        max_columns: The most columns that are read.

    Raises:
        InputError: A needed column cannot be opened, the file is encrypted, or has too many columns.
        DamagedError: The file is damaged.
    """
    footer = _checked_footer(path, name, wanted, max_columns)
    if footer.is_encrypted:
        raise InputError(f"{name}: is encrypted, which cannot be read. Write it without.")
    return _openable(path, new_file, name, wanted, footer)


def check_sizes(path: Path, name: str, wanted: Collection[str]) -> None:
    """Check the sizes that a Parquet file states of some columns.

    Args:
        path: The file.
        name: What messages call it.
        wanted: The columns; all of them if none are given.

    Raises:
        DamagedError: The file contradicts itself.
    """
    # Their number was checked when the file was opened, and no footer has more columns than bytes.
    _checked_footer(path, name, wanted, LARGEST_FOOTER_BYTES)


def _checked_footer(path: Path, name: str, wanted: Collection[str], max_columns: int) -> _Footer:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        start, content = _footer_bytes(descriptor, name)
        footer = _Footer(start, content, frozenset(wanted), max_columns, name)
        footer.read()
        if not footer.is_encrypted:
            _check_groups(descriptor, footer)
    finally:
        os.close(descriptor)
    return footer


def _footer_bytes(descriptor: int, name: str) -> tuple[int, bytes]:
    """Where the footer starts, and its bytes up to the end of the file."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    start = size - TAIL_BYTES - int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or start < len(MAGIC):
        raise DamagedError("its footer is not at its end")
    if size - start > LARGEST_FOOTER_BYTES:
        raise InputError(
            f"{name}: its footer has {size - start:,} bytes, of which at most {LARGEST_FOOTER_BYTES:,} are "
            "read. Write larger row groups, or fewer columns."
        )
    return start, os.pread(descriptor, size - start, start)


def _check_groups(descriptor: int, footer: _Footer) -> None:
    for group in footer.groups:
        for leaf, meta in group.chunks:
            _check_chunk(descriptor, footer.start, meta, leaf, group.rows)
    if sum(group.rows for group in footer.groups) != _number(footer.fields, 3):
        raise DamagedError("its row groups have another number of rows than its footer says")


def _check_chunk(descriptor: int, end: int, meta: object, leaf: _Node, rows: int) -> None:
    if not isinstance(meta, dict):
        raise DamagedError(f"column {leaf.column!r} has no metadata")
    values, size = _number(meta, 5), _number(meta, 7)
    start = min(filter(None, (_number(meta, 9), _number(meta, 11, 0))), default=0)
    if _number(meta, 1) != leaf.physical:
        raise DamagedError(f"column {leaf.column!r} is stored in another type than the schema says")
    # NOTE: a column without values may have no place either.
    if size and (start < len(MAGIC) or start + size > end):
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


def _read_header(descriptor: int, start: int, size: int) -> tuple[Fields, int]:
    try:
        return read_fields(os.pread(descriptor, min(size, HEADER_BYTES), start), 0, _PAGE)
    except DamagedError:
        longest = min(size, LONGEST_HEADER_BYTES)
        return read_fields(os.pread(descriptor, longest, start), 0, _PAGE)


def _check_page(header: Fields, meta: Fields, leaf: _Node) -> int:
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
    value = fields.get(number, default) if isinstance(fields, dict) else None
    if not isinstance(value, int) or value < 0:
        raise DamagedError(f"its metadata says {value!r} where a size or a number is due")
    return value


def _text(fields: Fields, number: int) -> str:
    value = fields.get(number)
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _openable(
    path: Path, new_file: Callable[[], Path], name: str, wanted: Collection[str], footer: _Footer
) -> Path:
    unknown = {node.column: node.unknown for node in footer.nodes if node.unknown}
    notes = footer.fields.get(5, [])
    pairs = notes if isinstance(notes, list) else []
    arrow = [note.get(2) for note in pairs if note.get(1) == _ARROW_SCHEMA]
    types = unreadable_types(arrow[0]) if arrow else {}
    if not unknown and not types:
        return path
    check_needed(name, unknown, wanted)
    whole, _ = read_struct(footer.content)
    if unknown:
        _drop_columns(whole, footer.nodes, unknown.keys())
    if arrow:
        # Without Arrow's schema, columns are read in the types of Parquet.
        others: list[object] = [n for n in _structs(whole, 5) if n.get(1) != _ARROW_SCHEMA]
        whole[5] = Items(others, STRUCT)
    target = Path(shutil.copyfile(path, new_file()))
    with target.open("r+b") as file:
        file.truncate(footer.start)
        file.seek(footer.start)
        written = write_struct(whole)
        file.write(written + len(written).to_bytes(4, "little") + MAGIC)
    return target


def _unknown_type(element: Fields) -> str | None:
    """The type of a column if Polars cannot open it."""
    if element.get(6) == _INTERVAL:
        return "INTERVAL"
    logical = element.get(10)
    unknown = [n for n in logical if n not in _LOGICAL] if isinstance(logical, list) else []
    return _NAMES.get(unknown[0], "an unknown logical type") if unknown else None


def _structs(fields: Struct, number: int) -> list[Struct]:
    """The structures in a list."""
    items = fields.get(number, [])
    if not isinstance(items, list) or not all(isinstance(item, Struct) for item in items):
        raise DamagedError("its metadata holds a list of another kind")
    return items


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
