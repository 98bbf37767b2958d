"""Repeated keys: finds the rows whose key an earlier row of the same run already had.

Takes the keys of the rows that can be scored, in input order, gives the rows that repeat one. Their
hashes are looked up, and a row whose hash is known is a repeat only if the key that came first is the
same, byte by byte: the keys lie on disk for this. Memory grows by 8 bytes a row for an entry, a hash
and a number, by 2 to 4 for the filter before them, and by 3 while blocks of entries are merged.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import polars as pl

from engine.bundle.schema import FeatureSchema
from engine.rows.bloom_filter import BloomFilter
from engine.storage import storage_errors

MERGED_ROWS = 1 << 19
"""Blocks of entries are merged up to so many rows, and beyond it up to a fourth of all rows: a merge
needs room for what it merges."""

# An entry is the first 40 bits of a hash, then the number of the key in its block, in 24 bits: one sort
# orders both. Of 24 million keys one in 46,000 has the 40 bits of another.
NUMBER_BITS = np.uint64(24)
BLOCK_ROWS = 1 << 24
NUMBER_MASK = np.uint64(BLOCK_ROWS - 1)

NO_DAY = np.iinfo(np.int32).min
_RECORD = np.dtype([("end", np.int64), ("day", np.int32)])


class SeenKeys:
    """The keys of all rows of a run that can be scored, asked chunk by chunk in input order.

    Used as a context, which holds two files without a name: the ids, and where each ends. Threads
    may work on several chunks at the same time; `turn` lets each in after the one before.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._blocks: list[np.ndarray] = []
        self._filter = BloomFilter(MERGED_ROWS)
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
        parts = (self._mark_repeats(part) for part in keys.iter_slices(BLOCK_ROWS))
        return pl.concat([pl.Series(dtype=pl.Boolean), *parts])

    def _mark_repeats(self, keys: pl.DataFrame) -> pl.Series:
        entries = key_hashes(keys) & ~NUMBER_MASK | np.arange(len(keys), dtype=np.uint64)
        entries.sort()
        rows, hashes = entries & NUMBER_MASK, entries >> NUMBER_BITS
        known = np.zeros(len(keys), np.bool_)
        alike = np.sort(rows[_have_twins(hashes)]).astype(np.int64)
        if len(alike):
            known[alike] = repeated_within(keys[alike]).to_numpy()
        # Few keys come twice: the blocks are asked only for those that may be in one.
        perhaps = self._filter.may_have(hashes)
        asked, sought = rows[perhaps], hashes[perhaps]
        first = 0
        with storage_errors(self._folder):
            for block in self._blocks:
                self._look_up(block, first, keys, asked, sought, known)
                first += len(block)
            if not known.all():
                self._add(keys, rows, hashes, ~known)
        return pl.Series(known)

    def _add(
        self, keys: pl.DataFrame, rows: np.ndarray, hashes: np.ndarray, is_new: np.ndarray
    ) -> None:
        """Keep the keys that are new; `hashes` are those of all `rows`, and rise."""
        self._write(keys.filter(pl.Series(is_new)))
        numbers = np.cumsum(is_new, dtype=np.uint64) - np.uint64(1)
        added = is_new[rows]
        self._blocks.append(hashes[added] << NUMBER_BITS | numbers[rows[added]])
        self._mark(hashes[added])
        _merge(self._blocks, min(max(MERGED_ROWS, self._count // 4), BLOCK_ROWS))

    def _mark(self, newest: np.ndarray) -> None:
        """Tell the filter of the newest hashes, or a larger one of all."""
        if self._count <= self._filter.room:
            self._filter.add(newest)
            return
        self._filter = BloomFilter(self._count)
        for block in self._blocks:
            self._filter.add(block >> NUMBER_BITS)

    def _look_up(
        self,
        block: np.ndarray,
        first: int,
        keys: pl.DataFrame,
        rows: np.ndarray,
        hashes: np.ndarray,
        known: np.ndarray,
    ) -> None:
        """Mark in `known` those of some `rows` whose keys a block has, whose numbers begin at `first`."""
        at = np.searchsorted(block, hashes << NUMBER_BITS)
        # NOTE: different keys may have one hash; the next entry may then be the right one.
        while len(hits := np.flatnonzero(_has(block, at, hashes))):
            numbers = (block[at[hits]] & NUMBER_MASK).astype(np.int64)
            known[rows[hits]] |= self._equal(keys[rows[hits]], first + numbers)
            at += 1

    def _equal(self, keys: pl.DataFrame, numbers: np.ndarray) -> np.ndarray:
        """Whether each key is, byte by byte, the kept key of that number: bool [keys]."""
        records = np.memmap(self._records, _RECORD, "r")
        kept = records[numbers]
        starts = np.where(numbers == 0, 0, records["end"][numbers - 1])
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

    def _write(self, keys: pl.DataFrame) -> None:
        """Write keys to disk, where their numbers go on from those before."""
        records = np.empty(len(keys), _RECORD)
        lengths = keys["id"].str.len_bytes().to_numpy()
        records["end"] = self._ids.tell() + np.cumsum(lengths, dtype=np.int64)
        records["day"] = keys["day"].to_numpy()
        for file, content in ((self._ids, _joined(keys["id"])), (self._records, records.tobytes())):
            file.write(content)
            file.flush()
        self._count += len(keys)

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


def _have_twins(hashes: np.ndarray) -> np.ndarray:
    """Whether the hash before or after is the same; they rise: bool [hashes]."""
    same = hashes[1:] == hashes[:-1]
    twins = np.zeros(len(hashes), np.bool_)
    twins[1:] |= same
    twins[:-1] |= same
    return twins


def _joined(texts: pl.Series) -> bytes:
    content: bytes = texts.str.join("").cast(pl.Binary).item()
    return content


def _has(block: np.ndarray, at: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Whether the entries at these places have these hashes: bool [hashes]."""
    last = len(block) - 1
    found: np.ndarray = (at <= last) & (block[np.minimum(at, last)] >> NUMBER_BITS == hashes)
    return found


def _merge(blocks: list[np.ndarray], most_rows: int) -> None:
    """Merge the last blocks while they are alike in size, so that there are never many.

    The numbers of a block go on from those of the block before.
    """
    while len(blocks) > 1:
        last, before = len(blocks[-1]), len(blocks[-2])
        if last < before / 2 or last + before > most_rows:
            return
        newest = blocks.pop() + np.uint64(before)
        blocks[-1] = np.concatenate([blocks[-1], newest])
        # NOTE: this kind of sort finds the two runs that rise, and merges them.
        blocks[-1].sort(kind="stable")
