"""Scores to a table of a database: loaded beside, then put in the place of the old in one transaction.

Until the commit no other connection sees anything of it, and whatever ends the run or the connection
before makes the database undo it all: the old table stands.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from engine.connectors.databases.background import Cancellation, in_background
from engine.connectors.databases.connections import answer, connected, execute, statement_of
from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.uri import Database
from engine.errors import CannotCreateError, StorageError, UnavailableError, UsageError
from engine.rows.chunk import whole_batches

LOADED_ROWS = 65_536
# PostgreSQL cuts longer names off.
NAME_CHARACTERS = 63
MARKS = ("purchase_probability", "bundle_id")
"""Columns that every table of scores has; only a table that has them is replaced."""
# PostgreSQL gives the schemas pg_temp* to one connection, others that begin so to itself.
_RESERVED_SCHEMA = re.compile(r"pg_\w*|information_schema|temp|system", re.IGNORECASE)
_PLAIN_NAME = rf"[A-Za-z_]\w{{0,{NAME_CHARACTERS - 1}}}"
_NAME = re.compile(rf"(?:({_PLAIN_NAME})\.)?{_PLAIN_NAME}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScoresTable:
    """A table that scores go to.

    Attributes:
        name: The table as it was named, perhaps with its schema before a dot.
        database: Where it is.
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
                "not stay in it. Name another."
            )
        if self.database.kind == "sqlite" and self.table.lower().startswith("sqlite_"):
            raise UsageError(
                f"table {self.name!r}: SQLite keeps names that begin with sqlite_ for itself. "
                "Name another."
            )

    @property
    def schema(self) -> str | None:
        """The schema, where it was named."""
        found = _NAME.fullmatch(self.name)
        return found[1] if found else None

    @property
    def table(self) -> str:
        """The name without the schema."""
        return self.name.rpartition(".")[2]

    @property
    def place(self) -> str:
        """What messages and the summary call it."""
        return f"table {self.name} of {self.database.variable}"

    def qualified(self, table: str | None = None) -> str:
        """This table, or another of the same schema, as SQL names it."""
        names = (self.schema, table or self.table)
        return ".".join(f'"{name}"' for name in names if name)

    def exists(self, limit_seconds: float | None = None) -> bool:
        """Whether it, or something else of its name, is there.

        Args:
            limit_seconds: The longest wait for the answer.

        Raises:
            CannotCreateError: The file of the database lies in no directory.
            EngineError: The database cannot be asked.
        """
        return self._found(limit_seconds) != "nothing"

    def check_replaceable(self, connection: Any = None) -> None:  # noqa: ANN401 - ADBC's, untyped
        """Check that nothing but scores is lost where this table is replaced.

        Args:
            connection: One that is open; by default one of its own.

        Raises:
            CannotCreateError: What stands there is no table of scores, or the file of the database
                lies in no directory.
            EngineError: The database cannot be asked.
        """
        found = self._found() if connection is None else self._found_by(connection)
        if found not in ("nothing", "scores"):
            raise CannotCreateError(
                f"{self.place}: exists and is not a table of scores, which has the columns "
                f"{' and '.join(MARKS)}. It is not replaced: name another --table."
            )

    def _found(self, limit_seconds: float | None = None) -> str:
        file = self.database.file
        if file is not None and not file.exists():
            if not file.parent.is_dir():
                raise CannotCreateError(
                    f"{self.place}: the directory of its file does not exist. Make it first."
                )
            return "nothing"
        cancellation = Cancellation()
        try:
            return in_background(
                partial(self._ask, cancellation), cancellation.cancel, limit_seconds
            )
        except TimeoutError:
            raise UnavailableError(
                f"{self.place}: no answer within {limit_seconds} s. Run again later."
            ) from None

    def _ask(self, cancellation: Cancellation) -> str:
        with connected(self.database, cancellation, read_only=True) as connection:
            return self._found_by(connection)

    def _found_by(self, connection: Any) -> str:  # noqa: ANN401
        """What is there: `nothing`, `no table` as a view, a `table`, or one of `scores`."""
        found = (
            "SELECT CASE WHEN NOT is_there THEN 'nothing' WHEN NOT is_table THEN 'no table' "  # noqa: S608
            f"WHEN marks < {len(MARKS)} THEN 'table' ELSE 'scores' END FROM ({self._facts()}) AS f"
        )
        return str(answer(self.database, connection, found))

    def _facts(self) -> str:
        """A query for `is_there`, `is_table` and `marks`, the number of columns of `MARKS`."""
        # Names are letters, digits and underscores: nothing in them ends a text.
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


class TableSwap:
    """One transaction that puts a file of scores in the place of a table.

    First `load`, then `commit`; without the latter `close` undoes all.
    """

    def __init__(self, table: ScoresTable) -> None:
        self._table = table
        self._connection: Any = None
        self._opened = ExitStack()

    def load(self, scores: Path, *, replace: bool) -> None:
        """Load a Parquet file into a new table, and let that take the place of the old.

        Args:
            scores: A complete file.
            replace: Whether a table that stands there may be dropped.

        Raises:
            EngineError: The database does not answer, or refuses it.
        """
        cancellation = Cancellation()
        work = partial(self._load, scores, cancellation, replace=replace)
        in_background(work, cancellation.cancel)

    def commit(self) -> None:
        """Let others see it.

        Raises:
            UnavailableError: The connection is lost; whether it was committed cannot be known.
        """
        with database_errors(self._table.database, "committing"):
            self._connection.commit()

    def close(self) -> None:
        """End the connection; what is not committed is undone."""
        self._opened.close()

    def _load(self, scores: Path, cancellation: Cancellation, *, replace: bool) -> None:
        """Do all but the commit, then hand the connection over.

        Until then it belongs to this thread, which ends it where loading fails or is cancelled; a
        driver that cannot be cancelled keeps it until the process ends.
        """
        table = self._table
        with ExitStack() as stack:
            connection = stack.enter_context(connected(table.database, cancellation))
            # Processes of two machines may have one number.
            staging = f"scores_staging_{os.getpid()}_{secrets.token_hex(4)}"
            mode = "create"
            for frame in _frames(scores):
                if cancellation.asked:
                    raise InterruptedError
                self._ingest(connection, frame, staging, mode)
                mode = "append"
            self._put_in_place(connection, staging, replace=replace)
            if cancellation.asked:
                raise InterruptedError
            self._connection, self._opened = connection, stack.pop_all()

    def _ingest(self, connection: Any, frame: pl.DataFrame, staging: str, mode: str) -> None:  # noqa: ANN401
        options = {
            "adbc.ingest.target_table": staging,
            "adbc.ingest.mode": f"adbc.ingest.mode.{mode}",
        }
        if self._table.schema:
            options["adbc.ingest.target_db_schema"] = self._table.schema
        with (
            database_errors(self._table.database, "writing"),
            statement_of(connection) as statement,
        ):
            statement.set_options(**options)
            statement.bind_stream(frame)
            statement.execute_update()

    def _put_in_place(self, connection: Any, staging: str, *, replace: bool) -> None:  # noqa: ANN401
        table, database = self._table, self._table.database
        if database.kind == "postgresql":
            # Runs that make the same table end one after the other: one that is new has no lock.
            lock = f"SELECT pg_advisory_xact_lock(hashtextextended('{table.table}', 0)) IS NULL"
            answer(database, connection, lock)
        if replace:
            table.check_replaceable(connection)
            execute(database, connection, f"DROP TABLE IF EXISTS {table.qualified()}")
        rename = f'ALTER TABLE {table.qualified(staging)} RENAME TO "{table.table}"'
        execute(database, connection, rename)


def _frames(scores: Path) -> Iterator[pl.DataFrame]:
    staged = pl.scan_parquet(scores, glob=False)
    rows = int(staged.select(pl.len()).collect().item())
    return whole_batches(staged, rows, LOADED_ROWS, partial(_lost_rows, scores))


def _lost_rows(scores: Path, found: int) -> StorageError:
    return StorageError(f"{scores}: only {found:,} of its rows could be read. Run again.")
