"""One file to one table: detects its format, refuses what is wrong with it, and counts its rows."""

import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.inputs.arrow import openable_file
from engine.inputs.arrow_streams import stream_to_file
from engine.inputs.csv_checks import check_csv, csv_fault, csv_header
from engine.inputs.csv_scan import may_have_blank_lines, without_blank_lines
from engine.inputs.errors import broken, check_width, reading
from engine.inputs.formats import (
    GZIP_MAGIC,
    Format,
    detect_format,
    read_head,
    unpacked,
    without_marks,
)
from engine.inputs.names import for_polars
from engine.inputs.ndjson_checks import half_character, ndjson_fault
from engine.inputs.ndjson_keys import read_keys
from engine.inputs.parquet_checks import check_sizes, checked_parquet
from engine.limits import InputLimits


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

    def check(self, columns: Collection[str]) -> None:
        """Check columns that were not among those wanted when the table was opened.

        Raises:
            DamagedError: Their sizes contradict the file.
        """
        if self.format == "parquet":
            check_sizes(self.content, self.name, columns)


def open_table(
    name: str,
    path: Path | None,
    content: Path,
    new_file: Callable[[], Path],
    wanted: Sequence[str],
    limits: InputLimits,
) -> Table:
    """Open one file.

    Args:
        name: What messages call it.
        path: Where the file is; None for standard input, objects and queries.
        content: The file that is read.
        new_file: Gives paths for temporary copies.
        wanted: Column names that messages may show; in NDJSON they may hold no objects.
        limits: What is read at most.

    Raises:
        InputError: The file is broken, or in no format that can be read.
        NoInputError: It is not there.
        AccessError: It may not be read.
        StorageError: The operating system cannot read or copy it.
    """
    with reading(name):
        state = file_state(content)
        if read_head(content).startswith(GZIP_MAGIC):
            content = unpacked(content, new_file(), name, limits.max_gzip_ratio)
        head = read_head(content)
        kind = detect_format(head, name)
        columns: Sequence[str] = ()
        if kind == "csv":
            if may_have_blank_lines(content):
                content = without_blank_lines(content, new_file())
            check_csv(content, head, name, wanted, limits.max_columns)
        elif kind == "ndjson":
            # A copy in any case: Polars maps the file into memory, and would die if it were cut off.
            content = without_marks(content, new_file())
            if line := half_character(content):
                raise broken(name, f"line {line:,} has half of a surrogate pair")
            columns = read_keys(content, name, wanted, limits.max_columns)
        else:
            if kind == "ipc_stream":
                content, kind = stream_to_file(content, new_file(), name), "ipc"
            elif kind == "ipc" and path == content:
                # NOTE: Polars maps it into memory. If the file were cut off, the process would die.
                content = Path(shutil.copyfile(content, new_file()))
            if kind == "ipc":
                openable_file(content, name, wanted)
            else:
                content = checked_parquet(content, new_file, name, wanted, limits.max_columns)
    with reading(name, _find_fault(content, kind)):
        frame = _without_wrappers(_scan(for_polars(content, new_file), kind, columns), wanted)
        schema = frame.collect_schema()
        check_width(len(schema), name, limits.max_columns)
        rows = int(frame.select(pl.len()).collect().item())
        return Table(name, path, content, state, kind, frame, schema, rows)


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


def _without_wrappers(frame: pl.LazyFrame, wanted: Sequence[str]) -> pl.LazyFrame:
    """Read the values that extension types store, and the needed text that writers leave unmarked."""
    wrapped = [
        pl.col(name).ext.storage()
        for name, dtype in frame.collect_schema().items()
        if isinstance(dtype, pl.BaseExtension)
    ]
    frame = frame.with_columns(wrapped) if wrapped else frame
    # NOTE: Impala and old versions of Hive and Spark write text as plain bytes.
    texts = [
        pl.col(name).cast(pl.String)
        for name, dtype in frame.collect_schema().items()
        if dtype == pl.Binary and (name in wanted or not wanted)
    ]
    return frame.with_columns(texts) if texts else frame


def _scan(path: Path, kind: Format, columns: Sequence[str]) -> pl.LazyFrame:
    if kind == "parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if kind == "ipc":
        return pl.scan_ipc(path, glob=False, hive_partitioning=False)
    # Every column as text: a guessed type would change ids and hide what is not a number.
    if kind == "csv":
        return pl.scan_csv(path, infer_schema=False, glob=False)
    return pl.scan_ndjson(path, schema=dict.fromkeys(columns, pl.String))
