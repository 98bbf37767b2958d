"""Streams of Arrow's C interface, as drivers give them: which columns they have, and waiting for them.

The structures are those of https://arrow.apache.org/docs/format/CDataInterface.html.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p
from ctypes import cast as as_type
from typing import Any

from engine.errors import InputError, pluralize, quoted

_Read = CFUNCTYPE(c_int, c_void_p, c_void_p)
_Release = CFUNCTYPE(None, c_void_p)
# By the first letters of a format: Polars panics where it meets these.
_UNREADABLE = {"ti": "INTERVAL", "+ud": "UNION", "+us": "UNION"}


class _Schema(Structure):
    format: bytes
    name: bytes
    n_children: int
    children: Any
    release: Any


_Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_char_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(_Schema))),
    ("dictionary", c_void_p),
    ("release", c_void_p),
    ("private_data", c_void_p),
]


class _Stream(Structure):
    _fields_ = (
        ("get_schema", c_void_p),
        ("get_next", c_void_p),
        ("get_last_error", c_void_p),
        ("release", c_void_p),
        ("private_data", c_void_p),
    )
    get_schema: int
    get_next: int


def check_stream(rows: Any, name: str) -> None:  # noqa: ANN401 - ADBC's, untyped
    """Check that every column of a stream can be read, and has a name of its own.

    Args:
        rows: ADBC's handle of the stream.
        name: What messages call it.

    Raises:
        InputError: There is no column, or one that Polars cannot read, or two of one name.
    """
    if not rows.is_valid:
        raise InputError(f"{name}: gives no columns. Begin it with SELECT.")
    schema = _Schema()
    # A driver that fails here fails in the same way, with its own words, when Polars asks it.
    if _Read(_Stream.from_address(rows.address).get_schema)(rows.address, byref(schema)):
        return
    try:
        columns = list(_children(schema))
        names = Counter(column.name.decode() for column in columns)
        wrong = {column.name.decode(): kind for column in columns if (kind := _unreadable(column))}
    finally:
        _Release(schema.release)(byref(schema))
    twice = [column for column, count in names.items() if count > 1]
    if twice:
        raise InputError(
            f"{name}: {pluralize(len(twice), 'column')} more than once: {quoted(twice)}. "
            "Select each once, or give the others another name with AS."
        )
    if wrong:
        kinds = ", ".join(sorted(set(wrong.values())))
        raise InputError(
            f"{name}: {pluralize(len(wrong), 'column')} of a type that cannot be read ({kinds}): "
            f"{quoted(wrong)}. Cast them to numbers or text in the query."
        )


@contextmanager
def signals_heard(rows: Any, is_cancelled: Callable[[], bool]) -> Iterator[None]:  # noqa: ANN401
    """Let other threads run while a stream is waited for, and end it where it is cancelled.

    NOTE: Polars holds the lock of the interpreter while it waits for a batch, in which the main
    thread could hear no signal. ctypes releases it around every call.

    Args:
        rows: ADBC's handle of the stream, not yet given to Polars; read inside this context only.
        is_cancelled: Asked before each batch.
    """
    stream = _Stream.from_address(rows.address)
    blocking = _Read(stream.get_next)

    def get_next(source: int, batch: int) -> int:
        return errno.ECANCELED if is_cancelled() else int(blocking(source, batch))

    forwarding = _Read(get_next)
    stream.get_next = as_type(forwarding, c_void_p).value or 0
    yield


def _children(schema: _Schema) -> Iterator[_Schema]:
    return (schema.children[i].contents for i in range(schema.n_children))


def _unreadable(column: _Schema) -> str | None:
    """The type inside a column that cannot be read, if there is one."""
    text = column.format.decode()
    kinds = (kind for start, kind in _UNREADABLE.items() if text.startswith(start))
    inside = (_unreadable(child) for child in _children(column))
    return next(kinds, None) or next(filter(None, inside), None)
