"""Rows on their way through the engine, and the columns that describe where they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

TOO_SHORT = "row|too_short"
"""The column, and the rule, that marks rows of a CSV with fewer fields than its header."""

# What a run adds to the rows it sets aside.
SOURCE_COLUMNS = ("source_file", "source_row", "reasons", "chunk_row", TOO_SHORT)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file.

    `rows_before` counts the rows of the same file that came before, `input_rows_before` those of
    the whole input. `flat` is what `flat_columns` gives for the whole input.
    """

    frame: pl.DataFrame
    file: str
    rows_before: int
    input_rows_before: int
    flat: Mapping[str, pl.DataType] = field(default_factory=dict)
