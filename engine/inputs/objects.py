"""Parquet in object stores, through Polars' own readers, copied to a file.

Credentials come from the environment, under the names that each store's own clients use. Messages
name the objects and do not show the answers of a store, which may contain keys.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl

from engine.errors import (
    AccessError,
    BundleError,
    EngineError,
    InputError,
    NoInputError,
    UnavailableError,
    error_number,
    pluralize,
    quoted,
)
from engine.inputs.logged import LOG_MARKS, logged_table, possible_roots
from engine.inputs.partitions import HIDDEN_PREFIXES, partition_columns

SCHEMES = ("s3://", "gs://", "az://")
# The column for the locations of objects; no table has this name.
_PLACE = " place"
_STATUS = re.compile(r"status code(?::|\s+\S+) (\d{3}) ")
# Patterns in what `_said` gives; the first match counts. Names of objects and columns, which messages
# contain too, must not match.
_Cause = tuple[str, type[EngineError], str]
_SETTINGS: _Cause = (
    # NOTE: 416 is the answer to a read of an empty object.
    r"^status (?!416)|^object-store error|Generic \w+ error|InvalidUri",
    BundleError,
    "the settings of the store in the environment are incomplete or wrong. Check its account, region, "
    "address and credentials",
)
_CAUSES: tuple[_Cause, ...] = (
    (
        r"^status 40[13]",
        AccessError,
        "access denied. Check the store's credentials in the environment",
    ),
    (
        r"^status 404|expanded paths were empty",
        NoInputError,
        "no such object. Check the name",
    ),
    (
        r"token request|/latest/api/token ",
        UnavailableError,
        "no credentials in the environment, and the service that gives them to machines does not "
        "answer. Set the store's credentials, or run again later",
    ),
    (
        r"^status (408|429|5)|HTTP error(?!(?s:.{,40})builder error)|error sending request|after \d+ retries",
        UnavailableError,
        "the store does not answer after several attempts. Run again later",
    ),
    _SETTINGS,
    ("", InputError, "cannot be read as Parquet. Write it again"),
)
# Where these packages are installed, Polars asks them for credentials, and their errors pass through it.
_CLIENTS = ("azure", "botocore", "google")
# By scheme, variables with credentials that the readers know, and those packages do not.
_OF_READERS = {
    "gs": re.compile("GOOGLE_(SERVICE_ACCOUNT|BEARER_TOKEN|SKIP_SIGNATURE)"),
    "az": re.compile(
        "AZURE_(STORAGE_(ACCOUNT_KEY|ACCESS_KEY|MASTER_KEY|SAS_|TOKEN|USE_EMULATOR)|SKIP_SIGNATURE)"
    ),
}


def is_object(text: str) -> bool:
    """Whether an input names objects of a store instead of files."""
    return text.startswith(SCHEMES)


def credential_provider(text: str) -> Literal["auto"] | None:
    """Whether Polars may ask the packages of a store's maker: not if the environment has credentials."""
    known = _OF_READERS.get(text.partition("://")[0])
    return None if known and any(map(known.match, os.environ)) else "auto"


def fetch_objects(text: str, path: Path) -> None:
    """Write the rows of Parquet objects to an Arrow IPC file, in the order of their names.

    Args:
        text: An object, a glob, or a prefix that ends with a slash. Parts of the names
            such as `column=value` become columns.
        path: A new file.

    Raises:
        NoInputError: There is no such object.
        AccessError: The store denies access.
        UnavailableError: The store does not answer.
        BundleError: The settings of the store in the environment are incomplete or wrong.
        InputError: An object is not Parquet, or a column is both in the names and in the objects.
    """
    with object_errors(text):
        _check_no_log(text)
        scan = partial(
            pl.scan_parquet,
            text,
            glob="*" in text or text.endswith("/"),
            hidden_file_prefix=HIDDEN_PREFIXES,
            credential_provider=credential_provider(text),
        )
        plain = scan(hive_partitioning=False, include_file_paths=_PLACE)
        first = plain.select(_PLACE).head(1).collect()
        names = partition_columns(str(first.item())) if first.height else ()
        twice = [name for name in names if name in plain.collect_schema()]
        if twice:
            raise InputError(
                f"{text}: {pluralize(len(twice), 'column')} both in the objects and in their names: "
                f"{quoted(twice)}. Leave them out of the objects."
            )
        if names:
            texts = dict.fromkeys(names, pl.String)
            plain = scan(hive_partitioning=True, hive_schema=texts)
        else:
            plain = plain.drop(_PLACE)
        plain.sink_ipc(path, maintain_order=True)


def _check_no_log(text: str) -> None:
    """Refuse objects of a table whose log alone knows which of them count."""
    scheme, _, place = text.partition("://")
    folder = PurePosixPath(*takewhile(lambda part: "*" not in part, place.split("/")[:-1]))
    roots = [f"{scheme}://{root}" for root in possible_roots(folder)]
    patterns = {f"{root}/{mark}": (root, mark) for root in roots for mark in LOG_MARKS}
    try:
        lines = pl.scan_lines(
            list(patterns), include_file_paths=_PLACE, credential_provider=credential_provider(text)
        )
        found = lines.select(_PLACE).head(1).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        # Objects that may not be listed may still be read.
        if _cause(error)[1] is not AccessError:
            raise
        return
    for place in found[_PLACE]:
        matched = (named for pattern, named in patterns.items() if fnmatchcase(place, pattern))
        raise logged_table(text, *next(matched))


@contextmanager
def object_errors(text: str) -> Iterator[None]:
    """Turn errors of a store into an `EngineError` that names the objects and quotes nothing."""
    try:
        yield
    except EngineError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if error_number(error) == errno.ENOSPC:
            raise
        _, kind, reason = _cause(error)
        raise kind(f"{text}: {reason}.") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        _, kind, reason = _SETTINGS
        raise kind(f"{text}: {reason}.") from None


def _cause(error: BaseException) -> _Cause:
    said = _said(str(error))
    return next(cause for cause in _CAUSES if re.search(cause[0], said))


def _said(message: str) -> str:
    """The status of a store's answer if there is one, else the message."""
    status = _STATUS.search(message)
    return f"status {status[1]}" if status else message
