"""Repeated keys: finds the rows whose key an earlier row of the same run already had.

Takes the keys of the rows that can be scored, in input order, gives the rows that repeat one. Their
64-bit hashes are looked up, and a row whose hash is known is a repeat only if the key that came first
is the same, byte by byte: the keys lie on disk for this. Memory grows by 12 bytes a row, a hash and a
number, and by a sixth of that while blocks of them are merged.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import polars as pl

from engine.schema import FeatureSchema
from engine.writer import storage_errors

MERGED_ROWS = 1 << 19
"""Blocks of hashes are merged up to so many rows, and beyond it up to an eighth of all rows: a merge
needs room for what it merges."""

NO_DAY = np.iinfo(np.int32).min
_RECORD = np.dtype([("end", np.int64), ("day", np.int32)])


@dataclass(frozen=True, slots=True)
class _Block:
    """Some keys by rising hash: uint64 [keys], and their numbers from 0, uint32 [keys]."""

    hashes: np.ndarray
    numbers: np.ndarray

    def has(self, at: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        """Whether the hashes stand at these places: bool [hashes]."""
        last = len(self.hashes) - 1
        found: np.ndarray = (at <= last) & (self.hashes[np.minimum(at, last)] == hashes)
        return found

    def __add__(self, other: "_Block") -> "_Block":
        """Both, by rising hash."""
        at = np.searchsorted(self.hashes, other.hashes) + np.arange(len(other.hashes))
        is_mine = np.ones(len(self.hashes) + len(other.hashes), np.bool_)
        is_mine[at] = False
        hashes = np.empty(len(is_mine), np.uint64)
        hashes[is_mine], hashes[at] = self.hashes, other.hashes
        numbers = np.empty(len(is_mine), np.uint32)
        numbers[is_mine], numbers[at] = self.numbers, other.numbers
        return _Block(hashes, numbers)


class SeenKeys:
    """The keys of all rows of a run that can be scored, asked chunk by chunk in input order.

    Used as a context, which holds two files without a name: the ids, and where each ends. Threads
    may work on several chunks at the same time; `turn` lets each in after the one before.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._blocks: list[_Block] = []
        self._count = 0
        self._input_rows = 0
        self._condition = threading.Condition()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with storage_errors(self._folder):
            self._ids = self._unnamed_file()
            self._records = self._unnamed_file()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # NOTE: what a full disk did not take is of no use any more.
        with suppress(OSError):
            self._open.close()

    @contextmanager
    def turn(
        self, input_rows_before: int, rows: int
    ) -> Iterator[Callable[[pl.DataFrame], pl.Series]]:
        """Gives `repeated` for one chunk; asked, it waits until every earlier row had its turn.

        Args:
            input_rows_before: Rows of the whole input before the chunk.
            rows: Rows of the chunk.
        """
        try:
            yield partial(self._repeated_after, input_rows_before)
        finally:
            # NOTE: a chunk that fails must not keep those behind it waiting.
            with self._condition:
                self._wait(input_rows_before)
                self._input_rows += rows
                self._condition.notify_all()

    def _wait(self, input_rows: int) -> None:
        self._condition.wait_for(lambda: self._input_rows == input_rows)

    def _repeated_after(self, input_rows: int, keys: pl.DataFrame) -> pl.Series:
        with self._condition:
            self._wait(input_rows)
            return self.repeated(keys)

    def repeated(self, keys: pl.DataFrame) -> pl.Series:
        """Mark the rows whose key came before; the others are known from now on.

        Args:
            keys: What `row_keys` gives for the next rows.

        Returns:
            Boolean [rows].

        Raises:
            EngineError: The keys cannot be kept on disk.
        """
        hashes = key_hashes(keys)
        order = np.argsort(hashes)
        sought = hashes[order]
        known = np.zeros(len(keys), np.bool_)
        if (sought[1:] == sought[:-1]).any():
            known |= repeated_within(keys).to_numpy()
        with storage_errors(self._folder):
            for block in self._blocks:
                self._look_up(block, keys, order, sought, known)
            if not known.all():
                self._add(keys, order, sought, ~known)
        return pl.Series(known)

    def _add(
        self, keys: pl.DataFrame, order: np.ndarray, sought: np.ndarray, is_new: np.ndarray
    ) -> None:
        """Keep the keys that are new; `sought` are all hashes, in rising `order`."""
        numbers = np.zeros(len(keys), np.uint32)
        numbers[is_new] = self._write(keys.filter(pl.Series(is_new)))
        added = is_new[order]
        self._blocks.append(_Block(sought[added], numbers[order[added]]))
        _merge(self._blocks, max(MERGED_ROWS, self._count // 8))

    def _look_up(
        self,
        block: _Block,
        keys: pl.DataFrame,
        order: np.ndarray,
        sought: np.ndarray,
        known: np.ndarray,
    ) -> None:
        """Mark in `known` the keys of one block; `sought` are all hashes, in rising `order`."""
        at = np.searchsorted(block.hashes, sought)
        # NOTE: different keys may have one hash; the next entry may then be the right one.
        while len(hits := np.flatnonzero(block.has(at, sought))):
            rows = order[hits]
            known[rows] |= self._equal(keys[rows], block.numbers[at[hits]])
            at += 1

    def _equal(self, keys: pl.DataFrame, numbers: np.ndarray) -> np.ndarray:
        """Whether each key is, byte by byte, the kept key of that number: bool [keys]."""
        records = np.memmap(self._records, _RECORD, "r")
        kept = records[numbers]
        starts = np.where(numbers == 0, 0, records["end"][numbers.astype(np.int64) - 1])
        lengths = kept["end"] - starts
        equal: np.ndarray = lengths == keys["id"].str.len_bytes().to_numpy()
        equal &= kept["day"] == keys["day"].to_numpy()
        starts, lengths = starts[equal], lengths[equal]
        if len(starts):
            before = np.cumsum(lengths) - lengths
            places = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
            given = np.frombuffer(_joined(keys["id"].filter(pl.Series(equal))), np.uint8)
            stored = np.memmap(self._ids, np.uint8, "r")[places]
            equal[equal] = np.logical_and.reduceat(stored == given, before)
        return equal

    def _write(self, keys: pl.DataFrame) -> np.ndarray:
        """Write keys to disk; gives their numbers, uint32 [keys]."""
        records = np.empty(len(keys), _RECORD)
        lengths = keys["id"].str.len_bytes().to_numpy()
        records["end"] = self._ids.tell() + np.cumsum(lengths, dtype=np.int64)
        records["day"] = keys["day"].to_numpy()
        for file, content in ((self._ids, _joined(keys["id"])), (self._records, records.tobytes())):
            file.write(content)
            file.flush()
        first, self._count = self._count, self._count + len(keys)
        return np.arange(first, self._count, dtype=np.uint32)

    def _unnamed_file(self) -> IO[bytes]:
        # NOTE: it has no name, so that nothing is left of it, whatever ends the run.
        return self._open.enter_context(tempfile.TemporaryFile(dir=self._folder))


def row_keys(typed: pl.DataFrame, schema: FeatureSchema) -> pl.DataFrame:
    """The key of each row: `id` String, never empty, and `day` Int32, the snapshot or one number.

    Args:
        typed: What `tensors.to_typed` gives; no id is missing.
        schema: The table that the bundle scores; it names an id.
    """
    has_day = schema.snapshot is not None and schema.snapshot in typed.columns
    day = pl.col(schema.snapshot or "").cast(pl.Int32) if has_day else pl.lit(None, pl.Int32)
    return typed.select(
        pl.col(schema.id or "").cast(pl.String).alias("id"), day.fill_null(NO_DAY).alias("day")
    )


def repeated_within(keys: pl.DataFrame) -> pl.Series:
    """Mark the rows whose key an earlier row of the same frame has: Boolean [rows]."""
    return keys.select(~pl.struct("id", "day").is_first_distinct()).to_series()


def key_hashes(keys: pl.DataFrame) -> np.ndarray:
    """A 64-bit hash of each key: uint64 [rows]; equal keys have equal hashes."""
    return keys.hash_rows().to_numpy()


def _joined(texts: pl.Series) -> bytes:
    content: bytes = texts.str.join("").cast(pl.Binary).item()
    return content


def _merge(blocks: list[_Block], most_rows: int) -> None:
    """Merge the last blocks while they are alike in size, so that there are never many."""
    while len(blocks) > 1:
        last, before = len(blocks[-1].hashes), len(blocks[-2].hashes)
        if last < before / 2 or last + before > most_rows:
            return
        newest = blocks.pop()
        blocks[-1] += newest
