"""Where a path leads, and whether something may be written there."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.bundle.open import holds_bundles, is_bundle
from engine.errors import CannotCreateError, UsageError
from engine.inputs.partitions import is_passed_over, without_partitions
from engine.storage import check_no_device, storage_errors


def real_path(path: Path) -> Path:
    """The path without links, as far as they lead somewhere."""
    # NOTE: `Path.resolve` raises where links go in a circle.
    return Path(os.path.realpath(path))


def check_outside_bundles(
    out: Path, named: Path | None = None, *, is_bundle_itself: bool = False
) -> None:
    """Check that nothing is about to be written into a bundle: another file in it would spoil it.

    Args:
        out: What is to be written.
        named: The bundle in use, which counts as one even where it has lost what tells it.
        is_bundle_itself: Whether it is a bundle or holds some: it may stand among others.

    Raises:
        UsageError: It lies in a bundle, or is none and lies in a folder of bundles.
    """
    in_use = real_path(named) if named is not None and named.is_dir() else None
    around = [
        folder
        for folder in real_path(out).parents
        if folder == in_use or is_bundle(folder) or (holds_bundles(folder) and not is_bundle_itself)
    ]
    if around:
        raise UsageError(
            f"{out}: lies in {around[0]}, a bundle or a folder of bundles, where nothing else may "
            "stand. Write to another place."
        )


def check_apart(outputs: Sequence[Path], inputs: Iterable[str], files: Iterable[Path]) -> None:
    """Check that no output takes the place of an input, or becomes one of the next run.

    Args:
        outputs: What is to be written.
        inputs: What was named to be read: files, directories and others.
        files: The files that were found there.

    Raises:
        UsageError: One does.
    """
    named = {real_path(Path(text)) for text in inputs}
    read = {real_path(file) for file in files}
    for out in outputs:
        folder = real_path(out).parent
        if not is_passed_over(out.name) and {folder, without_partitions(folder)} & named:
            raise UsageError(
                f"{out}: lies in a directory that is an input; the next run would read it as "
                "users. Write to another place."
            )
        if real_path(out) in read:
            raise UsageError(f"{out}: is an input and an output. Write to another place.")


def check_links(path: Path) -> None:
    """Check that links lead somewhere.

    Raises:
        CannotCreateError: They lead in a circle.
    """
    place = real_path(path)
    # No part of it is a link any more, but for those that no following resolves.
    if any(os.path.islink(part) for part in (place, *place.parents)):  # noqa: PTH114 - never raises
        raise CannotCreateError(
            f"{path}: cannot be created: a link that leads back to itself. Give another place."
        )


def check_place(path: Path) -> None:
    """Check that a file can be made at a place, or replaced there.

    Raises:
        CannotCreateError: The place lies in no directory, is one or is a device, its links lead in a
            circle, or its name is too long or not UTF-8.
        AccessError: The directory may not be searched.
    """
    # The operating system's names are bytes; Python has surrogates for those that are no UTF-8.
    if re.search("[\ud800-\udfff]", str(path)):
        raise CannotCreateError(
            f"{str(path)!a}: is not UTF-8, which the writers of all formats need. "
            "Give it another name."
        )
    check_links(path)
    with storage_errors(path):
        if path.is_dir():
            raise CannotCreateError(f"{path}: is a directory. Name a file.")
        check_no_device(path)
        if not path.parent.is_dir():
            raise CannotCreateError(
                f"{path}: the directory {path.parent} does not exist. Make it first."
            )
