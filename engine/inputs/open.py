"""Inputs to tables: finds and opens the files; `formats` recognises them.

`chunks` reads their rows.
"""

import glob
import re
import shutil
import sys
import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Protocol

import polars as pl

from engine.errors import InputError, NoInputError, StorageError, pluralize, quoted
from engine.inputs.csv_checks import half_character
from engine.inputs.errors import broken, fault_in, reading
from engine.inputs.formats import (
    GZIP_MAGIC,
    Format,
    check_csv,
    read_head,
    told_format,
    unpacked,
    without_mark,
)
from engine.inputs.objects import fetch_objects, is_object
from engine.inputs.partitions import partition_values, partitioned_files
from engine.interruption import in_background

STANDARD_INPUT = "-"
STANDARD_INPUT_NAME = "standard input"
# NDJSON names columns in every row; this many rows show most of them.
NDJSON_HEADER_ROWS = 1_000
# NOTE: Polars maps these into memory; truncating such a file during a run kills the process.
_MAPPED: tuple[Format, ...] = ("ipc", "ndjson")


class Source(Protocol):
    """Users that are not in files, such as the rows of a query."""

    @property
    def name(self) -> str:
        """Its name in messages and in the quarantine."""

    def fetch(self, path: Path) -> None:
        """Write the rows to an Arrow IPC file.

        Raises:
            EngineError: The rows cannot be read, or a signal came.
        """


@dataclass(frozen=True, slots=True)
class Table:
    """One opened input.

    Attributes:
        path: Its path; None for standard input and queries.
        content: The file that is read: the input or a copy of it.
        state: Values that change if the file at `path` is replaced or written to.
        rows: The number of rows, from the file's footer or a separate count.
    """

    name: str
    path: Path | None
    content: Path
    state: tuple[int, ...]
    format: Format
    frame: pl.LazyFrame
    columns: pl.Schema
    rows: int


@contextmanager
def open_inputs(
    inputs: Sequence[str | Source], wanted: Sequence[str] = ()
) -> Iterator[tuple[Table, ...]]:
    """Open files, globs, directories, `-`, objects or queries, in the order given.

    Args:
        inputs: A directory stands for its files in the order of their names. Names that begin with a
            dot or an underscore are skipped, and so are files that runs write beside their scores.
            Folders named `column=value` are partitions: their Parquet files have that column.
        wanted: Columns to look for in all rows of NDJSON, whose first rows may not name them. A
            wanted column without any value counts as absent. Other columns are found only in the
            first rows.

    Raises:
        NoInputError: There is nothing to read.
        InputError: A file has an unknown format or is damaged; on exit: it has changed.
        AccessError: This user may not read a file.
        StorageError: The operating system cannot read a file or keep a copy.
        UnavailableError: A database does not answer.
    """
    with _temporary_files() as new_file:
        tables: list[Table] = []
        for text in inputs:
            if not isinstance(text, str):
                path = new_file()
                with reading(text.name):
                    text.fetch(path)
                tables.append(_open_table(text.name, None, path, new_file, wanted))
            elif is_object(text):
                path = new_file()
                with reading(text):
                    in_background(partial(fetch_objects, text, path))
                tables.append(_open_table(text, None, path, new_file, wanted))
            elif text == STANDARD_INPUT:
                with reading(STANDARD_INPUT_NAME):
                    path = in_background(partial(_spooled, new_file()))
                tables.append(_open_table(STANDARD_INPUT_NAME, None, path, new_file, wanted))
            else:
                with reading(text):
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
    """The files that inputs stand for, without standard input.

    Raises:
        NoInputError: There is nothing to read.
    """
    return [path for text in inputs if text != STANDARD_INPUT for path in _paths(text)]


@contextmanager
def _temporary_files() -> Iterator[Callable[[], Path]]:
    """Gives paths for temporary files; their folder is created on first use and removed at the end."""
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            return Path(stack.enter_context(_temporary_folder()))

        numbers = count()
        yield lambda: folder() / str(next(numbers))


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        # NOTE: an interrupted query may still write for a moment while the folder is removed.
        return tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True)
    except FileNotFoundError as error:
        raise StorageError(
            f"{error.strerror}. Free space, or set TMPDIR to a larger disk."
        ) from error


def _spooled(path: Path) -> Path:
    """Copy standard input to a file, because formats are read from more than one position."""
    if sys.stdin is None:
        raise NoInputError(f"{STANDARD_INPUT_NAME}: is closed. Give it a table, or name a file.")
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _paths(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        found = sorted(partitioned_files(path))
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
    """A URL that is not an input, without the password in it."""
    return re.sub(r"://.*", "://…", text, flags=re.DOTALL)


def _check_names(names: Iterable[str]) -> None:
    # NOTE: Polars cannot open files whose name is not UTF-8; Python shows such bytes as surrogates.
    strange = [ascii(name) for name in names if re.search("[\ud800-\udfff]", name)]
    if strange:
        raise NoInputError(
            f"{strange[0]}: is not UTF-8, as {pluralize(len(strange), 'name')} of the input. "
            "Give it another name."
        )


def _open_table(
    name: str,
    path: Path | None,
    content: Path,
    new_file: Callable[[], Path],
    wanted: Sequence[str],
) -> Table:
    # Unpacking, checking and counting a large file may take long.
    return in_background(partial(_opened, name, path, content, new_file, wanted))


def _opened(
    name: str,
    path: Path | None,
    content: Path,
    new_file: Callable[[], Path],
    wanted: Sequence[str],
) -> Table:
    with reading(name):
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
            raise broken(name, f"line {line:,} has half of a surrogate pair")
    with reading(name, fault_in(content, kind)):
        frame = _scan(content, kind, wanted)
        rows = int(frame.select(pl.len()).collect().item())
        return Table(name, path, content, state, kind, frame, frame.collect_schema(), rows)


def _with_partitions(table: Table, text: str) -> Table:
    """The table with the columns of the partition folders around it."""
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
            f"{table.name}: {pluralize(len(twice), 'column')} both in the file and in the names of "
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
        # Read every column as text: guessed types would change ids and hide invalid numbers.
        return pl.scan_csv(path, infer_schema=False, glob=False)
    names = pl.scan_ndjson(path, infer_schema_length=NDJSON_HEADER_ROWS).collect_schema().names()
    late = [name for name in wanted if name not in names]
    if late:
        rows = pl.scan_ndjson(path, schema=dict.fromkeys(late, pl.String))
        has_value = rows.select(pl.all().is_not_null().any()).collect(engine="streaming")
        names += [name for name in late if has_value[name].item()]
    return pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String))
