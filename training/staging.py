"""A folder beside a target, in which the target is made before it is published."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import CannotCreateError
from engine.outputs.paths import check_links, check_outside_bundles, real_path
from engine.storage import (
    is_same_file,
    make_folder,
    remove_tree,
    storage_errors,
    sync_path,
    take_lock,
)


def check_target(out: Path, *, is_bundle: bool) -> None:
    """Check that a folder can be published.

    Args:
        out: The target.
        is_bundle: Whether it becomes a bundle, which may be beside others.

    Raises:
        CannotCreateError: It exists and is not an empty folder, or its parent does not exist.
        AccessError: It may not be read.
        UsageError: It lies in a bundle, or is none and lies in a folder of bundles.
    """
    check_links(out)
    with storage_errors(out):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise CannotCreateError(f"{out}: exists and is not an empty folder. Use another --out.")
        if not real_path(out).parent.is_dir():
            raise CannotCreateError(
                f"{out}: the directory {out.parent} does not exist. Make it first."
            )
    check_outside_bundles(out, is_bundle_itself=is_bundle)


@contextmanager
def published(out: Path) -> Iterator[Path]:
    """The path of a folder to make beside the target, which is then moved into place.

    Args:
        out: The target, empty or absent.

    Raises:
        EngineError: It could not be written; nothing is left behind.
    """
    target = real_path(out)
    with staged(target) as folder, storage_errors(out):
        staging = folder / target.name
        yield staging
        _sync_folder(staging)
        # An empty folder gives way to the new one in the same step.
        staging.replace(target)
        sync_path(target.parent)


def _sync_folder(folder: Path) -> None:
    """Force every file of a folder to disk, then its directories."""
    paths = sorted(folder.rglob("*"))
    for path in (*(p for p in paths if p.is_file()), *(p for p in paths if p.is_dir()), folder):
        sync_path(path)


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
