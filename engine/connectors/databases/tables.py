"""Writes scores to a database: a new table replaces the old one in one transaction.

No other connection sees the new table before the commit. If the run or the connection ends earlier, the
database rolls back and keeps the old table.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from engine.connectors.databases.connections import (
    ANSWER_SECONDS,
    Cancellation,
    answer,
    connected,
    execute,
    statement_of,
)
from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.standing import (
    found_query,
    inherit_statement,
    losses_query,
    schema_query,
)
from engine.connectors.databases.uri import Database
from engine.errors import (
    CannotCreateError,
    InterruptedRunError,
    StorageError,
    UnavailableError,
    UsageError,
)
from engine.interruption import in_background
from engine.rows.chunk import whole_batches

LOADED_ROWS = 65_536
# PostgreSQL truncates longer names.
NAME_CHARACTERS = 63
MARKS = ("purchase_probability", "bundle_id")
"""Columns that every table of scores has."""
Result = TypeVar("Result")

_UNKNOWN = (
    "the database had not confirmed the commit, so whether the new scores are published is unknown. Run "
    "again with --if-exists replace."
)
# PostgreSQL's schemas pg_temp* belong to one connection, other pg_* to the server.
_RESERVED_SCHEMA = re.compile(r"pg_\w*|information_schema|temp|system", re.IGNORECASE)
_PLAIN_NAME = rf"[A-Za-z_]\w{{0,{NAME_CHARACTERS - 1}}}"
_NAME = re.compile(rf"(?:({_PLAIN_NAME})\.)?{_PLAIN_NAME}", re.ASCII)


@dataclass(slots=True)
class ScoresTable:
    """A table for scores: an `engine.outputs.paths.Destination`.

    Attributes:
        name: The table as the user named it, with or without a schema.
        database: The database.
        marks: Columns that the table has; only a table with them is replaced.
        schema: The schema if it was named. In PostgreSQL otherwise the one in which the first
            connection finds the table, or would create it: all statements name the same.
    """

    name: str
    database: Database
    marks: tuple[str, ...] = MARKS
    schema: str | None = field(init=False)

    def __post_init__(self) -> None:
        found = _NAME.fullmatch(self.name)
        if not found:
            raise UsageError(
                f"table {self.name!r}: give a name, or schema.name, of letters, digits and "
                f"underscores, each of at most {NAME_CHARACTERS} characters."
            )
        self.schema = found[1]
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
        names = (self.schema, self.table)
        return f"table {'.'.join(filter(None, names))} of {self.database.variable}"

    @property
    def suffix(self) -> str:
        """Scores are staged as Parquet."""
        return ".parquet"

    @property
    def is_file(self) -> bool:
        """Nothing in a table says which summary is of it."""
        return False

    @property
    def holds_nul(self) -> bool:
        """Whether texts may hold the character NUL; PostgreSQL's may not."""
        return self.database.kind != "postgresql"

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
        return self._found(limit_seconds)[0] not in ("nothing", "no schema")

    def check(self, *, replace: bool) -> None:
        """Check that the table can be created, and that only scores are replaced.

        Raises:
            CannotCreateError: Something of this name exists and may not be replaced, is not a table
                of scores, or has what would be lost; or the schema, or the directory of the database's
                file, is missing.
            EngineError: The database does not answer.
        """
        found, losses = self._found()
        if found == "no schema":
            raise CannotCreateError(
                f"{self.label}: its schema does not exist. Create it first, or name another."
            )
        if found != "nothing" and not replace:
            raise CannotCreateError(
                f"{self.label}: exists already. Use --if-exists replace, or another --table."
            )
        self._check_replaceable(found, losses)

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
            self._waited_for(load, cancellation)
            yield partial(self._commit, cancellation, opened)

    def _commit(self, cancellation: Cancellation, opened: ExitStack) -> None:
        connection = cancellation.connection
        # The thread that commits owns the connection: it cannot be closed while it is in use.
        commit = partial(self._commit_and_close, connection, opened.pop_all(), cancellation)
        try:
            self._waited_for(commit, cancellation)
        except InterruptedRunError as error:
            raise InterruptedRunError(error.exit_code - 128, _UNKNOWN) from None

    def _commit_and_close(
        self,
        connection: Any,  # noqa: ANN401 - ADBC's, untyped
        opened: ExitStack,
        cancellation: Cancellation,
    ) -> None:
        cancellation.expect_answer()
        # If the connection is lost, whether it was committed is unknown.
        with opened, database_errors(self.database, "committing"):
            connection.commit()

    def _waited_for(self, work: Callable[[], Result], cancellation: Cancellation) -> Result:
        """The result of work in which every answer of the database is waited for no longer than allowed."""
        try:
            return in_background(work, cancellation.cancel, check=cancellation.check_deadline)
        except TimeoutError:
            raise UnavailableError(
                f"{self.label}: no answer within {ANSWER_SECONDS} s. Run again later, with "
                "--if-exists replace if the table is there."
            ) from None

    def _load(
        self, scores: Path, cancellation: Cancellation, opened: ExitStack, *, replace: bool
    ) -> None:
        """Do everything except the commit, and pass the open connection to `opened`.

        Until then this thread owns the connection, and closes it if loading fails or is cancelled.
        A driver that cannot cancel keeps it until the process ends.
        """
        with ExitStack() as stack:
            cancellation.expect_answer()
            connection = stack.enter_context(connected(self.database, cancellation))
            self._found_by(connection)
            # Processes on two machines may have the same id.
            staging = f"scores_staging_{os.getpid()}_{secrets.token_hex(4)}"
            mode = "create"
            for frame in _frames(scores):
                cancellation.expect_answer()
                self._ingest(connection, frame, staging, mode)
                mode = "append"
            cancellation.expect_answer()
            self._replace(connection, staging, replace=replace)
            cancellation.check()
            cancellation.deadline = None
            opened.push(stack.pop_all())

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
        found = self._found_by(connection)
        if replace and found != "nothing":
            if database.kind == "postgresql" and found == "scores":
                # Nobody adds to the table between the check and the drop.
                lock = f"LOCK TABLE {self.qualified()} IN ACCESS EXCLUSIVE MODE"
                execute(database, connection, lock)
            self._check_replaceable(found, self._losses(connection))
            if database.kind == "postgresql":
                inherit = inherit_statement(self.qualified(), self.qualified(staging))
                execute(database, connection, inherit)
            execute(database, connection, f"DROP TABLE {self.qualified()}")
        rename = f'ALTER TABLE {self.qualified(staging)} RENAME TO "{self.table}"'
        execute(database, connection, rename)

    def _check_replaceable(self, found: str, losses: str | None) -> None:
        if found not in ("nothing", "scores"):
            raise CannotCreateError(
                f"{self.label}: exists and is not a table of scores or a list, which has the columns "
                f"{' and '.join(self.marks)}. It is not replaced: name another --table."
            )
        if losses:
            raise CannotCreateError(
                f"{self.label}: is not replaced, because it has {losses}, which a new table would not "
                "have. Drop what it has, or name another --table and copy from there."
            )

    def _found(self, limit_seconds: float | None = None) -> tuple[str, str | None]:
        """What the name refers to, and what would be lost if it were replaced."""
        file = self.database.file
        if file is not None and not file.exists():
            if not file.parent.is_dir():
                raise CannotCreateError(
                    f"{self.label}: the directory of its file does not exist. Create it first."
                )
            return ("no schema" if self.schema not in (None, "main") else "nothing"), None
        cancellation = Cancellation()
        ask = partial(self._ask, cancellation)
        if limit_seconds is None:
            return self._waited_for(ask, cancellation)
        try:
            return in_background(ask, cancellation.cancel, limit_seconds)
        except TimeoutError:
            raise UnavailableError(
                f"{self.label}: no answer within {limit_seconds} s. Run again later."
            ) from None

    def _ask(self, cancellation: Cancellation) -> tuple[str, str | None]:
        cancellation.expect_answer()
        with connected(self.database, cancellation, read_only=True) as connection:
            found = self._found_by(connection)
            return found, self._losses(connection) if found == "scores" else None

    def _found_by(self, connection: Any) -> str:  # noqa: ANN401
        """What the name refers to, as `found_query` says it."""
        database = self.database
        if self.schema is None and database.kind == "postgresql":
            self.schema = answer(database, connection, schema_query(self.table))
        if self.schema is None and database.kind == "postgresql":
            return "no schema"
        query = found_query(database.kind, self.schema, self.table, self.marks)
        return str(answer(database, connection, query))

    def _losses(self, connection: Any) -> str | None:  # noqa: ANN401
        query = losses_query(self.database.kind, self.schema, self.table)
        found = answer(self.database, connection, query)
        return None if found is None else str(found)


def _frames(scores: Path) -> Iterator[pl.DataFrame]:
    staged = pl.scan_parquet(scores, glob=False)
    rows = int(staged.select(pl.len()).collect().item())
    return whole_batches(staged, rows, LOADED_ROWS, partial(_lost_rows, scores))


def _lost_rows(scores: Path, found: int) -> StorageError:
    return StorageError(f"{scores}: only {found:,} of its rows could be read. Run again.")
