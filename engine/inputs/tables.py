"""One file to one table: detects its format, refuses what is wrong with it, and counts its rows."""

import shutil
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.inputs.csv_checks import check_csv, csv_fault, csv_header
from engine.inputs.errors import broken, reading
from engine.inputs.formats import (
    GZIP_MAGIC,
    Format,
    detect_format,
    read_head,
    unpacked,
    without_mark,
)
from engine.inputs.ndjson_checks import half_character, ndjson_fault

# NDJSON names its columns row by row; this many rows show most of them.
NDJSON_HEADER_ROWS = 1_000
# NOTE: Polars maps these into memory. If such a file were cut off, the process would die.
_MAPPED: tuple[Format, ...] = ("ipc", "ndjson")


@dataclass(frozen=True, slots=True)
class Table:
    """One input file with its lazy columns.

    Attributes:
        name: What messages call it.
        path: Where the file is; None for standard input, objects and queries.
        content: The file that is read: the same, or a copy of it.
        state: What changes if the file at `path` is replaced or written to.
        format: Its format.
        frame: Its rows.
        columns: Their types.
        rows: Their number, from the footer or from a separate count.
    """

    name: str
    path: Path | None
    content: Path
    state: tuple[int, ...]
    format: Format
    frame: pl.LazyFrame
    columns: pl.Schema
    rows: int

    def reading(self) -> AbstractContextManager[None]:
        """A context that turns errors of reading the rows into ones that name the file."""
        return reading(self.name, _find_fault(self.content, self.format))


def open_table(
    name: str, path: Path | None, content: Path, new_file: Callable[[], Path], wanted: Sequence[str]
) -> Table:
    """Open one file.

    Args:
        name: What messages call it.
        path: Where the file is; None for standard input, objects and queries.
        content: The file that is read.
        new_file: Gives paths for temporary copies.
        wanted: Column names that messages may show, and to look for in all rows of NDJSON.

    Raises:
        InputError: The file is broken, or in no format that can be read.
        NoInputError: It is not there.
        AccessError: It may not be read.
        StorageError: The operating system cannot read or copy it.
    """
    with reading(name):
        state = file_state(content)
        if read_head(content).startswith(GZIP_MAGIC):
            content = unpacked(content, new_file())
        head = read_head(content)
        kind = detect_format(head, name)
        if kind == "ndjson" and head.startswith(BOM_UTF8):
            content = without_mark(content, new_file())
        if kind in _MAPPED and path == content:
            content = Path(shutil.copyfile(content, new_file()))
        if kind == "csv":
            check_csv(content, head, name, wanted)
        if kind == "ndjson" and (line := half_character(content)):
            raise broken(name, f"line {line:,} has half of a surrogate pair")
    with reading(name, _find_fault(content, kind)):
        frame = _scan(content, kind, wanted)
        rows = int(frame.select(pl.len()).collect().item())
        return Table(name, path, content, state, kind, frame, frame.collect_schema(), rows)


def file_state(path: Path) -> tuple[int, ...]:
    """What changes if a file is replaced or written to; nothing if it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _find_fault(content: Path, kind: Format) -> Callable[[], str | None] | None:
    """What finds the fault of a text file, because messages of Polars may show its values."""
    if kind == "csv":
        return lambda: csv_fault(content, len(csv_header(content)))
    return (lambda: ndjson_fault(content)) if kind == "ndjson" else None


def _scan(path: Path, kind: Format, wanted: Sequence[str]) -> pl.LazyFrame:
    if kind == "parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if kind == "ipc":
        return pl.scan_ipc(path, glob=False, hive_partitioning=False)
    if kind == "csv":
        # Every column as text: a guessed type would change ids and hide what is not a number.
        return pl.scan_csv(path, infer_schema=False, glob=False)
    names = pl.scan_ndjson(path, infer_schema_length=NDJSON_HEADER_ROWS).collect_schema().names()
    late = [name for name in wanted if name not in names]
    if late:
        rows = pl.scan_ndjson(path, schema=dict.fromkeys(late, pl.String))
        has_value = rows.select(pl.all().is_not_null().any()).collect(engine="streaming")
        names += [name for name in late if has_value[name].item()]
    return pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String))
