"""Parquet in object stores, through Polars' own readers, copied to a file.

Credentials come from the environment, under the names that each store's own clients use. Messages
name the objects and do not show the answers of a store, which may contain keys.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

import polars as pl

from engine.errors import (
    AccessError,
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
# Patterns in the messages of stores and of Polars; the first match counts.
_Cause = tuple[str, type[EngineError], str]
_DENIED = r"\b40[13]\b|Forbidden|Unauthorized|AccessDenied|credential|InvalidAccessKeyId"
_CAUSES: tuple[_Cause, ...] = (
    (
        _DENIED,
        AccessError,
        "access denied. Check the store's credentials in the environment",
    ),
    (
        r"\b404\b|expanded paths were empty|not found",
        NoInputError,
        "no such object. Check the name",
    ),
    (
        r"\b(429|5\d\d)\b|error sending request|[Tt]imed? ?out|[Cc]onnect|after \d+ retries",
        UnavailableError,
        "the store does not answer after several attempts. Run again later",
    ),
)


def is_object(text: str) -> bool:
    """Whether an input names objects of a store instead of files."""
    return text.startswith(SCHEMES)


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
        InputError: An object is not Parquet, or a column is both in the names and in the objects.
    """
    with object_errors(text):
        _check_no_log(text)
        scan = partial(
            pl.scan_parquet,
            text,
            glob="*" in text or text.endswith("/"),
            hidden_file_prefix=HIDDEN_PREFIXES,
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
        lines = pl.scan_lines(list(patterns), include_file_paths=_PLACE)
        found = lines.select(_PLACE).head(1).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        # Objects that may not be listed may still be read.
        if not re.search(_DENIED, str(error)):
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
        unknown: _Cause = (".", InputError, "cannot be read as Parquet. Write it again")
        causes = [cause for cause in _CAUSES if re.search(cause[0], str(error))]
        _, kind, reason = (*causes, unknown)[0]
        raise kind(f"{text}: {reason}.") from None
