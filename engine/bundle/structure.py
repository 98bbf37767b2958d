"""Compares parsed JSON with the structure that readers rely on.

A structure is a type or a predicate for a single value; `[structure]` for a list; `(None, structure)` for a
value that may be null; a mapping for an object: `?` marks a key that may be absent, and `str` stands for
all other keys.
"""

from math import isfinite
from typing import Any

from engine.errors import quoted

MAX_ROWS = 1 << 40
"""More users than there are; sums of such counts fit into 64 bits."""

MAX_FLOAT32 = 3.4028234663852886e38


def structure_problem(value: object, structure: Any, place: str) -> str | None:  # noqa: ANN401
    """The first difference between a value and its structure, in words; None if there is none."""
    parts: list[tuple[str, object, Any]] = []
    match structure:
        case (None, inner):
            return None if value is None else structure_problem(value, inner, place)
        case {} if isinstance(value, dict):
            named = {
                name.removesuffix("?"): inner
                for name, inner in structure.items()
                if name is not str
            }
            absent = [name for name in named if name in structure and name not in value]
            if absent:
                return f"{place} has no {quoted(absent)}"
            other = structure.get(str, object)
            parts = [(f"{place}.{k}", each, named.get(k, other)) for k, each in value.items()]
        case [inner] if isinstance(value, list):
            parts = [(f"{place}[{n}]", each, inner) for n, each in enumerate(value)]
        case _:
            valid = (
                isinstance(value, structure)
                if isinstance(structure, type)
                else (callable(structure) and structure(value))
            )
            if not valid:
                return f"{place} cannot be {str(value)[:60]!r}"
    found = (structure_problem(each, inner, name) for name, each, inner in parts)
    return next(filter(None, found), None)


def is_number(value: object) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]


def is_float32(value: object) -> bool:
    """Whether a value is a number within the range of float32."""
    return is_number(value) and abs(value) <= MAX_FLOAT32  # type: ignore[arg-type]


def is_count(value: object) -> bool:
    """Whether a value can be a number of users."""
    return type(value) is int and 0 <= value <= MAX_ROWS


def is_probability(value: object) -> bool:
    """Whether a value is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1  # type: ignore[operator]
