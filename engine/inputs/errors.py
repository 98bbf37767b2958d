"""Errors of reading, as messages that name the file and show none of its values."""

import csv
import errno
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl

from engine.errors import (
    AccessError,
    EngineError,
    InputError,
    NoInputError,
    ResourceError,
    StorageError,
    error_number,
)
from engine.interruption import check_interrupted

NOT_TEXT = "invalid utf8\n\nThis error occurred in the following expression"
"""What Polars says if bytes cannot be cast to text."""


class DamagedError(ValueError):
    """A binary file contradicts itself, or is cut off."""


# What reading a header raises if the bytes are not CSV, not gzip, or contradict each other.
_UNREADABLE = (EOFError, zlib.error, csv.Error, DamagedError)


@contextmanager
def reading(name: str, fault: Callable[[], str | None] | None = None) -> Iterator[None]:
    """Turn errors of Polars and of the operating system into ones that name the file.

    Args:
        name: The file.
        fault: Finds what is wrong with a text file. Without it, the message of Polars is shown.
    """
    try:
        yield
    except OSError as error:
        raise _system_error(name, error) from error
    # NOTE: a panic inside Polars derives from BaseException.
    except (*_UNREADABLE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        shortage = ResourceError.of(error)
        if shortage is not None:
            raise shortage from error
        if NOT_TEXT in str(error):
            column = re.search(r'col\("(.*)"\)\.strict_cast', str(error))
            raise InputError(
                f"{name}: column {column[1] if column else ''!r} of the type Binary holds bytes that are not "
                "UTF-8 text. Write it as text or as whole numbers."
            ) from error
        if fault is None:
            raise broken(name, str(error)) from error
        raise broken(name, fault() or "a row differs from the others") from error


def check_width(columns: int, name: str, max_columns: int) -> None:
    """Refuse a table with too many columns.

    Raises:
        InputError: It has more than `max_columns`.
    """
    if columns > max_columns:
        raise InputError(
            f"{name}: {columns:,} columns, of which at most {max_columns:,} are read. Check the job that "
            "writes it; the commands of engine read more with --max-columns."
        )


def broken(name: str, reason: str) -> InputError:
    """The error of a damaged file, with the first line of the reason.

    Raises:
        InterruptedRunError: A signal came; Polars then ends a read early, whatever the file holds.
    """
    check_interrupted()
    first_line = reason.strip().split("\n")[0]
    return InputError(
        f"{name}: cannot be read: {first_line}. "
        "The file may be incomplete or damaged: write it again."
    )


def _system_error(name: str, error: OSError) -> EngineError:
    shortage = ResourceError.of(error)
    if shortage is not None:
        return shortage
    number = error_number(error)
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return AccessError(f"{name}: may not be read by this user. Ask its owner.")
    # Polars gives none if data cannot be decompressed.
    if number is None:
        return broken(name, str(error))
    reason = os.strerror(number)
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return NoInputError(f"{name}: no such file ({reason}). Check the path.")
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StorageError(f"{name}: {reason}. Free space, or set TMPDIR to a larger disk.")
    return StorageError(f"{name}: cannot be read: {reason}. Run again.")
