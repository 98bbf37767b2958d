"""Databases through ADBC: opened by a URI that is never shown, queried into a file.

PostgreSQL, SQLite and DuckDB. Messages name the environment variable that the URI came from: texts of
drivers hold hosts, users and files, and values of rows. Writing a table is left to `tables`.
"""

import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import polars as pl

from engine.arrow_streams import check_stream, signals_heard
from engine.background import Cancellation, in_background
from engine.errors import (
    AccessError,
    BundleError,
    CannotCreateError,
    EngineError,
    InputError,
    NoInputError,
    StorageError,
    UnavailableError,
    UsageError,
)
from engine.logs import LOG

Kind = Literal["postgresql", "sqlite", "duckdb"]

KINDS: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
}
CONNECT_TRIES = 4
FIRST_WAIT_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 10
# SQLite gives a thousand rows at a time otherwise.
BATCH_ROWS = 32_768

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

# What the texts of the drivers say, first match first, with the error it is and words of our own.
_Cause = tuple[str, type[EngineError], str]
_FORBIDDEN = "the user of the URI may not do this. Ask the owner of the database"
_FULL = "its disk is full. Free space and run again"
_MEANWHILE = "the table has come to exist meanwhile. Run again"
_ENDED = "the database ended the statement, as at a time limit. Ask its owner, and run again"
_ABSENT = "no such table or file. Check the query and the URI"
_REFUSED = "the statement is refused. Try it in the database's own client"
_CAUSES: tuple[_Cause, ...] = (
    (
        r"not a valid DuckDB database|file is not a database|disk image is malformed",
        BundleError,
        "its file is no such database, or is damaged. Check the URI in the variable",
    ),
    (
        r"error in (view|trigger)",
        CannotCreateError,
        "others, as views, depend on the table that stands there. Name another",
    ),
    (
        r"canceling statement|Interrupted!",
        UnavailableError,
        _ENDED,
    ),
    (
        r"authentication failed|no password supplied|no pg_hba|permission denied|not authorized"
        r"|Permission|readonly|read-only|read only",
        AccessError,
        _FORBIDDEN,
    ),
    (
        r"No space left|disk.*full|database or disk is full",
        StorageError,
        _FULL,
    ),
    (
        r"(database|role) \S+ does not exist|translate host name|invalid (URI|connection|port)"
        r"|invalid integer|unexpected spaces|in URI",
        BundleError,
        "no such database, host or option. Check the URI in the variable",
    ),
    (
        r"already exists|another table",
        CannotCreateError,
        _MEANWHILE,
    ),
    (
        r"locked|lock timeout|set lock on file",
        UnavailableError,
        "another process holds it. Run again once that has ended",
    ),
    (
        r"no such table|Table with name|relation \S+ does not exist|unable to open database file",
        NoInputError,
        _ABSENT,
    ),
    (
        r"[Mm]ismatch|syntax error|no such column|no such function|column \S+ does not exist"
        r"|(Parser|Binder|Catalog|Conversion|Invalid Input) Error|ERROR: ",
        InputError,
        _REFUSED,
    ),
)
_STATES: tuple[_Cause, ...] = (
    ("28|42501|25006", AccessError, _FORBIDDEN),
    ("53100", StorageError, _FULL),
    ("42P07", CannotCreateError, _MEANWHILE),
    ("57014", UnavailableError, _ENDED),
    (
        "2BP01|42809",
        CannotCreateError,
        "what stands there is no table, or others, as views, depend on it. Name another",
    ),
    ("42P01", NoInputError, _ABSENT),
    ("42|22|21", InputError, _REFUSED),
)


@dataclass(frozen=True, slots=True)
class Database:
    """Where a database is.

    Attributes:
        variable: The environment variable that holds the URI; messages name it.
        uri: `postgresql://user:password@host/name`, `sqlite:///file` or `duckdb:///file`, with a
            fourth slash where the path is absolute.
        kind: Which database it is.
    """

    variable: str
    uri: str = field(repr=False)
    kind: Kind

    @classmethod
    def of(cls, variable: str, environment: Mapping[str, str]) -> "Database":
        """Take the URI from an environment variable.

        Raises:
            UsageError: That is no name of a variable.
            BundleError: The variable is not set, or holds no URI of a database that is known.
        """
        if not _VARIABLE.fullmatch(variable):
            raise UsageError(
                "--source-env, --target-env: no name of an environment variable; not shown here, "
                "as it may hold a password. Put the URI into a variable, and give its name."
            )
        uri = environment.get(variable, "")
        scheme, separator, rest = uri.partition("://")
        if not uri:
            raise BundleError(f"{variable}: not set. Put the URI of the database into it.")
        if (
            scheme not in KINDS
            or not separator
            or (KINDS[scheme] != "postgresql" and len(rest) < 2)
        ):
            raise BundleError(
                f"{variable}: holds no URI that begins postgresql://, sqlite:/// or duckdb:///. "
                "Mend it; it is not shown here."
            )
        return cls(variable, uri, KINDS[scheme])

    @property
    def file(self) -> Path | None:
        """The file that SQLite or DuckDB keeps it in."""
        if self.kind == "postgresql":
            return None
        return Path(unquote(self.uri.partition("://")[2].removeprefix("/")))


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
        closing(_statement(connection)) as statement,
    ):
        if query.database.kind == "postgresql":
            _run(connection, "SET TRANSACTION READ ONLY")
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


@contextmanager
def connected(
    database: Database, cancellation: Cancellation | None = None, *, read_only: bool = False
) -> Iterator[Any]:
    """A connection inside a transaction; what is not committed is undone at the end.

    A database that does not answer is tried a few times, after waits that grow and differ.

    Args:
        database: Where it is.
        cancellation: Told of the connection, so that another thread can end what it does.
        read_only: Whether files are opened for reading only.

    Raises:
        UnavailableError: The driver is not installed, or the database does not answer.
        EngineError: It refuses the user, or the URI is wrong.
    """
    _check_installed(database.kind)
    file = database.file
    if file is not None and file.is_dir():
        raise BundleError(f"{database.variable}: its URI names a directory. Name the file in it.")
    if file is not None and file.exists() and not os.access(file, os.R_OK):
        raise AccessError(
            f"{database.variable}: the file of its URI may not be read by this user. Ask its owner."
        )
    handle, connection = _opened(database, read_only=read_only)
    if cancellation is not None:
        cancellation.connection = connection
    try:
        yield connection
    finally:
        # Closing undoes what was not committed; a connection that is lost has been undone already.
        for resource in (connection, handle):
            with suppress(Exception):
                resource.close()


def execute(database: Database, connection: Any, sql: str) -> None:  # noqa: ANN401 - ADBC's, untyped
    """Carry out one statement.

    Raises:
        EngineError: The database refuses it.
    """
    with database_errors(database, "writing"):
        _run(connection, sql)


def answer(database: Database, connection: Any, sql: str) -> Any:  # noqa: ANN401 - of any type
    """The one value that a query gives.

    Raises:
        EngineError: The database refuses it.
    """
    with database_errors(database, "reading"), closing(_statement(connection)) as statement:
        statement.set_sql_query(sql)
        rows, _ = statement.execute_query()
        return pl.scan_arrow_c_stream(rows).collect().item()


@contextmanager
def database_errors(database: Database, doing: str) -> Iterator[None]:
    """Turn what a driver raises into an `EngineError` without a word of the driver's."""
    driver_error = import_module("adbc_driver_manager").Error
    try:
        yield
    # NOTE: drivers raise while Polars reads from them, too; a panic of Polars is a BaseException.
    except (driver_error, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _told(database, doing, error) from None


def _told(database: Database, doing: str, error: BaseException) -> EngineError:
    state = getattr(error, "sqlstate", None) or ""
    unknown: _Cause = ("", UnavailableError, "it does not answer. Run again later")
    if isinstance(error, pl.exceptions.PanicException):
        unknown = ("", InputError, "the query gives values that cannot be read. Cast them in it")
    text = _own_words(database, str(error))
    by_state = [cause for cause in _STATES if state and re.match(cause[0], state)]
    by_text = [cause for cause in _CAUSES if re.search(cause[0], text)]
    _, kind, reason = (*by_state, *by_text, unknown)[0]
    code = f" (SQLSTATE {state})" if state else ""
    return kind(f"{database.variable}: {doing} failed{code}: {reason}.")


def _own_words(database: Database, text: str) -> str:
    """What a driver says, without the statement and the path that it quotes: they hold any word."""
    said = re.split(r"\n(?:query: |Query was: |LINE \d+: )", text)[0]
    file = database.file
    return said if file is None else said.replace(str(file.absolute()), "").replace(str(file), "")


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
        handle = manager.AdbcDatabase(**_driver_options(database, read_only=read_only))
        try:
            connection = manager.AdbcConnection(handle)
            connection.set_autocommit(False)
        except BaseException:
            handle.close()
            raise
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
    return {"driver": driver._driver_path(), "uri": _with_timeout(database.uri)}


def _with_timeout(uri: str) -> str:
    """The URI, with the longest wait for a connection where it names none: libpq has no limit."""
    # NOTE: it is not taken apart and put together again: libpq's rules are not those of the web.
    query = uri.partition("?")[2]
    if "connect_timeout" in (option.partition("=")[0] for option in query.split("&")):
        return uri
    joint = "?" if "?" not in uri else "&" if query else ""
    return f"{uri}{joint}connect_timeout={CONNECT_TIMEOUT_SECONDS}"


def _check_installed(kind: Kind) -> None:
    for name in ("adbc_driver_manager", _driver(kind)):
        try:
            import_module(name)
        except ImportError:
            raise UnavailableError(
                f"{kind}: {name} is not installed. Run: pip install 'shopnow-scoring[databases]'"
            ) from None


def _driver(kind: Kind) -> str:
    return f"adbc_driver_{kind}"


def _run(connection: Any, sql: str) -> None:  # noqa: ANN401 - ADBC's, untyped
    with closing(_statement(connection)) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def _statement(connection: Any) -> Any:  # noqa: ANN401 - ADBC's, untyped
    return import_module("adbc_driver_manager").AdbcStatement(connection)
