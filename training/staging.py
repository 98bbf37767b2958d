"""A folder beside a target, in which it is made before it is published."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import LockedError


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give an empty folder beside a target; afterwards it is gone, wherever what was in it went.

    It has one name, so that what a killed run left in it goes with the next, and is locked as long
    as it stands: one process at a time makes a target.

    Raises:
        LockedError: Another process makes the target.
        OSError: The folder cannot be made.
    """
    folder = target.with_name(f".{target.name}.staging")
    descriptor = _locked_folder(folder, target)
    try:
        for left in folder.iterdir():
            _remove(left)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder(folder: Path, target: Path) -> int:
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(target) from None
        # Whoever held it before may have removed it between opening and locking.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), folder.lstat()):
                return descriptor
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
