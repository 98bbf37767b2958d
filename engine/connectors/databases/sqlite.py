"""Reads a query of SQLite through Python's own client, which gives every value as it is stored.

A column of SQLite may hold values of several types. The ADBC driver guesses the type from the first
rows, and rounds numbers to 7 digits if there is a text among them. Here the type of a column is decided
over all rows, so that no value changes.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from engine.connectors.databases.connections import CONNECT_TIMEOUT_SECONDS, Cancellation
from engine.connectors.databases.uri import Database
from engine.errors import InputError

EXACT_IN_FLOAT64 = 2**53
"""Every whole number up to this one is a Float64."""
_BIG = "whole number beyond 2^53"
_NOT_UTF8 = re.compile(r"Could not decode to UTF-8 column '(.*?)' with text", re.DOTALL)


def connected_to_sqlite(database: Database, cancellation: Cancellation) -> closing[Any]:
    """A connection for reading only; it waits for other processes as long as for a server."""
    uri = f"{Path(str(database.file)).absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(
        uri, uri=True, timeout=CONNECT_TIMEOUT_SECONDS, isolation_level=None
    )
    cancellation.interrupt = connection.interrupt
    return closing(connection)


def row_batches(cursor: sqlite3.Cursor, batch_rows: int, name: str) -> Iterator[list[Any]]:
    """The rows of a query, batch by batch.

    Raises:
        InputError: A text is not UTF-8.
    """
    try:
        yield from iter(partial(cursor.fetchmany, batch_rows), [])
    except sqlite3.OperationalError as error:
        if found := _NOT_UTF8.match(str(error)):
            raise InputError(
                f"{name}: column {found[1]!r} holds text that is not UTF-8. Convert it in the "
                "query, or cast it to BLOB."
            ) from None
        raise


class ExactFile:
    """An Arrow IPC file of rows whose columns may change their types as they arrive.

    As long as the types stay the same, rows go to one file. When they change, a further one begins,
    and `finish` makes one of them. Whole numbers and fractions become Float64 if that changes none of
    them; numbers and texts become text.

    Args:
        path: A new file.
        names: The columns.
    """

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path = path
        self._names = names
        self._kinds: list[set[Any]] = [set() for _ in names]
        self._parts: list[tuple[Path, pl.Schema]] = []
        self._open = ExitStack()
        self._writer: Any = None

    def write(self, rows: list[Any]) -> None:
        """Add rows, each a sequence of Python values."""
        columns = list(zip(*rows, strict=True))
        kinds = [_kinds(column) for column in columns]
        for known, new in zip(self._kinds, kinds, strict=True):
            known |= new
        series = [
            _series(name, column, found)
            for name, column, found in zip(self._names, columns, kinds, strict=True)
        ]
        frame = pl.DataFrame(series)
        if not self._parts or self._parts[-1][1] != frame.schema:
            self._begin(frame.schema)
        _write(self._writer, frame)

    def finish(self) -> None:
        """Complete the file. Columns that hold BLOBs beside other values become Binary."""
        self._open.close()
        kinds = self._kinds if self._parts else [{str} for _ in self._names]
        final = pl.Schema(zip(self._names, map(_dtype, kinds), strict=True))
        if [schema for _, schema in self._parts] == [final]:
            self._parts[0][0].rename(self._path)
        else:
            with ExitStack() as opened:
                writer = _writer(self._path, final, opened)
                for frame in chain.from_iterable(_frames(path) for path, _ in self._parts):
                    cast = [_converted(frame[name], dtype) for name, dtype in final.items()]
                    _write(writer, pl.DataFrame(cast))
            for path, _ in self._parts:
                path.unlink()

    def _begin(self, schema: pl.Schema) -> None:
        self._open.close()
        path = self._path.with_name(f"{self._path.name}.{len(self._parts)}")
        self._parts.append((path, schema))
        self._writer = _writer(path, schema, self._open)


def _kinds(column: Iterable[Any]) -> set[Any]:
    """The types of the values, without that of null; `_BIG` if there are such numbers."""
    kinds: set[Any] = set(map(type, column)) - {type(None)}
    if int not in kinds:
        return kinds
    whole = column if kinds == {int} else [value for value in column if type(value) is int]
    numbers = pl.Series(whole, dtype=pl.Int64)
    limit = EXACT_IN_FLOAT64
    is_big = numbers.max() > limit or numbers.min() < -limit  # type: ignore[operator]
    return kinds | {_BIG} if is_big else kinds


def _dtype(kinds: set[Any]) -> pl.DataType:
    if bytes in kinds:
        return pl.Binary()
    if str in kinds or {float, _BIG} <= kinds:
        return pl.String()
    if float in kinds:
        return pl.Float64()
    return pl.Int64() if int in kinds else pl.Null()


def _series(name: str, column: Iterable[Any], kinds: set[Any]) -> pl.Series:
    dtype = _dtype(kinds)
    if dtype == pl.String and kinds != {str}:
        column = _texts(column)
    elif dtype == pl.Binary and kinds != {bytes}:
        column = _blobs(column)
    return pl.Series(name, column, dtype=dtype, strict=False)


def _converted(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype == dtype:
        return series
    if dtype == pl.String:
        return pl.Series(series.name, _texts(series.to_list()), dtype=dtype)
    if dtype == pl.Binary:
        return pl.Series(series.name, _blobs(series.to_list()), dtype=dtype)
    return series.cast(dtype)


def _texts(values: Iterable[Any]) -> list[str | None]:
    """The shortest texts that give the same numbers; a whole number has the same text in both types."""
    return [
        None
        if value is None
        else str(value).removesuffix(".0")
        if type(value) is float
        else str(value)
        for value in values
    ]


def _blobs(values: Iterable[Any]) -> list[bytes | None]:
    return [
        value if value is None or type(value) is bytes else str(value).encode() for value in values
    ]


def _writer(path: Path, schema: pl.Schema, stack: ExitStack) -> Any:  # noqa: ANN401 - pyarrow's, untyped
    import pyarrow

    file = stack.enter_context(pyarrow.OSFile(str(path), "wb"))
    columns = pl.DataFrame(schema=schema).to_arrow().schema
    return stack.enter_context(pyarrow.ipc.new_file(file, columns))


def _write(writer: Any, frame: pl.DataFrame) -> None:  # noqa: ANN401
    writer.write_table(frame.to_arrow())


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    import pyarrow

    with pyarrow.OSFile(str(path)) as file, pyarrow.ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            yield pl.DataFrame(pyarrow.Table.from_batches([reader.get_batch(number)]))
