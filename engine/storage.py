"""Files on disk: written whole, forced to disk, moved into place and locked.

Also translates errors of the operating system.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from engine.errors import (
    AccessError,
    CannotCreateError,
    EngineError,
    LockedError,
    ResourceError,
    StorageError,
    error_number,
)

PRIVATE_MODE = 0o600
FOLDER_MODE = 0o700
SHARED_MODE = 0o666


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of the disk or Polars while writing into an `EngineError` that names the path."""
    try:
        yield
    except EngineError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _storage_error(path, error) from error


@contextmanager
def locked(path: Path, target: Path) -> Iterator[None]:
    """Hold the lock of a folder, or of a file that is created if needed.

    A file that was created here is removed again if the work fails.

    Args:
        path: The file or folder to lock. A file has mode 0600, whatever the umask.
        target: What the lock protects; the error names it.

    Raises:
        LockedError: Another process holds the lock.
        AccessError: It is the lock of another user.
        OSError: It cannot be opened.
    """
    descriptor, is_new = _opened_lock(path, target)
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):
                path.unlink()
        raise
    finally:
        os.close(descriptor)


def _opened_lock(path: Path, target: Path) -> tuple[int, bool]:
    """The descriptor of a lock that is held, and whether its file is new."""
    while True:
        descriptor, is_new = _open_lock(path, target)
        try:
            if not path.is_dir() and os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, PRIVATE_MODE)
            take_lock(descriptor, target)
            # A run that fails removes its lock, perhaps after it was opened here.
            if is_same_file(path, descriptor):
                return descriptor, is_new
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open_lock(path: Path, target: Path) -> tuple[int, bool]:
    if path.is_dir():
        return os.open(path, os.O_RDONLY), False
    # NOTE: NFS locks only files that are open for writing.
    with suppress(FileExistsError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_MODE), True
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_MODE), False
    except PermissionError as error:
        found = path.stat()
        if found.st_uid != os.geteuid() or not found.st_mode & PRIVATE_MODE:
            raise AccessError(
                f"{path}: the lock of {target}: may not be written by this user ({error.strerror}). "
                "Ask its owner to remove it, or write to another path."
            ) from error
        # A run under a strict umask was killed before it could set the mode.
        path.chmod(PRIVATE_MODE)
        return os.open(path, os.O_RDWR), False


def is_same_file(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to an open file or folder."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def make_folder(path: Path) -> None:
    """Create a folder that only this user may use, whatever the umask."""
    path.mkdir(mode=FOLDER_MODE)
    path.chmod(FOLDER_MODE)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, as far as possible.

    Folders that were made under a strict umask are made writable first.
    """

    def retry(function: Callable[..., object], name: str, _error: object) -> None:
        with suppress(OSError):
            Path(name).parent.chmod(FOLDER_MODE)
            Path(name).chmod(FOLDER_MODE)
            if function is os.unlink or function is os.rmdir:
                function(name)
            else:
                shutil.rmtree(name, ignore_errors=True)

    shutil.rmtree(path, onerror=retry)


def take_lock(descriptor: int, target: Path) -> None:
    """Lock an open file or folder until it is closed.

    Raises:
        LockedError: Another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError.of_output(target) from None


def write_atomic(path: Path, content: bytes, mode: int = PRIVATE_MODE) -> None:
    """Write a small file in one atomic and durable step.

    Args:
        path: The file; an older one is replaced.
        content: The whole content.
        mode: Its permissions, less what the umask removes.

    Raises:
        CannotCreateError: The path names no file, or a device or pipe.
        OSError: The file cannot be written.
    """
    if not path.name:
        raise CannotCreateError(f"{path}: is not the name of a file. Give a file name.")
    staging = path.with_name(f".{path.name}.staging-{os.getpid()}")
    try:
        check_no_device(path)
        write_synced(staging, content, mode)
        move(staging, path, mode)
        sync_path(path.parent)
    finally:
        staging.unlink(missing_ok=True)


def write_synced(path: Path, content: bytes, mode: int = PRIVATE_MODE) -> None:
    """Write a small file and force it to disk; `mode` as in `write_atomic`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def move(source: Path, target: Path, mode: int = PRIVATE_MODE) -> None:
    """Replace one file with another in one step.

    Args:
        source: A file on the same file system.
        target: The new path; a file there is replaced.
        mode: Its permissions, less what the umask removed when it was created.

    Raises:
        CannotCreateError: The target is a device or a pipe.
        OSError: The file cannot be moved.
    """
    check_no_device(target)
    source.chmod(source.stat().st_mode & mode)
    source.replace(target)


def sync_path(path: Path) -> None:
    """Force one file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_no_device(path: Path) -> None:
    """Check that a path is no device or pipe, such as /dev/null.

    Raises:
        CannotCreateError: It is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CannotCreateError(f"{path}: is a device or a pipe, not a file. Name a file.")


def _storage_error(path: Path, error: BaseException) -> EngineError:
    shortage = ResourceError.of(error)
    if shortage is not None:
        return shortage
    number = error_number(error)
    reason = os.strerror(number) if number else str(error).split("\n")[0]
    if number in (errno.EACCES, errno.EPERM):
        at = getattr(error, "filename", None)
        inner = "" if at in (None, str(path)) else f": {at}"
        return AccessError(f"{path}: may not be written by this user ({reason}{inner}).")
    if number in (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG),
        *(errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.EXDEV, errno.EBUSY),
    ):
        return CannotCreateError(f"{path}: cannot be created: {reason}.")
    return StorageError(
        f"{path}: could not be written: {reason}. Nothing was published. Free space and run again."
    )
