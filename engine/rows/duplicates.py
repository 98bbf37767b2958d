"""Duplicate keys: finds the rows whose key an earlier row of the same run already has.

The key of a row is its id and snapshot, or its id alone. A first pass over the key columns finds the
hashes of repeated keys, in 8 bytes a row. If there are any, a second pass makes sure that different
keys do not share one of them. Then rows of the same hash have the same key, and chunks can be checked
one by one as they stream. An input without duplicates pays for the first pass only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import polars as pl

from engine.bundle.schema import FeatureSchema
from engine.rows.chunk import Chunk
from engine.rows.rules import find_violations
from engine.rows.typed import date_column, to_typed

NO_DAY = np.iinfo(np.int32).min
COMPARED_HASHES = 1_000_000
"""Repeated keys compared in one pass; this bounds the memory for the keys themselves."""


@dataclass(frozen=True, slots=True)
class RepeatedKeys:
    """The hashes of the keys that several rows have; each hash belongs to one key.

    Attributes:
        hashes: uint64 [repeated keys], ascending.
        seed: The seed of the hash function.
    """

    hashes: np.ndarray
    seed: int = 0

    def find(self, keys: pl.DataFrame) -> np.ndarray:
        """The place of each key in `hashes`, or -1: int64 [rows]."""
        if not len(self.hashes):
            return np.full(keys.height, -1)
        found = key_hashes(keys, self.seed)
        places = np.minimum(np.searchsorted(self.hashes, found), len(self.hashes) - 1)
        return np.where(self.hashes[places] == found, places, -1)


def find_repeated_keys(
    read: Callable[[], Iterable[pl.DataFrame]], schema: FeatureSchema, rows: int
) -> RepeatedKeys:
    """Find the keys that several rows have.

    Args:
        read: Reads the key columns of the whole input, each time it is called.
        schema: The table that the bundle scores; without an id there are no keys.
        rows: The number of rows of the input.
    """
    if schema.id is None:
        return RepeatedKeys(np.empty(0, np.uint64))
    for seed in count():
        hashes = _repeated_hashes((row_keys(frame, schema) for frame in read()), rows, seed)
        parts = (hashes[i : i + COMPARED_HASHES] for i in range(0, len(hashes), COMPARED_HASHES))
        repeated = (RepeatedKeys(part, seed) for part in parts)
        if all(_is_unambiguous(part, (row_keys(f, schema) for f in read())) for part in repeated):
            break
    return RepeatedKeys(hashes, seed)


def mark_duplicates(
    chunks: Iterable[Chunk], repeated: RepeatedKeys, schema: FeatureSchema
) -> Iterator[Chunk]:
    """Add the fault `<id>|duplicate` to each chunk that has duplicates.

    The first row of a key that breaks no other rule is not a duplicate; later ones are.

    Args:
        chunks: All rows, in input order.
        repeated: The repeated keys of the same rows.
        schema: The table that the bundle scores.
    """
    if not len(repeated.hashes):
        yield from chunks
        return
    is_taken = np.zeros(len(repeated.hashes), np.bool_)
    for chunk in chunks:
        places = repeated.find(row_keys(chunk.frame, schema))
        rows = np.flatnonzero(places >= 0)[_are_valid(chunk, places >= 0, schema)]
        places, first = np.unique(places[rows], return_index=True)
        kept = rows[first[~is_taken[places]]]
        is_taken[places] = True
        yield _with_fault(chunk, f"{schema.id}|duplicate", np.setdiff1d(rows, kept))


def mark_own_duplicates(chunk: Chunk, schema: FeatureSchema) -> Chunk:
    """Mark duplicates in a chunk that is the whole input."""
    repeated = find_repeated_keys(lambda: [chunk.frame], schema, chunk.frame.height)
    return next(mark_duplicates([chunk], repeated, schema))


def row_keys(frame: pl.DataFrame, schema: FeatureSchema) -> pl.DataFrame:
    """The key of each row: `id` as String, null where missing, and `day` as Int32.

    Args:
        frame: Rows as read.
        schema: The table that the bundle scores; it names an id.
    """
    day = pl.lit(NO_DAY, pl.Int32)
    if schema.snapshot is not None and schema.snapshot in frame.columns:
        day = date_column(schema.snapshot, frame.schema[schema.snapshot]).cast(pl.Int32)
    return frame.select(id=pl.col(schema.id or "").cast(pl.String), day=day.fill_null(NO_DAY))


def key_hashes(keys: pl.DataFrame, seed: int) -> np.ndarray:
    """A 64-bit hash of each key: uint64 [rows]; equal keys have equal hashes."""
    return keys.hash_rows(seed).to_numpy()


def _repeated_hashes(keys: Iterable[pl.DataFrame], rows: int, seed: int) -> np.ndarray:
    """The hashes that occur more than once: uint64 [hashes], ascending."""
    hashes = np.empty(rows, np.uint64)
    end = 0
    for some in keys:
        found = key_hashes(some.filter(pl.col("id") != ""), seed)
        hashes[end : end + len(found)] = found
        end += len(found)
    hashes = hashes[:end]
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _is_unambiguous(repeated: RepeatedKeys, keys: Iterable[pl.DataFrame]) -> bool:
    """Whether no two different keys share one of these hashes."""
    given = (some.filter(pl.col("id") != "") for some in keys)
    found = (some.filter(pl.Series(repeated.find(some) >= 0)).unique() for some in given)
    return pl.concat(found).n_unique() == len(repeated.hashes)


def _are_valid(chunk: Chunk, is_asked: np.ndarray, schema: FeatureSchema) -> np.ndarray:
    """Whether each of some rows breaks no rule: bool [rows asked]."""
    rows = pl.Series(is_asked)
    faults = {rule: found.filter(rows) for rule, found in chunk.faults.items()}
    typed = to_typed(chunk.frame.filter(rows), schema)
    violations = find_violations(typed, schema, faults)
    is_bad = np.zeros(typed.frame.height, np.bool_)
    for column in violations:
        is_bad |= column.to_numpy()
    return ~is_bad


def _with_fault(chunk: Chunk, rule: str, rows: np.ndarray) -> Chunk:
    if not len(rows):
        return chunk
    marks = np.zeros(chunk.frame.height, np.bool_)
    marks[rows] = True
    return replace(chunk, faults={**chunk.faults, rule: pl.Series(marks)})
