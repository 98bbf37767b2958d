"""A folder beside a target, in which it is made before it is published."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import LockedError
from engine.storage import storage_errors


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give an empty folder beside a target; afterwards it is gone, wherever what was in it went.

    It has one name, so that what a killed run left in it goes with the next, and is locked as long
    as it stands: one process at a time makes a target.

    Raises:
        LockedError: Another process makes the target.
        EngineError: The folder cannot be made.
    """
    folder = target.with_name(f".{target.name}.staging")
    with storage_errors(folder):
        descriptor = _locked_folder(folder, target)
    try:
        with storage_errors(folder):
            for left in folder.iterdir():
                _remove(left)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder(folder: Path, target: Path) -> int:
    """A descriptor of the folder that holds its lock."""
    while True:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            # Whoever held it has just removed it; it may be removed after the opening, too.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(folder, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(target) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), folder.lstat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
