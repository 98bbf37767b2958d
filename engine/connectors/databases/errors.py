"""Translates errors of database drivers.

Messages name the environment variable that holds the URI. A driver's own text is never shown, because
it contains hosts, users, files and values of rows.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from engine.connectors.databases.uri import Database
from engine.errors import (
    AccessError,
    BundleError,
    CannotCreateError,
    EngineError,
    InputError,
    NoInputError,
    StorageError,
    UnavailableError,
)

# A pattern in the driver's text, the error it stands for, and our message; the first match counts.
_Cause = tuple[str, type[EngineError], str]
_FORBIDDEN = "the user of the URI may not do this. Ask the owner of the database"
_FULL = "its disk is full. Free space and run again"
_MEANWHILE = "another process created the table in the meantime. Run again"
_ENDED = "the database ended the statement, perhaps at a time limit. Ask its owner, and run again"
_LOCKED = "another process has locked it. Run again when that process has ended"
_ABSENT = "no such table or file. Check the query and the URI"
_REFUSED = "the statement is refused. Try it in the database's own client"
_CAUSES: tuple[_Cause, ...] = (
    (
        r"not a valid DuckDB database|file is not a database|disk image is malformed",
        BundleError,
        "its file is not such a database, or is damaged. Check the URI in the variable",
    ),
    (
        r"error in (view|trigger)",
        CannotCreateError,
        "views or other objects depend on the old table. Name another",
    ),
    (r"canceling statement|[Ii]nterrupted", UnavailableError, _ENDED),
    (
        r"authentication failed|no password supplied|no pg_hba|permission denied|not authorized"
        r"|Permission|readonly|read-only|read only",
        AccessError,
        _FORBIDDEN,
    ),
    (r"No space left|disk.*full|database or disk is full", StorageError, _FULL),
    (
        r"(database|role) \S+ does not exist|translate host name|invalid (URI|connection|port)"
        r"|invalid integer|unexpected spaces|in URI",
        BundleError,
        "no such database, host or option. Check the URI in the variable",
    ),
    (r"already exists|another table", CannotCreateError, _MEANWHILE),
    (
        r"locked|lock timeout|set lock on file",
        UnavailableError,
        _LOCKED,
    ),
    (
        r"no such table|Table with name|relation \S+ does not exist|unable to open database file",
        NoInputError,
        _ABSENT,
    ),
    (
        r"[Mm]ismatch|syntax error|one statement at a time|incomplete input|no such column|no such function|column \S+ does not exist"
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
    ("55P03", UnavailableError, _LOCKED),
    (
        "2BP01|42809",
        CannotCreateError,
        "this name is not a table, or views or other objects depend on it. Name another",
    ),
    ("42P01", NoInputError, _ABSENT),
    ("42|22|21", InputError, _REFUSED),
)


@contextmanager
def database_errors(database: Database, doing: str) -> Iterator[None]:
    """Turn errors of a driver, or of pyarrow reading from it, into an `EngineError`."""
    driver_error = import_module("adbc_driver_manager").Error
    arrow_error = import_module("pyarrow").ArrowException
    try:
        yield
    # NOTE: `sqlite3.Warning` is no `sqlite3.Error`; Python 3.11 raises it for two statements at once.
    except (driver_error, arrow_error, sqlite3.Error, sqlite3.Warning, OSError) as error:
        raise _database_error(database, doing, error) from None


def _database_error(database: Database, doing: str, error: BaseException) -> EngineError:
    state = getattr(error, "sqlstate", None) or ""
    unknown: _Cause = ("", UnavailableError, "it does not answer. Run again later")
    text = _own_words(database, str(error))
    by_state = [cause for cause in _STATES if state and re.match(cause[0], state)]
    by_text = [cause for cause in _CAUSES if re.search(cause[0], text)]
    _, kind, reason = (*by_state, *by_text, unknown)[0]
    code = f" (SQLSTATE {state})" if state else ""
    return kind(f"{database.variable}: {doing} failed{code}: {reason}.")


def _own_words(database: Database, text: str) -> str:
    """A driver's text without the statement and path that it quotes, which could match any pattern."""
    said = re.split(r"\n(?:query: |Query was: |LINE \d+: )", text)[0]
    file = database.file
    return said if file is None else said.replace(str(file.absolute()), "").replace(str(file), "")
