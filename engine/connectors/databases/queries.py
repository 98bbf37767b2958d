"""Users as the rows of a query, read into a file."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from engine.connectors.databases.arrow_streams import check_stream, signals_heard
from engine.connectors.databases.background import Cancellation, in_background
from engine.connectors.databases.connections import connected, execute, statement_of
from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.uri import Database
from engine.errors import InputError, NoInputError

# SQLite gives a thousand rows at a time otherwise.
BATCH_ROWS = 32_768

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """Users as the rows of a query, in the order in which the database gives them."""

    sql: str
    database: Database

    @property
    def name(self) -> str:
        """What messages and the quarantine call it."""
        return f"query of {self.database.variable}"


def fetch(query: Query, path: Path) -> None:
    """Write the rows of a query to an Arrow IPC file, batch by batch.

    Scoring reads its input more than once, and a database need not wait for it.

    Args:
        query: What to read; it cannot write.
        path: A new file.

    Raises:
        EngineError: The database cannot be reached, or refuses the query.
    """
    if not _COMMENT.sub("", query.sql).strip("; \t\r\n"):
        raise InputError(f"{query.name}: is empty. Give a SELECT.")
    file = query.database.file
    if file is not None and not file.is_file():
        raise NoInputError(f"{query.database.variable}: its URI names no file. Check the path.")
    cancellation = Cancellation()
    in_background(partial(_fetch, query, path, cancellation), cancellation.cancel)


def _fetch(query: Query, path: Path, cancellation: Cancellation) -> None:
    with (
        connected(query.database, cancellation, read_only=True) as connection,
        database_errors(query.database, "reading"),
        statement_of(connection) as statement,
    ):
        if query.database.kind == "postgresql":
            execute(query.database, connection, "SET TRANSACTION READ ONLY", "reading")
        elif query.database.kind == "sqlite":
            statement.set_options(**{"adbc.sqlite.query.batch_rows": BATCH_ROWS})
        statement.set_sql_query(query.sql)
        rows, _ = statement.execute_query()
        check_stream(rows, query.name)
        with signals_heard(rows, lambda: cancellation.asked):
            _write(pl.scan_arrow_c_stream(rows), path)


def _write(frame: pl.LazyFrame, path: Path) -> None:
    # NOTE: types that Arrow does not have, as NUMERIC of PostgreSQL, come as texts or bytes.
    plain = [
        pl.col(name).ext.storage()
        for name, dtype in frame.collect_schema().items()
        if isinstance(dtype, pl.BaseExtension)
    ]
    frame.with_columns(plain).sink_ipc(path, maintain_order=True)
