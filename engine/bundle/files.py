"""Reads files from untrusted folders: regular files only, under plain names, of bounded size."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engine.bundle.names import check_no_pickle
from engine.errors import AccessError, BundleError, ResourceError, pluralize, quoted

TEXT_LIMIT_BYTES = 4_096
"""The limit for CURRENT and for a file that holds one hash."""

MANIFEST_LIMIT_BYTES = 16_000_000
FILE_LIMIT_BYTES = 128_000_000
BUNDLE_LIMIT_BYTES = 256_000_000
FILES_LIMIT = 10_000

COPY_AGAIN = "Copy the bundle again."


def read_file(folder: Path, name: str, limit_bytes: int, remedy: str = COPY_AGAIN) -> bytes:
    """Read a file in a folder; links are not followed.

    Args:
        folder: The folder.
        name: Its path within the folder.
        limit_bytes: The largest size that is read.
        remedy: The next step, for messages.

    Raises:
        BundleError: The file is missing, too large, not regular, or cannot be read.
        AccessError: This user may not read it.
    """
    path = folder / name
    with read_errors(path, remedy), _opened(folder, name) as descriptor:
        return regular_content(descriptor, path, limit_bytes, remedy)


def file_names(folder: Path) -> set[str]:
    """The names of all files below a folder, relative to it.

    Raises:
        BundleError: There are links, devices, pickles or too many files.
        AccessError: This user may not read a folder.
    """
    names: set[str] = set()
    strange = []
    waiting = [folder]
    while waiting:
        inner = waiting.pop()
        with read_errors(inner), os.scandir(inner) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(folder).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(inner / entry.name)
                elif entry.is_file(follow_symlinks=False):
                    names.add(name)
                else:
                    strange.append(name)
                if len(names) + len(waiting) > FILES_LIMIT:
                    raise BundleError(
                        f"{folder}: more than {FILES_LIMIT:,} files: not a bundle. "
                        "Copy the bundle again."
                    )
    if strange:
        raise BundleError(
            f"{folder}: {pluralize(len(strange), 'link or device')} ({quoted(sorted(strange))}): only "
            "plain files may be in a bundle. Copy it with: cp -rL"
        )
    check_no_pickle(folder, names)
    return names


def regular_content(descriptor: int, path: Path, limit_bytes: int, remedy: str) -> bytes:
    """The content of an open file.

    Args:
        descriptor: The file.
        path: What messages call it.
        limit_bytes: The largest size that is read.
        remedy: The next step, for messages.

    Raises:
        BundleError: It is not regular, too large, or changes meanwhile.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path}: not a regular file. {remedy}")
    if found.st_size > limit_bytes:
        raise BundleError(
            f"{path}: {found.st_size:,} bytes, at most {limit_bytes:,} are read. {remedy}"
        )
    with os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read(found.st_size + 1)
    if len(content) != found.st_size:
        raise BundleError(f"{path}: changed while it was read. Start again once it is whole.")
    return content


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[int]:
    """Open a file; no folder on its path may be a link."""
    *parents, last = name.split("/")
    with ExitStack() as opened:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, descriptor)
        # NOTE: opening a pipe would wait for its writer.
        for part, flag in (*((p, os.O_DIRECTORY) for p in parents), (last, os.O_NONBLOCK)):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flag
            descriptor = os.open(part, flags, dir_fd=descriptor)
            opened.callback(os.close, descriptor)
        yield descriptor


@contextmanager
def read_errors(path: Path, remedy: str = COPY_AGAIN) -> Iterator[None]:
    """Turn errors of the operating system while reading a bundle into an `EngineError`."""
    try:
        yield
    except FileNotFoundError:
        raise BundleError(f"{path}: missing from the bundle. {remedy}") from None
    except PermissionError as error:
        raise AccessError(f"{path}: may not be read by this user ({error.strerror}).") from error
    except OSError as error:
        raise ResourceError.of(error) or BundleError(
            f"{path}: cannot be read: {error.strerror}. {remedy}"
        ) from error
