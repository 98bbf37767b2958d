"""Reads users from a query into a file."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.connectors.databases.connections import (
    Cancellation,
    connected,
    execute,
    result_of,
    statement_of,
)
from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.uri import Database
from engine.errors import InputError, NoInputError, pluralize, quoted
from engine.interruption import in_background

# By default SQLite returns a thousand rows at a time.
BATCH_ROWS = 32_768

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """Users from a query, in the order in which the database returns them."""

    sql: str
    database: Database

    @property
    def name(self) -> str:
        """Its name in messages and in the quarantine."""
        return f"query of {self.database.variable}"

    def fetch(self, path: Path) -> None:
        """Write the rows to an Arrow IPC file, batch by batch.

        Scoring reads its input more than once, and the database should not wait for it.

        Args:
            path: A new file.

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
        in_background(partial(_fetch, self, path, cancellation), cancellation.cancel)


def _fetch(query: Query, path: Path, cancellation: Cancellation) -> None:
    database = query.database
    with (
        connected(database, cancellation, read_only=True) as connection,
        statement_of(connection) as statement,
    ):
        with database_errors(database, "reading"):
            if database.kind == "postgresql":
                execute(database, connection, "SET TRANSACTION READ ONLY", "reading")
            elif database.kind == "sqlite":
                statement.set_options(**{"adbc.sqlite.query.batch_rows": BATCH_ROWS})
            statement.set_sql_query(query.sql)
            rows = result_of(statement)
        if rows is None:
            raise InputError(f"{query.name}: returns no columns. Begin it with SELECT.")
        _check_columns(rows.schema, query.name)
        _copy(rows.schema, _batches(database, rows, cancellation), path)


def _batches(database: Database, rows: Any, cancellation: Cancellation) -> Iterator[Any]:  # noqa: ANN401 - pyarrow's, untyped
    while True:
        with database_errors(database, "reading"):
            batch = next(rows, None)
        cancellation.check()
        if batch is None:
            return
        yield batch


def _copy(schema: Any, batches: Iterator[Any], path: Path) -> None:  # noqa: ANN401
    import pyarrow

    plain = pyarrow.schema([(field.name, _plain(field.type)) for field in schema])
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, plain) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(plain))


def _plain(dtype: Any) -> Any:  # noqa: ANN401
    """The storage type of values: PostgreSQL's NUMERIC and DuckDB's ENUM become text."""
    import pyarrow

    if isinstance(dtype, pyarrow.BaseExtensionType):
        return dtype.storage_type
    return dtype.value_type if pyarrow.types.is_dictionary(dtype) else dtype


def _check_columns(schema: Any, name: str) -> None:  # noqa: ANN401
    """Check that every column has a unique name and a type that Polars can read."""
    twice = [column for column, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise InputError(
            f"{name}: {pluralize(len(twice), 'column')} more than once: {quoted(twice)}. "
            "Select each once, or give the others another name with AS."
        )
    wrong = {field.name: kind for field in schema if (kind := _unreadable(field.type))}
    if wrong:
        kinds = ", ".join(sorted(set(wrong.values())))
        raise InputError(
            f"{name}: {pluralize(len(wrong), 'column')} of a type that cannot be read ({kinds}): "
            f"{quoted(wrong)}. Cast them to numbers or text in the query."
        )


def _unreadable(dtype: Any) -> str | None:  # noqa: ANN401
    """A type in a column, possibly nested, on which Polars panics; None if there is none."""
    import pyarrow

    if pyarrow.types.is_interval(dtype):
        return "INTERVAL"
    if pyarrow.types.is_union(dtype):
        return "UNION"
    inside = (_unreadable(dtype.field(i).type) for i in range(dtype.num_fields))
    return next(filter(None, inside), None)
