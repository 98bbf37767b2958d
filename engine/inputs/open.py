"""Inputs to tables: finds or fetches the files of each input, and opens them one by one."""

import re
import select
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Protocol

import polars as pl

from engine.errors import InputError, NoInputError, StorageError, pluralize, quoted
from engine.inputs.errors import reading
from engine.inputs.formats import BLOCK_BYTES
from engine.inputs.lakehouse import lakehouse_table, open_lakehouse
from engine.inputs.logged import check_no_log
from engine.inputs.names import name_of
from engine.inputs.objects import fetch_objects, is_object
from engine.inputs.partitions import (
    matching_files,
    partition_values,
    partitioned_files,
    plain_folder,
)
from engine.inputs.tables import Table, file_state, open_table
from engine.interruption import in_background
from engine.limits import InputLimits

STANDARD_INPUT = "-"
STANDARD_INPUT_NAME = "standard input"


class Source(Protocol):
    """Users that are not in files, such as the rows of a query."""

    @property
    def name(self) -> str:
        """Its name in messages and in the quarantine."""

    def fetch(self, path: Path, wanted: Sequence[str]) -> None:
        """Write the rows to an Arrow IPC file.

        Args:
            path: A new file.
            wanted: The columns that are needed; others are left out if they cannot be read.

        Raises:
            EngineError: The rows cannot be read, or a signal came.
        """


@contextmanager
def open_inputs(
    inputs: Sequence[str | Source],
    wanted: Sequence[str] = (),
    limits: InputLimits = InputLimits(),  # noqa: B008 - it is frozen
) -> Iterator[tuple[Table, ...]]:
    """Open files, globs, directories, `-`, objects, tables of a lakehouse or queries, in the order given.

    Args:
        inputs: A directory gives its files in the order of their names, without those that begin
            with a dot or an underscore and those that runs leave beside their scores. Folders
            named `column=value` inside it are partitions: their Parquet files have that column. A
            glob follows the same rules from the last folder before its first pattern.
        wanted: The columns that are needed. Messages may show their names; in NDJSON they may hold
            no objects.
        limits: What is read at most.

    Raises:
        NoInputError: There is nothing to read.
        InputError: A file is in no known format, or broken; or, on exit, it has changed meanwhile.
        AccessError: A file may not be read.
        StorageError: The operating system cannot read a file, or keep a copy.
        UnavailableError: A database or an object store does not answer.
    """
    with _temporary_files() as new_file:
        opened = partial(open_table, new_file=new_file, wanted=wanted, limits=limits)
        tables = [
            table for one in inputs for table in _open_input(one, new_file, opened, wanted, limits)
        ]
        yield tuple(tables)
        for table in tables:
            if table.path is not None and file_state(table.path) != table.state:
                raise InputError(
                    f"{table.name}: was replaced or written to while it was read. Run again once "
                    "the job that writes it has ended."
                )


def input_paths(inputs: Sequence[str]) -> list[Path]:
    """The files that inputs name; standard input, objects and tables are left out.

    Raises:
        NoInputError: There is nothing to read.
    """
    limits = InputLimits()
    return [path for text in inputs if _is_of_files(text) for path in _files_of(text, limits)[0]]


def _is_of_files(text: str) -> bool:
    return text != STANDARD_INPUT and not is_object(text) and lakehouse_table(text) is None


def _open_input(
    one: str | Source,
    new_file: Callable[[], Path],
    opened: Callable[..., Table],
    wanted: Sequence[str],
    limits: InputLimits,
) -> Iterator[Table]:
    if isinstance(one, str) and _is_of_files(one):
        with reading(one):
            paths, folder = _files_of(one, limits)
        for path in paths:
            # Unpacking, checking and counting a large file may take minutes.
            table = in_background(partial(opened, name_of(path), path, path))
            yield _with_partitions(table, folder)
        return
    name, fetch = _fetching(one, wanted)
    # Rows are read more than once, so they go to a file first.
    content = new_file()
    with reading(name):
        fetch(content)
    yield in_background(partial(opened, name, None, content))


def _fetching(one: str | Source, wanted: Sequence[str]) -> tuple[str, Callable[[Path], None]]:
    """The name of an input that is not a file, and what writes its rows to one."""
    if not isinstance(one, str):
        return one.name, partial(one.fetch, wanted=wanted)
    if (table := lakehouse_table(one)) is not None:
        opened = in_background(partial(open_lakehouse, table))
        return opened.name, lambda path: in_background(partial(opened.copy, path))
    if one == STANDARD_INPUT:
        return STANDARD_INPUT_NAME, lambda path: in_background(partial(_copy_standard_input, path))
    return one, lambda path: in_background(partial(fetch_objects, one, path))


def _copy_standard_input(path: Path) -> None:
    if sys.stdin is None:
        raise NoInputError(f"{STANDARD_INPUT_NAME}: is closed. Give it a table, or name a file.")
    stream = sys.stdin.buffer
    with path.open("wb") as file:
        # NOTE: the parent process may have made it non-blocking; then None means "not yet".
        while (content := stream.read(BLOCK_BYTES)) != b"":
            if content is None:
                select.select([stream], [], [])
            else:
                file.write(content)


def _files_of(text: str, limits: InputLimits) -> tuple[list[Path], Path]:
    """The files that an input names, and the folder below which folders are partitions."""
    path = Path(text)
    if path.is_file():
        check_no_log(text, [path], path.parent)
        return [path], path.parent
    if path.is_dir():
        check_no_log(text, [], path)
        found, folder = sorted(partitioned_files(path, limits.max_files)), path
        what = f"{text}: a directory without files to read"
    elif path.exists():
        raise NoInputError(
            f"{text}: a device or a pipe, not a file. Give - to read standard input."
        )
    else:
        # NOTE: a name with brackets is tried as a plain file first.
        found, folder = sorted(matching_files(text, limits.max_files)), plain_folder(text)
        what = f"{_without_password(text)}: no such file"
    if not found:
        raise NoInputError(f"{what}. Check the path; the working directory is {Path.cwd()}.")
    check_no_log(text, found, folder)
    return found, folder


def _without_password(text: str) -> str:
    """An address that is not an input, without what may be secret in it."""
    return re.sub(r"://.*", "://…", text, flags=re.DOTALL)


def _with_partitions(table: Table, folder: Path) -> Table:
    """The table with the columns that the folders between an input and its file stand for."""
    values = {} if table.path is None else partition_values(table.path, folder)
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


@contextmanager
def _temporary_files() -> Iterator[Callable[[], Path]]:
    """Give paths for files that are removed at the end; the folder is made when one is asked for."""
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            return Path(stack.enter_context(_temporary_folder()))

        numbers = count()
        yield lambda: folder() / str(next(numbers))


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        # NOTE: a cancelled query may still write for a moment while the folder is removed.
        return tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True)
    except FileNotFoundError as error:
        raise StorageError(
            f"{error.strerror}. Free space, or set TMPDIR to a larger disk."
        ) from error
