"""The messages of Arrow, of which its files and streams consist: metadata in FlatBuffers, then a body."""

import os
import struct
from enum import IntEnum
from typing import BinaryIO

from engine.errors import InputError
from engine.inputs.errors import DamagedError
from engine.inputs.flatbuffers import FlatTable

MAGIC = b"ARROW1"
CONTINUES = b"\xff\xff\xff\xff"
"""Stands before the length of metadata, since version 0.15 of Arrow."""
FILE_HEAD = MAGIC + b"\0\0"
BLOCK = struct.Struct("<qi4xq")
"""Where a message is in a file, the length of its metadata, and that of its body."""


class Kind(IntEnum):
    """What a message holds: `MessageHeader` in the format's own Message.fbs."""

    SCHEMA = 1
    DICTIONARY = 2
    BATCH = 3


def read_message(file: BinaryIO, offset: int, length: int) -> FlatTable:
    """Read the metadata of a message, whose length and its mark come first."""
    size = os.fstat(file.fileno()).st_size
    if offset < 0 or length <= 0 or offset + length > size:
        raise DamagedError("a block lies outside of the file")
    file.seek(offset)
    return message_of(bytearray(file.read(length)))


def message_of(content: bytearray) -> FlatTable:
    """The table in the metadata of a message."""
    return FlatTable.root(content, metadata_at(content))


def metadata_at(head: bytes | bytearray) -> int:
    """Where metadata begin in a message."""
    return 8 if head.startswith(CONTINUES) else 4


def prefix(head: bytes | bytearray) -> tuple[int, int]:
    """The bytes before the metadata of a message, and the length of these."""
    before = metadata_at(head)
    return before, int.from_bytes(head[before - 4 : before], "little")


def dictionary_id(message: FlatTable) -> int | None:
    """The number of a dictionary."""
    dictionary = message.table(2)
    return dictionary.number(0, "<q") if dictionary else None


def is_delta(message: FlatTable) -> bool:
    """Whether a dictionary adds values to an earlier one."""
    dictionary = message.table(2)
    return dictionary is not None and dictionary.number(2, "<B") != 0


def growing(name: str) -> InputError:
    """The error of a file whose dictionary changes."""
    return InputError(
        f"{name}: a dictionary changes between its record batches, which cannot be read. Write it "
        "without dictionaries, or as Parquet."
    )
