"""The folder of a what-if page: what it may contain, and how it is written."""

from collections.abc import Mapping
from pathlib import Path

from engine.errors import CannotCreateError, quoted
from engine.outputs.paths import real_path
from engine.storage import SHARED_MODE, storage_errors, write_atomic
from training.report.what_if.page import PAGE, RUNTIME_LICENCES


def check_folder(folder: Path) -> None:
    """Check that a page can be written to a folder, before anything is computed.

    Raises:
        CannotCreateError: It holds other files, is not a folder, or its parent does not exist.
    """
    if not real_path(folder).parent.is_dir():
        raise CannotCreateError(
            f"{folder}: the directory {folder.parent} does not exist. Make it first."
        )
    if folder.exists() and not folder.is_dir():
        raise CannotCreateError(f"{folder}: exists and is not a folder. Use another --what-if.")
    if folder.is_dir():
        own = {PAGE, *RUNTIME_LICENCES}
        others = sorted(path.name for path in folder.iterdir() if path.name not in own)
        if others:
            raise CannotCreateError(
                f"{folder}: holds {quoted(others)}, which is no part of a what-if page. "
                "Use an empty or new folder for --what-if."
            )


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write each file atomically, the page last; an older page is replaced.

    Args:
        folder: Created if it does not exist.
        contents: As `what_if_files` returns them.

    Raises:
        EngineError: A file cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(exist_ok=True)
        for name in sorted(contents, key=lambda each: each == PAGE):
            write_atomic(folder / name, contents[name], SHARED_MODE)
