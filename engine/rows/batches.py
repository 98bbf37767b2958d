"""A table batch by batch, every row of it."""

from collections.abc import Callable, Iterator

import polars as pl


def whole_batches(
    frame: pl.LazyFrame, rows: int, batch_rows: int, lost: Callable[[int], Exception]
) -> Iterator[pl.DataFrame]:
    """The batches of a table, in order; rows that do not come are missed.

    NOTE: `collect_batches` is marked unstable, and where a thread of Polars panics its batches end without
    a word (2.1). This is its only use.

    Args:
        frame: The table.
        rows: How many it has, counted in another way.
        batch_rows: Rows of a batch, at most.
        lost: The error to raise where only so many came.
    """
    found = 0
    for batch in frame.collect_batches(chunk_size=batch_rows, maintain_order=True):
        found += batch.height
        yield batch
    if found != rows:
        raise lost(found)
