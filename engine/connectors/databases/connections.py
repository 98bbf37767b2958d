"""Connects to databases through ADBC, runs single statements, and cancels both."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from engine.connectors.databases.errors import database_errors
from engine.connectors.databases.uri import Database, Kind
from engine.errors import AccessError, BundleError, UnavailableError
from engine.interruption import started
from engine.logs import LOG

CONNECT_TRIES = 4
FIRST_WAIT_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 10
ANSWER_SECONDS = 300
"""The longest wait for an answer while a table is checked, loaded and committed."""
# Options of libpq's URIs that end a wait for a dead server; all may be given in the URI.
_LIBPQ_OPTIONS = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# The same for the server: waits for locks end, and a session whose client has died lets go of its locks.
_SERVER_SETTINGS = {
    "lock_timeout": "60s",
    "idle_in_transaction_session_timeout": "300s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
    "client_connection_check_interval": "10s",
}


class Cancellation:
    """Lets one thread cancel another thread's work on a connection.

    Attributes:
        asked: Whether cancellation was requested.
        connection: The connection in use; None before it is opened.
        interrupt: Ends the running statement; None before a connection is opened.
        deadline: When the wait for an answer ends, on the monotonic clock; None where it may be long.
    """

    def __init__(self) -> None:
        self.asked = False
        self.deadline: float | None = None
        self.connection: Any = None
        self.interrupt: Callable[[], None] | None = None

    def check(self) -> None:
        """Raise `InterruptedError` if cancellation was requested."""
        if self.asked:
            raise InterruptedError

    def expect_answer(self) -> None:
        """Begin a wait for an answer that has a limit."""
        self.check()
        self.deadline = time.monotonic() + ANSWER_SECONDS

    def check_deadline(self) -> None:
        """Raise `TimeoutError` if the answer is late."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError

    def cancel(self) -> None:
        """Request cancellation, without waiting for it."""
        self.asked = True
        if self.interrupt is not None:
            # NOTE: PostgreSQL is asked through a second connection, whose other end may be silent too.
            # SQLite's driver cannot cancel, and the connection may be closed already.
            started(self.interrupt)


@contextmanager
def connected(
    database: Database, cancellation: Cancellation | None = None, *, read_only: bool = False
) -> Iterator[Any]:
    """Open a connection in a transaction, which is rolled back unless committed.

    A database that does not answer is retried a few times, with random and growing waits.

    Args:
        database: The database.
        cancellation: Receives the connection, so that another thread can cancel its work.
        read_only: Whether to open database files for reading only.

    Raises:
        UnavailableError: The driver is not installed, or the database does not answer.
        EngineError: The database refuses the user, or the URI is wrong.
    """
    check_usable(database)
    handle, connection = _opened(database, read_only=read_only)
    if cancellation is not None:
        cancellation.connection = connection
        cancellation.interrupt = connection.cancel
    try:
        yield connection
    finally:
        # Closing rolls back; a lost connection has been rolled back already.
        for resource in (connection, handle):
            with suppress(Exception):
                resource.close()


def check_usable(database: Database) -> None:
    """Check that the driver is installed, and that a file may be read.

    Raises:
        UnavailableError: The driver is not installed.
        BundleError: The URI names a directory.
        AccessError: The file may not be read.
    """
    _check_installed(database.kind)
    file = database.file
    if file is not None and file.is_dir():
        raise BundleError(f"{database.variable}: its URI names a directory. Name the file in it.")
    if file is not None and file.exists() and not os.access(file, os.R_OK):
        raise AccessError(
            f"{database.variable}: the file of its URI may not be read by this user. Ask its owner."
        )


def execute(database: Database, connection: Any, sql: str, doing: str = "writing") -> None:  # noqa: ANN401 - ADBC's, untyped
    """Execute one statement; `doing` is its name in messages.

    Raises:
        EngineError: The database refuses it.
    """
    with database_errors(database, doing), statement_of(connection) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def answer(database: Database, connection: Any, sql: str) -> Any:  # noqa: ANN401 - of any type
    """The single value that a query returns.

    Raises:
        EngineError: The database refuses it.
    """
    with database_errors(database, "reading"), statement_of(connection) as statement:
        statement.set_sql_query(sql)
        rows = result_of(statement)
        return rows.read_all().column(0)[0].as_py()


def result_of(statement: Any) -> Any:  # noqa: ANN401 - pyarrow's, untyped
    """The rows of a statement as a `pyarrow.RecordBatchReader`; None if it has no columns.

    NOTE: pyarrow releases Python's lock while the driver blocks, so that signals are noticed; Polars
    (2.1) holds it.
    """
    rows, _ = statement.execute_query()
    return import_module("pyarrow").RecordBatchReader.from_stream(rows) if rows.is_valid else None


def statement_of(connection: Any) -> closing[Any]:  # noqa: ANN401 - ADBC's, untyped
    """An ADBC statement that is closed after the `with` block."""
    return closing(import_module("adbc_driver_manager").AdbcStatement(connection))


def _opened(database: Database, *, read_only: bool) -> tuple[Any, Any]:
    connect = partial(_connect, database, read_only=read_only)
    for attempt in range(1, CONNECT_TRIES):
        try:
            return connect()
        except UnavailableError as error:
            wait = FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
            LOG.info("%s Trying again in %.1f s.", error, wait)
            time.sleep(wait)
    return connect()


def _connect(database: Database, *, read_only: bool) -> tuple[Any, Any]:
    manager = import_module("adbc_driver_manager")
    with database_errors(database, "connecting"):
        with ExitStack() as opened:
            handle = manager.AdbcDatabase(**_driver_options(database, read_only=read_only))
            opened.callback(handle.close)
            connection = manager.AdbcConnection(handle)
            opened.callback(connection.close)
            connection.set_autocommit(False)
            if database.kind == "postgresql":
                _set_up(connection)
            opened.pop_all()
        return handle, connection


def _driver_options(database: Database, *, read_only: bool) -> dict[str, str]:
    driver = import_module(_driver(database.kind))
    if database.kind == "duckdb":
        access = {"access_mode": "READ_ONLY"} if read_only else {}
        entry = {"driver": driver.driver_path(), "entrypoint": "duckdb_adbc_init"}
        return entry | {"path": str(database.file)} | access
    if database.kind == "sqlite":
        mode = "?mode=ro" if read_only else ""
        uri = Path(str(database.file)).absolute().as_uri() + mode
        return {"driver": driver._driver_path(), "uri": uri}
    return {"driver": driver._driver_path(), "uri": _with_options(database.uri)}


def _with_options(uri: str) -> str:
    """The URI with limits for waits that libpq leaves open; those in the URI are kept."""
    # NOTE: the URI is not parsed and rebuilt, because libpq's rules differ from those of URLs.
    query = uri.partition("?")[2]
    given = {option.partition("=")[0] for option in query.split("&")}
    missing = (f"{name}={value}" for name, value in _LIBPQ_OPTIONS.items() if name not in given)
    joint = "?" if "?" not in uri else "&" if query else ""
    return f"{uri}{joint}{'&'.join(missing)}"


def _set_up(connection: Any) -> None:  # noqa: ANN401
    """Set the encoding of texts and the limits of waits, for the transaction that has begun.

    Limits that the URI or the server's own configuration sets are kept.
    """
    limits = ", ".join(f"('{name}', '{value}')" for name, value in _SERVER_SETTINGS.items())
    # NOTE: as long as the transaction, because a pool may give the session to somebody else.
    for sql in (
        "SET LOCAL client_encoding TO 'UTF8'",
        "SELECT set_config(name, value, true) FROM pg_settings "  # noqa: S608 - constants
        f"JOIN (VALUES {limits}) AS limits(name, value) USING (name) WHERE source = 'default'",
    ):
        with statement_of(connection) as statement:
            statement.set_sql_query(sql)
            rows = result_of(statement)
            if rows is not None:
                rows.read_all()


def _check_installed(kind: Kind) -> None:
    for name in ("adbc_driver_manager", "pyarrow", _driver(kind)):
        try:
            import_module(name)
        except ImportError:
            raise UnavailableError(
                f"{kind}: {name} is not installed. Run: pip install 'shopnow-scoring[databases]'"
            ) from None


def _driver(kind: Kind) -> str:
    return f"adbc_driver_{kind}"
