"""Streams of Arrow to files, which Polars can scan: the same messages, and a footer that lists them."""

import os
import shutil
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from engine.inputs.arrow_messages import (
    BLOCK,
    CONTINUES,
    FILE_HEAD,
    MAGIC,
    Kind,
    dictionary_id,
    growing,
    is_delta,
    message_of,
    prefix,
    read_message,
)
from engine.inputs.errors import DamagedError

_VERSION_5 = 4
_READ_BYTES = 1 << 20


def is_stream(head: bytes) -> bool:
    """Whether a file begins as a stream of Arrow does: with a message that holds a schema."""
    before, length = prefix(head[:8])
    try:
        message = message_of(bytearray(head[: before + length]))
        return message.number(1, "<B") == Kind.SCHEMA and message.table(2) is not None
    except struct.error:
        return head.startswith(CONTINUES)


def stream_to_file(path: Path, target: Path, name: str) -> Path:
    """Copy a stream of Arrow as an IPC file: the same messages, and a footer that lists them.

    Raises:
        InputError: A dictionary changes within the stream.
        DamagedError: The stream is damaged or cut off.
    """
    blocks: dict[int, list[bytes]] = {Kind.DICTIONARY: [], Kind.BATCH: []}
    schema, seen = bytearray(), set[int | None]()
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            for block in _message_places(stream, size):
                message = read_message(stream, *block[:2])
                kind = message.number(1, "<B")
                if kind == Kind.SCHEMA:
                    if schema:
                        raise DamagedError("a second schema begins within it")
                    if message.number(0, "<h") > _VERSION_5:
                        raise DamagedError("its metadata are of a later version of Arrow")
                    schema = message.content
                elif kind == Kind.DICTIONARY:
                    if is_delta(message) or dictionary_id(message) in seen:
                        raise growing(name)
                    seen.add(dictionary_id(message))
                moved = BLOCK.pack(block[0] + len(FILE_HEAD), *block[1:])
                blocks.setdefault(kind, []).append(moved)
        except struct.error:
            raise DamagedError("its metadata end too early") from None
        stream.seek(0)
        with target.open("wb") as file:
            file.write(FILE_HEAD)
            shutil.copyfileobj(stream, file)
            footer = _footer(schema, blocks[Kind.DICTIONARY], blocks[Kind.BATCH])
            file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
    return target


def _message_places(stream: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """The place of each message, the length of its metadata, and that of its body."""
    at = 0
    while at < size:
        stream.seek(at)
        before, length = prefix(stream.read(8))
        if not length:
            stream.seek(at + before)
            # Streams that were joined; their end may be padded with zeros.
            if any(
                content.strip(b"\0") for content in iter(partial(stream.read, _READ_BYTES), b"")
            ):
                raise DamagedError("it goes on after the mark of its end, as joined streams do")
            return
        block = (at, before + length, 0)
        body = read_message(stream, *block[:2]).number(3, "<q")
        at += before + length + body
        if body < 0 or at > size:
            raise DamagedError("its last message is cut off")
        yield (*block[:2], body)


def _footer(schema: bytearray, dictionaries: list[bytes], batches: list[bytes]) -> bytes:
    """A footer that holds the message with the schema as it is.

    Its table has a version, and the places of the schema, the dictionaries and the batches.
    """
    table = message_of(schema).table(2) if schema else None
    if table is None:
        raise DamagedError("it has no schema")
    # Where each field is in the table, which begins with the way back to this list of them.
    version, schema_field, dictionaries_field, batches_field = 4, 8, 12, 16
    list_bytes, table_bytes = 12, 20
    table_at = 4 + list_bytes
    dictionaries_at = table_at + table_bytes
    # A vector is its length and its items, which begin at a multiple of 8.
    batches_at = dictionaries_at + 4 + len(dictionaries) * BLOCK.size + 4
    message_at = batches_at + 4 + len(batches) * BLOCK.size
    before, _ = prefix(schema)
    head = struct.pack(
        "<I6HiHxx3I",
        table_at,
        *(list_bytes, table_bytes, version, schema_field, dictionaries_field, batches_field),
        list_bytes,
        _VERSION_5,
        message_at + table.at - before - (table_at + schema_field),
        dictionaries_at - (table_at + dictionaries_field),
        batches_at - (table_at + batches_field),
    )
    first = struct.pack("<I", len(dictionaries)) + b"".join(dictionaries)
    second = struct.pack("<4xI", len(batches)) + b"".join(batches)
    return head + first + second + bytes(schema[before:])
