"""Small files on disk: written, forced out and moved into place in one step; what the system's errors mean."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from engine.errors import AccessError, CannotCreateError, EngineError, StorageError

PRIVATE_MODE = 0o600

SHARED_MODE = 0o666


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk or Polars raises while writing into an `EngineError` that names the path."""
    try:
        yield
    except EngineError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _storage_error(path, error) from error


def write_synced(path: Path, content: bytes, mode: int = PRIVATE_MODE) -> None:
    """Write a small file, by default readable by its owner only, and force it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a small file in one atomic step, readable by its owner only."""
    _write_whole(path, content, PRIVATE_MODE)


def write_shared(path: Path, content: bytes) -> None:
    """Write a small file in one atomic step, readable by all whom the umask admits."""
    _write_whole(path, content, SHARED_MODE)


def sync_path(path: Path) -> None:
    """Force one file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_no_device(path: Path) -> None:
    """Check that nothing stands at a place that a file may not take, as /dev/null or a pipe.

    Raises:
        CannotCreateError: It does.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CannotCreateError(f"{path}: is a device or a pipe, not a file. Name a file.")


def move(source: Path, target: Path, mode: int = PRIVATE_MODE) -> None:
    """Put a file in the place of another, in one step.

    Args:
        source: A file on the same file system.
        target: Its place.
        mode: What others may do with it, by default nothing; less where the umask asked for less
            when the file was made.
    """
    check_no_device(target)
    source.chmod(source.stat().st_mode & mode)
    source.replace(target)


def _storage_error(path: Path, error: BaseException) -> EngineError:
    # NOTE: Polars raises some operating-system errors without errno, only in the text.
    stated = re.search(r"os error (\d+)", str(error))
    number = getattr(error, "errno", None) or (int(stated[1]) if stated else None)
    reason = os.strerror(number) if number else str(error).split("\n")[0]
    if number in (errno.EACCES, errno.EPERM):
        return AccessError(f"{path}: may not be written by this user ({reason}).")
    if number in (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG),
        *(errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.EXDEV, errno.EBUSY),
    ):
        return CannotCreateError(f"{path}: cannot be created: {reason}.")
    return StorageError(
        f"{path}: could not be written: {reason}. Nothing was published; free space and run again."
    )


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    if not path.name:
        raise CannotCreateError(f"{path}: is no name of a file. Name one.")
    staging = path.with_name(f".{path.name}.staging-{os.getpid()}")
    try:
        check_no_device(path)
        write_synced(staging, content, mode)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
