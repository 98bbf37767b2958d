"""A folder beside a target, in which the target is made before it is published."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.storage import is_same_file, make_folder, remove_tree, storage_errors, take_lock


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """An empty folder beside a target, removed afterwards.

    The folder always has the same name, so the next run removes what a killed one left. Its lock
    lets only one process at a time make the target.

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
        remove_tree(folder)
        os.close(descriptor)


def _locked_folder(folder: Path, target: Path) -> int:
    """A descriptor of the folder, which holds its lock."""
    while True:
        with suppress(FileExistsError):
            make_folder(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            # The process that held the lock has just removed the folder. It may also do so after
            # the folder is opened.
            continue
        try:
            take_lock(descriptor, target)
            if is_same_file(folder, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()
