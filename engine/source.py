"""Inputs to chunks: finds the files and reads them in order; `formats` tells what they are.

Gives raw columns as they stand. Types and values are checked by `validation`.
"""

import csv
import errno
import glob
import os
import re
import shutil
import sys
import tempfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.batches import whole_batches
from engine.databases import Query, fetch
from engine.errors import (
    AccessError,
    EngineError,
    InputError,
    NoInputError,
    StorageError,
    counted,
    quoted,
)
from engine.formats import (
    GZIP_MAGIC,
    Format,
    check_csv,
    csv_header,
    read_head,
    told_format,
    unpacked,
    without_mark,
)
from engine.objects import fetch_objects, is_object
from engine.partitions import HIDDEN_PREFIXES, partition_values, partitioned_files
from engine.text_lines import (
    TOO_SHORT,
    csv_fault,
    half_character,
    ndjson_fault,
    short_rows,
)

CHUNK_ROWS = 32_768
"""Rows in one hand at a time, unless somebody says otherwise."""

STANDARD_INPUT = "-"
STANDARD_INPUT_NAME = "standard input"
# What a run adds to the rows it sets aside.
SOURCE_COLUMNS = ("source_file", "source_row", "reasons", "chunk_row", TOO_SHORT)
NOT_FLAT = (pl.Binary, pl.Object, pl.Duration)
# NDJSON names its columns row by row; this many rows show most of them.
NDJSON_HEADER_ROWS = 1_000
# NOTE: Polars maps these into memory; a file that is cut off meanwhile would end the process.
_MAPPED: tuple[Format, ...] = ("ipc", "ndjson")
# What reading a header raises where the bytes are no CSV or no gzip.
_UNREADABLE = (EOFError, zlib.error, csv.Error)


@dataclass(frozen=True, slots=True)
class Table:
    """One input file: its name for people, its format and its lazy columns.

    Attributes:
        path: Where it lies; None for standard input and queries.
        content: What is read: the file, or a copy of it.
        state: What would differ if the file at `path` were replaced or written to.
        rows: What the file says of their number, or a count apart from the reading.
    """

    name: str
    path: Path | None
    content: Path
    state: tuple[int, ...]
    format: Format
    frame: pl.LazyFrame
    columns: pl.Schema
    rows: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file.

    `rows_before` counts the rows of the same file that came before, `input_rows_before` those of
    the whole input. `flat` is what `flat_columns` gives for the whole input.
    """

    frame: pl.DataFrame
    file: str
    rows_before: int
    input_rows_before: int
    flat: Mapping[str, pl.DataType] = field(default_factory=dict)


@contextmanager
def open_inputs(
    inputs: Sequence[str | Query], wanted: Sequence[str] = ()
) -> Iterator[tuple[Table, ...]]:
    """Open files, globs, directories, `-`, objects or queries, in the order given.

    Args:
        inputs: A directory gives its files in the order of their names; names that begin with a
            dot or an underscore, and what runs leave beside their scores, are left out. Folders
            named `column=value` inside it are partitions: their Parquet files have that column.
        wanted: Columns to look for in all rows of NDJSON, whose first rows may not name them. One
            that has no value in any row counts as absent; columns that are neither wanted nor
            among the first rows are not seen.

    Raises:
        NoInputError: Nothing is there to read.
        InputError: A file is of no known format, or broken; on exit: it has changed meanwhile.
        AccessError: A file may not be read.
        StorageError: The operating system fails to read, or to keep a copy.
        UnavailableError: A database does not answer.
    """
    with _temporary_files() as new_file:
        tables: list[Table] = []
        for text in inputs:
            if isinstance(text, Query):
                path = new_file()
                with _reading(text.name):
                    fetch(text, path)
                tables.append(_open_table(text.name, None, path, new_file, wanted))
            elif is_object(text):
                path = new_file()
                with _reading(text):
                    fetch_objects(text, path)
                tables.append(_open_table(text, None, path, new_file, wanted))
            elif text == STANDARD_INPUT:
                with _reading(STANDARD_INPUT_NAME):
                    path = _spooled(new_file())
                tables.append(_open_table(STANDARD_INPUT_NAME, None, path, new_file, wanted))
            else:
                with _reading(text):
                    paths = _paths(text)
                _check_names(map(str, paths))
                opened = [_open_table(str(p), p, p, new_file, wanted) for p in paths]
                tables += [_with_partitions(table, text) for table in opened]
        yield tuple(tables)
        for table in tables:
            if table.path is not None and _state(table.path) != table.state:
                raise InputError(
                    f"{table.name}: was replaced or written to while it was read. Run again once "
                    "the job that writes it has ended."
                )


def input_paths(inputs: Sequence[str]) -> list[Path]:
    """The files that inputs stand for, standard input apart.

    Raises:
        NoInputError: Nothing is there to read.
    """
    return [path for text in inputs if text != STANDARD_INPUT for path in _paths(text)]


def read_chunks(
    tables: Sequence[Table], columns: Sequence[str] | None, chunk_rows: int
) -> Iterator[Chunk]:
    """Read every table, chunk by chunk, in order.

    Args:
        tables: What `open_inputs` gives.
        columns: Those of them that a table has are read; None reads all that `flat_columns` names.
        chunk_rows: Rows of a chunk, at most.

    Raises:
        InputError: A file breaks off or cannot be decoded.
    """
    flat = flat_columns(tables)
    columns = tuple(flat) if columns is None else columns
    input_rows = 0
    for table in tables:
        rows = 0
        wanted = [name for name in columns if name in table.columns]
        for frame in _batches(table, wanted, chunk_rows):
            yield Chunk(frame, table.name, rows, input_rows, flat)
            rows += frame.height
            input_rows += frame.height


def find_rows(table: Table, columns: Sequence[str], condition: pl.Expr) -> pl.DataFrame:
    """The rows of a table that meet a condition, with `source_row` (from 1); others are not kept.

    Raises:
        InputError: The file breaks off or cannot be decoded.
    """
    wanted = [name for name in columns if name in table.columns]
    with _reading(table.name):
        rows = table.frame.select(wanted).with_row_index("source_row", offset=1)
        return rows.filter(condition).collect(engine="streaming")


def flat_columns(tables: Iterable[Table]) -> dict[str, pl.DataType]:
    """The columns of all tables that a file of any format can hold, with the type they share.

    Left out are nested and binary columns, and those that an earlier run gave to rows it set aside.
    A column whose type differs between the tables is text.
    """
    columns: dict[str, pl.DataType] = {}
    for table in tables:
        for name, dtype in table.columns.items():
            if name in SOURCE_COLUMNS or dtype.is_nested() or dtype in NOT_FLAT:
                continue
            columns[name] = dtype if columns.get(name, dtype) == dtype else pl.String()
    return columns


@contextmanager
def _temporary_files() -> Iterator[Callable[[], Path]]:
    """Gives places for files that are gone afterwards; without any no folder is made."""
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            return Path(stack.enter_context(_temporary_folder()))

        numbers = count()
        yield lambda: folder() / str(next(numbers))


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        # NOTE: a query that was cut short may still write, for a moment, while the folder is removed.
        return tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True)
    except FileNotFoundError as error:
        raise StorageError(
            f"{error.strerror}. Free space, or set TMPDIR to a larger disk."
        ) from error


def _spooled(path: Path) -> Path:
    """Standard input as a file: the formats are read from more than one place."""
    if sys.stdin is None:
        raise NoInputError(f"{STANDARD_INPUT_NAME}: is closed. Give it a table, or name a file.")
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _paths(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        found = sorted(partitioned_files(path))
        found = [p for p in found if not _is_passed_over(p.name)]
        what = f"{text}: a directory without files to read"
    elif path.is_file():
        return [path]
    elif path.exists():
        raise NoInputError(
            f"{text}: a device or a pipe, not a file. Give - to read standard input."
        )
    else:
        # NOTE: a name with brackets is tried as a plain file first.
        found = sorted(p for p in map(Path, glob.glob(text)) if p.is_file())  # noqa: PTH207
        what = f"{_without_password(text)}: no such file"
    if not found:
        raise NoInputError(f"{what}. Check the path; the working directory is {Path.cwd()}.")
    return found


def _without_password(text: str) -> str:
    """An address that is no input, without what may be secret in it."""
    return re.sub(r"://.*", "://…", text, flags=re.DOTALL)


def _check_names(names: Iterable[str]) -> None:
    # NOTE: Polars opens no file whose name is not UTF-8; Python has surrogates for such bytes.
    strange = [ascii(name) for name in names if re.search("[\ud800-\udfff]", name)]
    if strange:
        raise NoInputError(
            f"{strange[0]}: is not UTF-8, as {counted(len(strange), 'name')} of the input. "
            "Give it another name."
        )


def _is_passed_over(name: str) -> bool:
    beside_scores = name.endswith((".lock", ".summary.json")) or ".quarantine." in name
    return beside_scores or name.startswith(HIDDEN_PREFIXES)


def _open_table(
    name: str,
    path: Path | None,
    content: Path,
    new_file: Callable[[], Path],
    wanted: Sequence[str],
) -> Table:
    with _reading(name):
        state = _state(content)
        if read_head(content).startswith(GZIP_MAGIC):
            content = unpacked(content, new_file())
        head = read_head(content)
        kind = told_format(head, name)
        if kind == "ndjson" and head.startswith(BOM_UTF8):
            content = without_mark(content, new_file())
        if kind in _MAPPED and path == content:
            content = Path(shutil.copyfile(content, new_file()))
        if kind == "csv":
            check_csv(content, head, name, wanted)
        if kind == "ndjson" and (line := half_character(content)):
            raise _broken(name, f"line {line:,} has half of a pair of surrogates")
    with _reading(name, _fault(content, kind)):
        frame = _scan(content, kind, wanted)
        rows = int(frame.select(pl.len()).collect().item())
        return Table(name, path, content, state, kind, frame, frame.collect_schema(), rows)


def _with_partitions(table: Table, text: str) -> Table:
    """The table, with the columns that folders between it and an input give."""
    values = {} if table.path is None else partition_values(table.path, Path(text))
    if not values:
        return table
    if table.format != "parquet":
        raise InputError(
            f"{table.name}: {table.format} in a partition, which only Parquet can be. "
            "Name its folder as the input, or write Parquet."
        )
    twice = [name for name in values if name in table.columns]
    if twice:
        raise InputError(
            f"{table.name}: {counted(len(twice), 'column')} both in the file and in the names of "
            f"its folders: {quoted(twice)}. Leave them out of the files."
        )
    columns = [pl.lit(value, pl.String).alias(name) for name, value in values.items()]
    frame = table.frame.with_columns(columns)
    return replace(table, frame=frame, columns=frame.collect_schema())


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _scan(path: Path, kind: Format, wanted: Sequence[str]) -> pl.LazyFrame:
    if kind == "parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if kind == "ipc":
        return pl.scan_ipc(path, glob=False, hive_partitioning=False)
    if kind == "csv":
        # Every column as text: a guessed type would change ids and hide what is no number.
        return pl.scan_csv(path, infer_schema=False, glob=False)
    names = pl.scan_ndjson(path, infer_schema_length=NDJSON_HEADER_ROWS).collect_schema().names()
    late = [name for name in wanted if name not in names]
    if late:
        rows = pl.scan_ndjson(path, schema=dict.fromkeys(late, pl.String))
        has_value = rows.select(pl.all().is_not_null().any()).collect(engine="streaming")
        names += [name for name in late if has_value[name].item()]
    return pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String))


def _batches(table: Table, columns: list[str], chunk_rows: int) -> Iterator[pl.DataFrame]:
    last = table.columns.names()[-1]
    is_csv = table.format == "csv"
    read = [*columns, last] if is_csv and last not in columns else columns
    rows = 0
    short: np.ndarray | None = None
    with _reading(table.name, _fault(table.content, table.format)):
        # NOTE: Polars takes the text "*" for all columns, and "^…$" for a pattern.
        selected = table.frame.select(by_name(read))
        lost = partial(_lost_rows, table)
        for frame in whole_batches(selected, table.rows, chunk_rows, lost):
            # A row that is too short has no last field: most files need not be looked through.
            if short is None and is_csv and frame[last].null_count():
                short = short_rows(table.content, len(table.columns))
            yield _with_short(frame.select(by_name(columns)), short, rows)
            rows += frame.height


def _lost_rows(table: Table, found: int) -> InputError:
    return _broken(table.name, f"it has {table.rows:,} rows, of which {found:,} could be read")


def _with_short(frame: pl.DataFrame, short: np.ndarray | None, rows_before: int) -> pl.DataFrame:
    if short is None or not len(short):
        return frame
    inside = short[(short >= rows_before) & (short < rows_before + frame.height)] - rows_before
    marks = np.zeros(frame.height, np.bool_)
    marks[inside] = True
    return frame.with_columns(pl.Series(TOO_SHORT, marks))


def _fault(content: Path, kind: Format) -> Callable[[], str | None] | None:
    """What tells why a text cannot be read: messages of Polars may show its rows."""
    if kind == "csv":
        return lambda: csv_fault(content, len(csv_header(content)))
    return (lambda: ndjson_fault(content)) if kind == "ndjson" else None


@contextmanager
def _reading(name: str, fault: Callable[[], str | None] | None = None) -> Iterator[None]:
    """Turn what Polars raises into an error that names the file.

    Args:
        name: The file.
        fault: Says what is wrong in place of Polars.
    """
    try:
        yield
    except OSError as error:
        raise _refused(name, error) from error
    # NOTE: a panic inside Polars derives from BaseException.
    except (*_UNREADABLE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if fault is None:
            raise _broken(name, str(error)) from error
        raise _broken(name, fault() or "not a row of it as the others") from error


def _refused(name: str, error: OSError) -> EngineError:
    # NOTE: Polars raises errors of the operating system with their number only in the text, and
    # what it cannot decompress as one without a number.
    stated = re.search(r"os error (\d+)", str(error))
    number = error.errno or (int(stated[1]) if stated else None)
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return AccessError(f"{name}: may not be read by this user. Ask its owner.")
    if number is None:
        return _broken(name, str(error))
    reason = os.strerror(number)
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return NoInputError(f"{name}: no such file ({reason}). Check the path.")
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StorageError(f"{name}: {reason}. Free space, or set TMPDIR to a larger disk.")
    return StorageError(f"{name}: cannot be read: {reason}. Run again.")


def _broken(name: str, reason: str) -> InputError:
    first_line = reason.strip().split("\n")[0]
    return InputError(
        f"{name}: cannot be read: {first_line}. "
        "The file may be incomplete or damaged: write it again."
    )
