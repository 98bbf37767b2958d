"""Reads users from a query into a file."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from engine.connectors.databases.connections import (
    ANSWER_SECONDS,
    Cancellation,
    check_usable,
    connected,
    execute,
    result_of,
    statement_of,
)
from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.sqlite import ExactFile, connected_to_sqlite, row_batches
from engine.connectors.databases.uri import Database
from engine.errors import InputError, NoInputError, UnavailableError, pluralize, quoted
from engine.interruption import in_background
from engine.logs import LOG

# Of SQLite; the other drivers choose their own.
BATCH_ROWS = 32_768

UUID_PARTS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
"""Where the parts of a UUID begin in its 32 hexadecimal digits, and their lengths."""

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
# PostgreSQL's driver fails on the values, so such a column cannot be left out.
_NEVER_FETCHED = ("RECORD",)


@dataclass(frozen=True, slots=True)
class Query:
    """Users from a query, in the order in which the database returns them."""

    sql: str
    database: Database

    @property
    def name(self) -> str:
        """Its name in messages and in the quarantine."""
        return f"query of {self.database.variable}"

    def fetch(self, path: Path, wanted: Sequence[str] = ()) -> None:
        """Write the rows to an Arrow IPC file, batch by batch.

        Scoring reads its input more than once, and the database should not wait for it.

        Args:
            path: A new file.
            wanted: The columns that are needed. Others are left out if they cannot be read.

        Raises:
            EngineError: The database cannot be reached or refuses the query, its columns cannot be
                read, or a signal came.
        """
        if not _COMMENT.sub("", self.sql).strip("; \t\r\n"):
            raise InputError(f"{self.name}: is empty. Give a SELECT.")
        file = self.database.file
        if file is not None and not file.is_file():
            raise NoInputError(f"{self.database.variable}: its URI names no file. Check the path.")
        cancellation = Cancellation()
        if self.database.kind == "sqlite":
            work = partial(_fetch_from_sqlite, self, path, cancellation)
        else:
            work = partial(_fetch, self, path, wanted, cancellation)
        try:
            in_background(work, cancellation.cancel, check=cancellation.check_deadline)
        except TimeoutError:
            raise UnavailableError(
                f"{self.name}: no answer within {ANSWER_SECONDS} s. Run again later."
            ) from None


def _fetch(query: Query, path: Path, wanted: Sequence[str], cancellation: Cancellation) -> None:
    database = query.database
    cancellation.expect_answer()
    with (
        connected(database, cancellation, read_only=True) as connection,
        statement_of(connection) as statement,
    ):
        if database.kind == "postgresql":
            execute(database, connection, "SET TRANSACTION READ ONLY", "reading")
        # The query itself may take as long as the server lets it.
        cancellation.deadline = None
        with database_errors(database, "reading"):
            statement.set_sql_query(query.sql)
            rows = result_of(statement)
        if rows is None:
            raise InputError(f"{query.name}: returns no columns. Begin it with SELECT.")
        _check_unique(rows.schema.names, query.name)
        if database.kind == "postgresql" and not all(map(_postgres_type, rows.schema)):
            raise UnavailableError(
                "postgresql: adbc-driver-postgresql is older than 1.13 and does not tell MONEY from "
                "whole numbers. Run: pip install --upgrade 'shopnow-scoring[databases]'"
            )
        unreadable = {field.name: kind for field in rows.schema if (kind := _unreadable(field))}
        unreadable |= _wrapped_numbers(query, connection, rows.schema)
        everything = rows.schema.names == list(unreadable)
        _check_readable(unreadable, rows.schema.names if everything else wanted, query.name)
        _copy(query, rows.schema, unreadable, _batches(database, rows, cancellation), path)


def _fetch_from_sqlite(query: Query, path: Path, cancellation: Cancellation) -> None:
    check_usable(query.database)
    with (
        database_errors(query.database, "reading"),
        connected_to_sqlite(query.database, cancellation) as connection,
    ):
        cursor = connection.execute(query.sql)
        if cursor.description is None:
            raise InputError(f"{query.name}: returns no columns. Begin it with SELECT.")
        names = [column[0] for column in cursor.description]
        _check_unique(names, query.name)
        file = ExactFile(path, names)
        for rows in row_batches(cursor, BATCH_ROWS, query.name):
            cancellation.check()
            file.write(rows)
        file.finish()


def _batches(database: Database, rows: Any, cancellation: Cancellation) -> Iterator[Any]:  # noqa: ANN401 - pyarrow's, untyped
    while True:
        with database_errors(database, "reading"):
            batch = next(rows, None)
        cancellation.check()
        if batch is None:
            return
        yield batch


def _copy(
    query: Query,
    schema: Any,  # noqa: ANN401
    left_out: Mapping[str, str],
    batches: Iterator[Any],
    path: Path,
) -> None:
    import pyarrow

    fields = [field for field in schema if field.name not in left_out]
    columns = {field.name: _reader(field) for field in fields}
    plain = pyarrow.schema((f.name, columns[f.name](pyarrow.nulls(0, f.type)).type) for f in fields)
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, plain) as writer:
        for batch in batches:
            for name in columns:
                _check_values(query, name, batch.column(name))
            arrays = [read(batch.column(name)) for name, read in columns.items()]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=plain))


def _check_values(query: Query, name: str, column: Any) -> None:  # noqa: ANN401
    """Check that the values are of the type that the driver says: text UTF-8, decimals not longer."""
    import pyarrow

    try:
        column.validate(full=True)
    except pyarrow.ArrowInvalid:
        raise InputError(
            f"{query.name}: column {name!r} holds values that do not fit its type {column.type}, "
            "such as numbers of 39 digits. Cast it to numbers or text in the query."
        ) from None


def _reader(field: Any) -> Callable[[Any], Any]:  # noqa: ANN401
    """What makes the values of a column as they are read into values that every reader knows."""
    import pyarrow
    from pyarrow import compute

    if _postgres_type(field) == "bpchar":
        # PostgreSQL pads such texts with spaces, which it does not count as part of them.
        return partial(compute.utf8_rtrim, characters=" ")
    if _postgres_type(field) == "oid":
        # The driver gives these numbers with a sign.
        return lambda column: column.view(pyarrow.uint32())
    if _postgres_type(field) == "citext":
        return lambda column: column.storage.cast(pyarrow.string())
    if str(field.type) == "extension<arrow.uuid>":
        return _uuid_texts
    if isinstance(field.type, pyarrow.BaseExtensionType):
        return lambda column: column.storage
    if pyarrow.types.is_dictionary(field.type):
        return lambda column: column.cast(field.type.value_type)
    return lambda column: column


def _uuid_texts(column: Any) -> Any:  # noqa: ANN401
    digits = pl.Series(column.storage).bin.encode("hex").str
    parts = pl.DataFrame([digits.slice(*part).alias(str(part)) for part in UUID_PARTS])
    return parts.select(pl.concat_str(pl.all(), separator="-")).to_series().to_arrow()


def _check_unique(names: Sequence[str], where: str) -> None:
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{where}: {pluralize(len(twice), 'column')} more than once: {quoted(twice)}. "
            "Select each once, or give the others another name with AS."
        )


def _check_readable(unreadable: Mapping[str, str], wanted: Sequence[str], where: str) -> None:
    """Check that no column is needed whose type cannot be read, or whose values the driver changes."""
    wrong = {n: kind for n, kind in unreadable.items() if n in wanted or kind in _NEVER_FETCHED}
    if wrong:
        raise InputError(
            f"{where}: {pluralize(len(wrong), 'column')} of a type that cannot be read "
            f"({_kinds(wrong)}): {quoted(wrong)}. Cast them to numbers or text in the query."
        )
    if unreadable:
        LOG.info(
            "%s: left out %s that cannot be read and is not needed (%s): %s",
            *(where, pluralize(len(unreadable), "column"), _kinds(unreadable), quoted(unreadable)),
        )


def _kinds(columns: Mapping[str, str]) -> str:
    return ", ".join(sorted(set(columns.values())))


def _unreadable(field: Any) -> str | None:  # noqa: ANN401
    """A type in a column, possibly nested, that cannot be read; None if there is none."""
    import pyarrow

    # PostgreSQL's driver gives cents, or whatever the server's locale has, as whole numbers.
    if _postgres_type(field) in ("money", "_money"):
        return "MONEY"
    if _postgres_type(field) == "record":
        return "RECORD"
    # Polars panics on these two.
    if pyarrow.types.is_interval(field.type):
        return "INTERVAL"
    if pyarrow.types.is_union(field.type):
        return "UNION"
    inside = (_unreadable(field.type.field(i)) for i in range(field.type.num_fields))
    return next(filter(None, inside), None)


def _postgres_type(field: Any) -> str:  # noqa: ANN401
    return str((field.metadata or {}).get(b"POSTGRESQL:type", b""), "utf-8")


def _wrapped_numbers(query: Query, connection: Any, schema: Any) -> dict[str, str]:  # noqa: ANN401
    """Columns of DuckDB whose driver gives large numbers as negative ones, each with its type."""
    if query.database.kind != "duckdb":
        return {}
    columns = None
    with (
        suppress(InputError),
        database_errors(query.database, "reading"),
        statement_of(connection) as statement,
    ):
        statement.set_sql_query(f"DESCRIBE {query.sql}")
        columns = result_of(statement).read_all()
    if columns is None or "column_type" not in columns.column_names:
        # Several statements, or one that only runs, such as CALL: any number of 128 bits may be such a one.
        return {field.name: "HUGEINT or UHUGEINT" for field in schema if _has_128_bits(field.type)}
    kinds = zip(columns["column_name"], columns["column_type"], strict=True)
    return {n.as_py(): "UHUGEINT" for n, kind in kinds if "UHUGEINT" in kind.as_py()}


def _has_128_bits(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow

    inside = (_has_128_bits(kind.field(i).type) for i in range(kind.num_fields))
    return kind == pyarrow.decimal128(38, 0) or any(inside)
