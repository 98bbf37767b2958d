"""File names are bytes; Python, messages and Polars each have their own text for them."""

import os
from collections.abc import Callable
from pathlib import Path


def name_of(path: Path) -> str:
    """The name of a file in messages and in the quarantine, whatever the locale is."""
    return os.fsencode(path).decode(errors="backslashreplace")


def for_polars(path: Path, new_file: Callable[[], Path]) -> Path:
    """A path that Polars can open: it takes text, and encodes it as UTF-8 in every locale.

    Args:
        path: The file.
        new_file: Gives the path of a link, for a name that is not UTF-8.
    """
    try:
        return Path(os.fsencode(path).decode())
    except UnicodeDecodeError:
        link = new_file()
        link.symlink_to(path.absolute())
        return link
