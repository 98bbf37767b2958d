"""Finds NDJSON faults that Polars hides: lone surrogates, and the line that it cannot read."""

import re
from bisect import bisect_left
from pathlib import Path

import polars as pl

from engine.inputs.formats import BLOCK_BYTES, wrong_byte

_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


def half_character(path: Path) -> int | None:
    """The first line, from 1, with half of a surrogate pair; None if there is none.

    NOTE: Polars reads such an escape as another character, and so an id as another id.
    """
    done = 0
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES) + file.readline():
            for found in _HALF.finditer(content):
                before = content[: found.start()]
                # After an odd number of backslashes, one of them is escaped.
                if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
                    return done + before.count(b"\n") + 1
            done += content.count(b"\n")
    return None


def ndjson_fault(path: Path) -> str | None:
    """Why NDJSON cannot be read, without a value of its rows; None if no fault is found."""
    if wrong := wrong_byte(path):
        return wrong
    done = 0
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES) + file.readline():
            lines = content.splitlines(keepends=True)
            if not _is_ndjson(lines):
                sound = bisect_left(
                    range(len(lines)), 1, key=lambda n: not _is_ndjson(lines[: n + 1])
                )
                return f"line {done + sound + 1:,} is not a JSON object"
            done += len(lines)
    return None


def _is_ndjson(lines: list[bytes]) -> bool:
    try:
        pl.read_ndjson(b"".join(lines), schema={"": pl.String})
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return True
