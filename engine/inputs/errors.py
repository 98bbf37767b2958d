"""Errors for files that cannot be read; they name the file but none of its values."""

import csv
import errno
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from engine.errors import AccessError, EngineError, InputError, NoInputError, StorageError
from engine.inputs.csv_checks import csv_fault, ndjson_fault
from engine.inputs.formats import Format, csv_header

# Raised by reading a header if the bytes are not CSV or not gzip.
_UNREADABLE = (EOFError, zlib.error, csv.Error)


@contextmanager
def reading(name: str, fault: Callable[[], str | None] | None = None) -> Iterator[None]:
    """Turn errors of Polars into errors that name the file.

    Args:
        name: The file.
        fault: Finds the reason, which replaces the message of Polars.
    """
    try:
        yield
    except OSError as error:
        raise _refused(name, error) from error
    # NOTE: a panic inside Polars derives from BaseException.
    except (*_UNREADABLE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if fault is None:
            raise broken(name, str(error)) from error
        raise broken(name, fault() or "not a row of it as the others") from error


def fault_in(content: Path, kind: Format) -> Callable[[], str | None] | None:
    """The function that finds why a text file cannot be read; messages of Polars may quote its rows."""
    if kind == "csv":
        return lambda: csv_fault(content, len(csv_header(content)))
    return (lambda: ndjson_fault(content)) if kind == "ndjson" else None


def broken(name: str, reason: str) -> InputError:
    """The error for a damaged file, with the first line of the reason."""
    first_line = reason.strip().split("\n")[0]
    return InputError(
        f"{name}: cannot be read: {first_line}. "
        "The file may be incomplete or damaged: write it again."
    )


def _refused(name: str, error: OSError) -> EngineError:
    # NOTE: Polars gives the number of operating-system errors only in the text; decompression errors
    # have none.
    stated = re.search(r"os error (\d+)", str(error))
    number = error.errno or (int(stated[1]) if stated else None)
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return AccessError(f"{name}: may not be read by this user. Ask its owner.")
    if number is None:
        return broken(name, str(error))
    reason = os.strerror(number)
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return NoInputError(f"{name}: no such file ({reason}). Check the path.")
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StorageError(f"{name}: {reason}. Free space, or set TMPDIR to a larger disk.")
    return StorageError(f"{name}: cannot be read: {reason}. Run again.")
