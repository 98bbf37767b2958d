"""The grammar of names in a bundle: every system reads them the same, and none leads out of it."""

import re
from collections.abc import Iterable
from pathlib import Path

from engine.errors import BundleError, pluralize, quoted

PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib")
"""Loading a pickle runs the code in it, so no bundle may contain one."""

PLAIN_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""The grammar of a name in a bundle or a folder of bundles: every system reads it the same."""

MAX_VERSION_LENGTH = 100
"""Of a version, which names a folder; longer names are made from it."""

RESERVED_VERSIONS = ("current", "history")
"""Files beside the versions; on some disks names that differ only in case are one file."""

_PLAIN_PATH = re.compile(rf"{PLAIN_NAME}(/{PLAIN_NAME})*")


def is_version(text: str) -> bool:
    """Whether a text can be the version of a bundle."""
    return (
        re.fullmatch(PLAIN_NAME, text) is not None
        and len(text) <= MAX_VERSION_LENGTH
        and text.lower() not in RESERVED_VERSIONS
    )


def check_no_pickle(folder: Path, names: Iterable[str]) -> None:
    """Refuse pickles by their names; they are never opened.

    Raises:
        BundleError: There is one.
    """
    pickles = sorted(name for name in names if name.lower().endswith(PICKLE_ENDINGS))
    if pickles:
        raise BundleError(
            f"{folder}: {pluralize(len(pickles), 'pickle')} ({quoted(pickles)}): loading one runs "
            "whatever code it holds. Remove it, and ask who put it there."
        )


def check_names(folder: Path, names: Iterable[str]) -> None:
    """Refuse names that leave the folder, or that other systems read differently.

    Raises:
        BundleError: There is one.
    """
    odd = sorted(name for name in names if not _PLAIN_PATH.fullmatch(name))
    if odd:
        raise BundleError(
            f"{folder}: the manifest lists {quoted(odd)}: only plain files within it may be listed. "
            "Copy the bundle again."
        )
    check_no_pickle(folder, names)
