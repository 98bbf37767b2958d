"""FlatBuffers, in which Arrow writes its metadata: tables that list the places of their fields.

Numbers are little-endian. A table, vector or text is named by how far away it is from the place that
names it.
"""

import struct
from dataclasses import dataclass

from engine.inputs.errors import DamagedError


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A table of FlatBuffers, by its place."""

    content: bytearray
    at: int

    @classmethod
    def root(cls, content: bytearray, start: int = 0) -> "FlatTable":
        """The table that the number at a place leads to."""
        return cls(content, start + unpack("<I", content, start))

    def place(self, slot: int) -> int | None:
        """Where a field is; None if it has its default."""
        fields = self.at - unpack("<i", self.content, self.at)
        if 4 + 2 * slot >= unpack("<H", self.content, fields):
            return None
        offset = unpack("<H", self.content, fields + 4 + 2 * slot)
        return self.at + offset if offset else None

    def number(self, slot: int, form: str) -> int:
        """A number, in a format of `struct`; 0 by default."""
        place = self.place(slot)
        return 0 if place is None else unpack(form, self.content, place)

    def table(self, slot: int) -> "FlatTable | None":
        """Another table; None if there is none."""
        place = self.place(slot)
        return None if place is None else FlatTable.root(self.content, place)

    def vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Where the first item is, and their number."""
        place = self.place(slot)
        if place is None:
            return 0, 0
        start = place + unpack("<I", self.content, place)
        count = unpack("<I", self.content, start)
        if start + 4 + count * item_bytes > len(self.content):
            raise DamagedError("its metadata end too early")
        return start + 4, count

    def tables(self, slot: int) -> list["FlatTable"]:
        """The tables of a vector."""
        first, count = self.vector(slot, 4)
        return [FlatTable.root(self.content, first + 4 * i) for i in range(count)]

    def text(self, slot: int) -> str:
        """A text; empty by default."""
        first, count = self.vector(slot, 1)
        return bytes(self.content[first : first + count]).decode(errors="replace")

    def keep(self, slot: int, item_bytes: int, kept: list[int]) -> None:
        """Leave only some items of a vector of structures."""
        first, _ = self.vector(slot, item_bytes)
        for new, old in enumerate(kept):
            start = first + old * item_bytes
            item = self.content[start : start + item_bytes]
            self.content[first + new * item_bytes : first + (new + 1) * item_bytes] = item
        struct.pack_into("<I", self.content, first - 4, len(kept))

    def keep_tables(self, slot: int, kept: list[int]) -> None:
        """Leave only some items of a vector of tables; each is named by how far away it is."""
        first, _ = self.vector(slot, 4)
        for new, old in enumerate(kept):
            place = first + 4 * old
            away = unpack("<I", self.content, place) + 4 * (old - new)
            struct.pack_into("<I", self.content, first + 4 * new, away)
        struct.pack_into("<I", self.content, first - 4, len(kept))


def unpack(form: str, content: bytearray, at: int) -> int:
    """One number of some bytes, in a format of `struct`."""
    number: int = struct.unpack_from(form, content, at)[0]
    return number
