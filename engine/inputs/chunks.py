"""Tables to chunks: reads the rows of all inputs, in order.

Chunks hold raw columns; types and values are checked in `engine.rows`.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.bundle.manifest import Manifest
from engine.bundle.schema import FeatureSchema
from engine.errors import InputError
from engine.inputs.csv_checks import short_rows
from engine.inputs.errors import broken, reading
from engine.inputs.tables import Table
from engine.interruption import in_background
from engine.options import CHUNK_ROWS
from engine.rows.chunk import TOO_SHORT, Chunk, whole_batches
from engine.rows.duplicates import find_repeated_keys, mark_duplicates
from engine.rows.rules import check_columns, check_same_keys


def check_tables(manifest: Manifest, tables: Sequence[Table]) -> None:
    """Check the columns of every input, and that all inputs agree.

    Raises:
        InputError: Columns are missing, of a wrong type, or differ between inputs.
    """
    bundle_id = f"bundle {manifest.bundle_id}"
    for table in tables:
        try:
            check_columns(manifest.schema, table.columns, table.name, bundle_id)
        except InputError as error:
            if table is tables[0]:
                raise
            message = f"{str(error).rstrip('.')}. {tables[0].name} has the right columns."
            raise InputError(message) from None
    check_same_keys(manifest.schema, ((table.name, table.columns) for table in tables))


def read_users(
    tables: Sequence[Table], columns: Sequence[str], chunk_rows: int, schema: FeatureSchema
) -> Iterator[Chunk]:
    """Read every table chunk by chunk, in order, with duplicate keys marked.

    Args:
        tables: Tables from `open_inputs`.
        columns: The columns to read if a table has them.
        chunk_rows: The most rows of a chunk.
        schema: The table that the bundle scores; without an id there are no duplicates.

    Raises:
        InputError: A file is cut off or cannot be decoded.
    """
    rows = sum(table.rows for table in tables)
    repeated = find_repeated_keys(partial(_read_keys, tables, schema), schema, rows)
    yield from mark_duplicates(read_chunks(tables, columns, chunk_rows), repeated, schema)


def read_chunks(
    tables: Sequence[Table], columns: Sequence[str], chunk_rows: int
) -> Iterator[Chunk]:
    """Read every table without checking for duplicates."""
    input_rows = 0
    for table in tables:
        rows = 0
        wanted = [name for name in columns if name in table.columns]
        for frame, faults in _frames_and_faults(table, wanted, chunk_rows):
            yield Chunk(frame, table.name, rows, input_rows, faults)
            rows += frame.height
            input_rows += frame.height


def find_rows(table: Table, columns: Sequence[str], condition: pl.Expr) -> pl.DataFrame:
    """The rows of a table that meet a condition, with `source_row` (from 1).

    Raises:
        InputError: The file is cut off or cannot be decoded.
    """
    wanted = [name for name in columns if name in table.columns]
    with reading(table.name):
        rows = table.frame.select(wanted).with_row_index("source_row", offset=1)
        return in_background(lambda: rows.filter(condition).collect(engine="streaming"))


def _read_keys(tables: Sequence[Table], schema: FeatureSchema) -> Iterator[pl.DataFrame]:
    for table in tables:
        names = [name for name in (schema.id, schema.snapshot) if name and name in table.columns]
        yield from read_frames(table, names, CHUNK_ROWS)


def _frames_and_faults(
    table: Table, columns: list[str], chunk_rows: int
) -> Iterator[tuple[pl.DataFrame, dict[str, pl.Series]]]:
    """The rows of a table, with the fault of those that are too short."""
    if table.format != "csv":
        for frame in read_frames(table, columns, chunk_rows):
            yield frame, {}
        return
    last = table.columns.names()[-1]
    short: np.ndarray | None = None
    rows = 0
    for frame in read_frames(table, list(dict.fromkeys((*columns, last))), chunk_rows):
        # A short row has no last field, so most files need not be searched.
        if short is None and frame[last].null_count():
            with reading(table.name):
                short = short_rows(table.content, len(table.columns))
        yield frame.select(by_name(columns)), _short_faults(short, rows, frame.height)
        rows += frame.height


def _short_faults(short: np.ndarray | None, before: int, height: int) -> dict[str, pl.Series]:
    if short is None:
        return {}
    inside = short[(short >= before) & (short < before + height)] - before
    marks = np.zeros(height, np.bool_)
    marks[inside] = True
    return {TOO_SHORT: pl.Series(marks)} if len(inside) else {}


def read_frames(table: Table, columns: Sequence[str], chunk_rows: int) -> Iterator[pl.DataFrame]:
    """Read some columns of a table.

    Raises:
        InputError: The file is cut off or cannot be decoded.
    """
    with table.reading():
        # NOTE: Polars takes the text "*" for all columns, and "^…$" for a pattern.
        selected = table.frame.select(by_name(columns))
        yield from whole_batches(selected, table.rows, chunk_rows, partial(_lost_rows, table))


def _lost_rows(table: Table, found: int) -> InputError:
    return broken(table.name, f"it has {table.rows:,} rows, of which {found:,} could be read")
