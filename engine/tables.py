"""Scores to a table of a database: loaded beside, then put in the place of the old in one transaction.

Until the commit no other connection sees anything of it, and whatever ends the run or the connection
before makes the database undo it all: the old table stands.
"""

import os
import re
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.databases import Database, answer, connected, database_errors, execute
from engine.errors import CannotCreateError, UsageError

LOADED_ROWS = 65_536
# PostgreSQL cuts longer names off.
NAME_CHARACTERS = 63
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

    def exists(self) -> bool:
        """Whether it, or something else of its name, is there.

        Raises:
            CannotCreateError: The file of the database lies in no directory.
            EngineError: The database cannot be asked.
        """
        file = self.database.file
        if file is not None and not file.exists():
            if not file.parent.is_dir():
                raise CannotCreateError(
                    f"{self.place}: the directory of its file does not exist. Make it first."
                )
            return False
        with connected(self.database, read_only=True) as connection:
            return bool(answer(self.database, connection, self._existence()))

    def _existence(self) -> str:
        # Names are letters, digits and underscores: nothing in them ends a text.
        name = self.table
        if self.database.kind == "postgresql":
            return f"SELECT to_regclass('{self.qualified()}') IS NOT NULL"
        if self.database.kind == "sqlite":
            return f"SELECT count(*) FROM sqlite_master WHERE lower(name) = lower('{name}')"  # noqa: S608
        schema = f"'{self.schema}'" if self.schema else "current_schema()"
        return (
            "SELECT count(*) FROM information_schema.tables "  # noqa: S608
            f"WHERE table_catalog = current_catalog() AND table_schema = {schema} "
            f"AND lower(table_name) = lower('{name}')"
        )


class TableSwap:
    """One transaction that puts a file of scores in the place of a table.

    First `load`, then `commit`; without the latter `close` undoes all.
    """

    def __init__(self, table: ScoresTable) -> None:
        self._table = table
        self._stack = ExitStack()
        self._connection: Any = None

    def load(self, scores: Path, *, replace: bool) -> None:
        """Load a Parquet file into a new table, and let that take the place of the old.

        Args:
            scores: A complete file.
            replace: Whether a table that stands there may be dropped.

        Raises:
            EngineError: The database does not answer, or refuses it.
        """
        table = self._table
        database = table.database
        self._connection = self._stack.enter_context(connected(database))
        staging = f"scores_staging_{os.getpid()}"
        mode = "create"
        batches = pl.scan_parquet(scores, glob=False).collect_batches(
            chunk_size=LOADED_ROWS, maintain_order=True
        )
        for frame in batches:
            self._ingest(frame, staging, mode)
            mode = "append"
        if replace:
            execute(database, self._connection, f"DROP TABLE IF EXISTS {table.qualified()}")
        rename = f'ALTER TABLE {table.qualified(staging)} RENAME TO "{table.table}"'
        execute(database, self._connection, rename)

    def commit(self) -> None:
        """Let others see it.

        Raises:
            UnavailableError: The connection is lost; whether it was committed cannot be known.
        """
        with database_errors(self._table.database, "committing"):
            self._connection.commit()

    def close(self) -> None:
        """End the connection; what is not committed is undone."""
        self._stack.close()

    def _ingest(self, frame: pl.DataFrame, staging: str, mode: str) -> None:
        from adbc_driver_manager import AdbcStatement

        options = {
            "adbc.ingest.target_table": staging,
            "adbc.ingest.mode": f"adbc.ingest.mode.{mode}",
        }
        if self._table.schema:
            options["adbc.ingest.target_db_schema"] = self._table.schema
        database = self._table.database
        with (
            database_errors(database, "writing"),
            closing(AdbcStatement(self._connection)) as statement,
        ):
            statement.set_options(**options)
            statement.bind_stream(frame)
            statement.execute_update()
