"""Reads files from untrusted folders: regular files only, under plain names, of bounded size."""

import json
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from engine.errors import AccessError, BundleError, ResourceError, pluralize, quoted

TEXT_LIMIT_BYTES = 4_096
"""The limit for CURRENT and for a file that holds one hash."""

CONFIGURATION_LIMIT_BYTES = 16_000_000
MANIFEST_LIMIT_BYTES = 16_000_000
FILE_LIMIT_BYTES = 128_000_000
BUNDLE_LIMIT_BYTES = 256_000_000
FILES_LIMIT = 10_000

COPY_AGAIN = "Copy the bundle again."

PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib")
"""Loading a pickle runs the code in it, so no bundle may contain one."""

PLAIN_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""The grammar of a name in a bundle or a folder of bundles: every system reads it the same."""

MAX_VERSION_LENGTH = 100
"""Of a version, which names a folder; longer names are made from it."""

RESERVED_VERSIONS = ("current", "history")
"""Files beside the versions; on some disks names that differ only in case are one file."""

MAX_DEPTH = 64
"""The deepest nesting of a JSON document, and the most parts of a dotted key in TOML."""

SHOWN_BITS = 4_000
"""Python shows no integer that is much longer."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PLAIN_PATH = re.compile(rf"{PLAIN_NAME}(/{PLAIN_NAME})*")
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_PART}[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}")


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
        return _content(descriptor, path, limit_bytes, remedy)


def read_toml(path: Path, absent: str) -> dict[str, Any]:
    """Read a TOML file that the user named; links are followed.

    Args:
        path: The file.
        absent: The message if there is no such file, after its path.

    Raises:
        BundleError: The file is missing, too large, not regular or not TOML.
        AccessError: This user may not read it.
    """
    try:
        text = _configuration(path)
        # NOTE: tomllib takes cubic time for the parts of a dotted key.
        if _LONG_KEY.search(text):
            raise BundleError(
                f"{path}: a key of more than {MAX_DEPTH} parts joined by dots. Shorten it."
            )
        return _sized(tomllib.loads(text))
    except FileNotFoundError:
        raise BundleError(f"{path}: {absent}") from None
    except PermissionError as error:
        raise AccessError(f"{path}: may not be read by this user ({error.strerror}).") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ResourceError.of(error) or BundleError(
            f"{path}: not a readable TOML file: {error}."
        ) from error


def _sized(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, whose integers can be shown: TOML has none of more than 64 bits."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int) and value.bit_length() > SHOWN_BITS:
            raise ValueError(f"an integer of {value.bit_length():,} bits, at most 64 are read")
    return document


def _configuration(path: Path) -> str:
    # NOTE: opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        content = _content(descriptor, path, CONFIGURATION_LIMIT_BYTES, "Name another file.")
    finally:
        os.close(descriptor)
    # NOTE: editors on Windows begin a file with a byte order mark.
    return content.decode("utf-8-sig")


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


def _content(descriptor: int, path: Path, limit_bytes: int, remedy: str) -> bytes:
    """The content of an open file, if it is regular and not too large."""
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


def to_json(document: Mapping[str, Any]) -> bytes:
    """A document as UTF-8 JSON with sorted keys: equal documents give equal bytes."""
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def parse_json(content: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse untrusted JSON; all texts can be written as UTF-8.

    Raises:
        ValueError: It is not JSON in UTF-8, is nested too deeply, names a key twice, or has a lone
            surrogate or a number beyond 64 bits.
    """
    try:
        # NOTE: given bytes, the json module also accepts other encodings and lone surrogates.
        document = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(document)
    if _SURROGATE.search(content):
        # NOTE: Python accepts an escaped lone surrogate, which no score file can hold.
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once: of two values, two readers may use different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = sorted(key for key, times in Counter(k for k, _ in pairs).items() if times > 1)
        raise ValueError(f"{quoted(repeated)} named more than once")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:MAX_DEPTH]} is beyond a number of 64 bits")
    return number


def _integer(text: str) -> int:
    # NOTE: int takes quadratic time, and a sign and 19 digits hold every number of 64 bits.
    number = int(text[:21])
    if len(text) > 20 or not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{text[:MAX_DEPTH]} is beyond a number of 64 bits")
    return number


def _check_depth(document: object) -> None:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [v for each in inner for v in each if isinstance(v, dict | list)]
        if not level:
            return
    raise ValueError("nested too deeply")


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
