"""Writes scores to a database: a new table replaces the old one in one transaction.

No other connection sees the new table before the commit. If the run or the connection ends earlier, the
database rolls back and keeps the old table.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from engine.connectors.databases.connections import (
    Cancellation,
    answer,
    connected,
    execute,
    statement_of,
)
from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.uri import Database
from engine.errors import CannotCreateError, StorageError, UnavailableError, UsageError
from engine.interruption import in_background
from engine.rows.chunk import whole_batches

LOADED_ROWS = 65_536
# PostgreSQL truncates longer names.
NAME_CHARACTERS = 63
MARKS = ("purchase_probability", "bundle_id")
"""Columns that every table of scores has; only tables with them are replaced."""
# PostgreSQL's schemas pg_temp* belong to one connection, other pg_* to the server.
_RESERVED_SCHEMA = re.compile(r"pg_\w*|information_schema|temp|system", re.IGNORECASE)
_PLAIN_NAME = rf"[A-Za-z_]\w{{0,{NAME_CHARACTERS - 1}}}"
_NAME = re.compile(rf"(?:({_PLAIN_NAME})\.)?{_PLAIN_NAME}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScoresTable:
    """A table for scores: an `engine.outputs.paths.Destination`.

    Attributes:
        name: The table as the user named it, with or without a schema.
        database: The database.
    """

    name: str
    database: Database

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"table {self.name!r}: give a name, or schema.name, of letters, digits and "
                f"underscores, each of at most {NAME_CHARACTERS} characters."
            )
        if self.schema and self.database.kind == "sqlite":
            raise UsageError(f"table {self.name!r}: SQLite has no schemas. Name the table alone.")
        if self.schema and _RESERVED_SCHEMA.fullmatch(self.schema):
            raise UsageError(
                f"table {self.name!r}: the schema is temporary or the database's own; scores would "
                "not last in it. Name another."
            )
        if self.database.kind == "sqlite" and self.table.lower().startswith("sqlite_"):
            raise UsageError(
                f"table {self.name!r}: SQLite reserves names that begin with sqlite_. Name another."
            )

    @property
    def schema(self) -> str | None:
        """The schema, if it was named."""
        found = _NAME.fullmatch(self.name)
        return found[1] if found else None

    @property
    def table(self) -> str:
        """The name without the schema."""
        return self.name.rpartition(".")[2]

    @property
    def path(self) -> Path:
        """The path in the working directory from which lock, staging, quarantine and summary get their names."""
        return Path(self.name)

    @property
    def label(self) -> str:
        """Its name in messages and in the summary."""
        return f"table {self.name} of {self.database.variable}"

    @property
    def suffix(self) -> str:
        """Scores are staged as Parquet."""
        return ".parquet"

    def qualified(self, table: str | None = None) -> str:
        """This table, or another of the same schema, as SQL names it."""
        names = (self.schema, table or self.table)
        return ".".join(f'"{name}"' for name in names if name)

    def exists(self, limit_seconds: float | None = None) -> bool:
        """Whether something of this name exists.

        Args:
            limit_seconds: The longest wait for the answer.

        Raises:
            CannotCreateError: The directory of the database's file is missing.
            EngineError: The database does not answer.
        """
        return self._found(limit_seconds) != "nothing"

    def check(self, *, replace: bool) -> None:
        """Check that the table can be created, and that only scores are replaced.

        Raises:
            CannotCreateError: Something of this name exists and may not be replaced or is not a table
                of scores; or the directory of the database's file is missing.
            EngineError: The database does not answer.
        """
        found = self._found()
        if found != "nothing" and not replace:
            raise CannotCreateError(
                f"{self.label}: exists already. Use --if-exists replace, or another --table."
            )
        self._check_replaceable(found)

    @contextmanager
    def loaded(self, scores: Path, *, replace: bool) -> Iterator[Callable[[], None]]:
        """Load a file into a new table that replaces the old one, and yield the commit.

        Without the commit, leaving the context rolls back.

        Args:
            scores: A complete Parquet file.
            replace: Whether an existing table may be dropped.

        Raises:
            EngineError: The database does not answer or refuses the table, or a signal came.
        """
        cancellation = Cancellation()
        with ExitStack() as opened:
            load = partial(self._load, scores, cancellation, opened, replace=replace)
            yield partial(self._commit, in_background(load, cancellation.cancel))

    def _commit(self, connection: Any) -> None:  # noqa: ANN401 - ADBC's, untyped
        # If the connection is lost, whether it was committed is unknown.
        with database_errors(self.database, "committing"):
            connection.commit()

    def _load(
        self, scores: Path, cancellation: Cancellation, opened: ExitStack, *, replace: bool
    ) -> Any:  # noqa: ANN401
        """Do everything except the commit, and pass the open connection to `opened`.

        Until then this thread owns the connection, and closes it if loading fails or is cancelled.
        A driver that cannot cancel keeps it until the process ends.
        """
        with ExitStack() as stack:
            connection = stack.enter_context(connected(self.database, cancellation))
            # Processes on two machines may have the same id.
            staging = f"scores_staging_{os.getpid()}_{secrets.token_hex(4)}"
            mode = "create"
            for frame in _frames(scores):
                cancellation.check()
                self._ingest(connection, frame, staging, mode)
                mode = "append"
            self._replace(connection, staging, replace=replace)
            cancellation.check()
            opened.push(stack.pop_all())
            return connection

    def _ingest(self, connection: Any, frame: pl.DataFrame, staging: str, mode: str) -> None:  # noqa: ANN401
        options = {
            "adbc.ingest.target_table": staging,
            "adbc.ingest.mode": f"adbc.ingest.mode.{mode}",
        }
        if self.schema:
            options["adbc.ingest.target_db_schema"] = self.schema
        with database_errors(self.database, "writing"), statement_of(connection) as statement:
            statement.set_options(**options)
            statement.bind_stream(frame)
            statement.execute_update()

    def _replace(self, connection: Any, staging: str, *, replace: bool) -> None:  # noqa: ANN401
        database = self.database
        if database.kind == "postgresql":
            # Runs that create the same table wait for each other here, because a new table has no lock.
            lock = f"SELECT pg_advisory_xact_lock(hashtextextended('{self.table}', 0)) IS NULL"
            answer(database, connection, lock)
        if replace:
            self._check_replaceable(self._found_by(connection))
            execute(database, connection, f"DROP TABLE IF EXISTS {self.qualified()}")
        rename = f'ALTER TABLE {self.qualified(staging)} RENAME TO "{self.table}"'
        execute(database, connection, rename)

    def _check_replaceable(self, found: str) -> None:
        if found not in ("nothing", "scores"):
            raise CannotCreateError(
                f"{self.label}: exists and is not a table of scores, which has the columns "
                f"{' and '.join(MARKS)}. It is not replaced: name another --table."
            )

    def _found(self, limit_seconds: float | None = None) -> str:
        file = self.database.file
        if file is not None and not file.exists():
            if not file.parent.is_dir():
                raise CannotCreateError(
                    f"{self.label}: the directory of its file does not exist. Create it first."
                )
            return "nothing"
        cancellation = Cancellation()
        try:
            return in_background(
                partial(self._ask, cancellation), cancellation.cancel, limit_seconds
            )
        except TimeoutError:
            raise UnavailableError(
                f"{self.label}: no answer within {limit_seconds} s. Run again later."
            ) from None

    def _ask(self, cancellation: Cancellation) -> str:
        with connected(self.database, cancellation, read_only=True) as connection:
            return self._found_by(connection)

    def _found_by(self, connection: Any) -> str:  # noqa: ANN401
        """What the name refers to: `nothing`, `no table` (such as a view), a `table`, or `scores`."""
        found = (
            "SELECT CASE WHEN NOT is_there THEN 'nothing' WHEN NOT is_table THEN 'no table' "  # noqa: S608
            f"WHEN marks < {len(MARKS)} THEN 'table' ELSE 'scores' END FROM ({self._facts()}) AS f"
        )
        return str(answer(self.database, connection, found))

    def _facts(self) -> str:
        """A query for `is_there`, `is_table` and `marks`, the number of `MARKS` that are columns."""
        # Names are letters, digits and underscores, so they need no escaping.
        name, marks = self.table, ", ".join(f"'{mark}'" for mark in MARKS)
        if self.database.kind == "postgresql":
            there = f"to_regclass('{self.qualified()}')"
            return (
                f"SELECT {there} IS NOT NULL AS is_there, "  # noqa: S608
                f"EXISTS (SELECT FROM pg_class WHERE oid = {there} AND relkind IN ('r', 'p')) "
                "AS is_table, (SELECT count(*) FROM pg_attribute WHERE NOT attisdropped "
                f"AND attrelid = {there} AND attname IN ({marks})) AS marks"
            )
        if self.database.kind == "sqlite":
            return (
                "SELECT count(*) > 0 AS is_there, coalesce(max(type = 'table'), 0) AS is_table, "  # noqa: S608
                f"(SELECT count(*) FROM pragma_table_info('{name}') WHERE name IN ({marks})) "
                f"AS marks FROM sqlite_master WHERE lower(name) = lower('{name}')"
            )
        schema = f"'{self.schema}'" if self.schema else "current_schema()"
        where = (
            f"table_catalog = current_catalog() AND table_schema = {schema} "
            f"AND lower(table_name) = lower('{name}')"
        )
        return (
            "SELECT count(*) > 0 AS is_there, "  # noqa: S608
            "coalesce(bool_and(table_type = 'BASE TABLE'), false) AS is_table, "
            f"(SELECT count(*) FROM information_schema.columns WHERE {where} "
            f"AND column_name IN ({marks})) AS marks FROM information_schema.tables WHERE {where}"
        )


def _frames(scores: Path) -> Iterator[pl.DataFrame]:
    staged = pl.scan_parquet(scores, glob=False)
    rows = int(staged.select(pl.len()).collect().item())
    return whole_batches(staged, rows, LOADED_ROWS, partial(_lost_rows, scores))


def _lost_rows(scores: Path, found: int) -> StorageError:
    return StorageError(f"{scores}: only {found:,} of its rows could be read. Run again.")
