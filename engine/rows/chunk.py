"""Rows on their way through the engine, and where they came from."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

TOO_SHORT = "row|too_short"
"""The rule that a CSV row with fewer fields than the header breaks."""

# Columns that a run adds to quarantined rows.
SOURCE_COLUMNS = ("source_file", "source_row", "reasons", "chunk_row")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one input file.

    Attributes:
        frame: The rows as read.
        file: The name of the file.
        rows_before: Rows of the same file before this chunk.
        input_rows_before: Rows of the whole input before this chunk.
        faults: Rules that need more than the values of one row, each with the rows that break it:
            Boolean [rows].
    """

    frame: pl.DataFrame
    file: str
    rows_before: int
    input_rows_before: int
    faults: Mapping[str, pl.Series] = field(default_factory=dict)


def mark_nul(chunks: Iterable[Chunk], id_column: str | None) -> Iterator[Chunk]:
    """Mark the rows whose id holds the character NUL, for destinations that cannot hold it."""
    for chunk in chunks:
        if id_column is None or chunk.frame.schema[id_column] not in (pl.String, pl.Categorical):
            yield chunk
            continue
        ids = chunk.frame[id_column].cast(pl.String)
        rows = ids.str.contains("\0", literal=True).fill_null(value=False)
        yield replace(chunk, faults={**chunk.faults, f"{id_column}|nul_character": rows})


def whole_batches(
    frame: pl.LazyFrame, rows: int, batch_rows: int, lost: Callable[[int], Exception]
) -> Iterator[pl.DataFrame]:
    """Read a table in batches, in order, and fail if rows are missing at the end.

    NOTE: `collect_batches` is marked unstable, and if a Polars thread panics it stops without an
    error (Polars 2.1). It is used only here.

    Args:
        frame: The table.
        rows: The expected number of rows, from an independent count.
        batch_rows: The most rows of a batch.
        lost: Makes the error to raise, given the number of rows that arrived.
    """
    found = 0
    for batch in frame.collect_batches(chunk_size=batch_rows, maintain_order=True):
        found += batch.height
        yield batch
    if found != rows:
        raise lost(found)
