"""TOML and JSON that nobody has checked: parsed in bounded time, and read by every reader the same."""

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from engine.bundle.files import regular_content
from engine.errors import AccessError, BundleError, ResourceError, quoted

CONFIGURATION_LIMIT_BYTES = 16_000_000

MAX_DEPTH = 64
"""The deepest nesting of a JSON document, and the most parts of a dotted key in TOML."""

SHOWN_BITS = 4_000
"""Python shows no integer that is much longer."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\[^\n])*+"|'[^'\n]*+')"""
_DOT = r"[ \t]*+\.[ \t]*+"
# NOTE: each alternative takes a token whole, closed or not, so that no byte is looked at twice.
_TOML_TOKENS = re.compile(
    rf"""
    (?P<long_key>(?:{_KEY_PART}{_DOT}){{{MAX_DEPTH}}})
    | "{{3}}(?:[^\\]|\\.)*?(?:"{{3}}|\\?\Z)
    | '{{3}}.*?(?:'{{3}}|\Z)
    | {_KEY_PART}(?:{_DOT}{_KEY_PART})*+
    | ["'][^\n]*+
    | \#[^\n]*+
    | [^A-Za-z0-9_"'\#-]++
    """,
    re.DOTALL | re.VERBOSE,
)
"""Keys, texts, comments and what is between them; `long_key` is the beginning of one with too many parts."""


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
        if any(token["long_key"] for token in _TOML_TOKENS.finditer(text)):
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
        content = regular_content(descriptor, path, CONFIGURATION_LIMIT_BYTES, "Name another file.")
    finally:
        os.close(descriptor)
    # NOTE: editors on Windows begin a file with a byte order mark.
    return content.decode("utf-8-sig")


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
