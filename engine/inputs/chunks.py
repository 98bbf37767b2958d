"""Tables to chunks: reads the rows of all inputs in order.

Gives raw columns as they stand. Types and values are checked by `validation`.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.bundle.manifest import Manifest
from engine.errors import InputError
from engine.inputs.csv_checks import short_rows
from engine.inputs.errors import broken, fault_in, reading
from engine.inputs.open import Table
from engine.interruption import in_background
from engine.rows.batches import whole_batches
from engine.rows.chunk import SOURCE_COLUMNS, TOO_SHORT, Chunk
from engine.rows.rules import check_columns, check_same_keys

CHUNK_ROWS = 32_768
"""Rows in one hand at a time, unless somebody says otherwise."""

NOT_FLAT = (pl.Binary, pl.Object, pl.Duration)


def read_chunks(
    tables: Sequence[Table], columns: Sequence[str] | None, chunk_rows: int
) -> Iterator[Chunk]:
    """Read every table, chunk by chunk, in order.

    Args:
        tables: What `open_inputs` gives.
        columns: Those of them that a table has are read; None reads all that `flat_columns` names.
        chunk_rows: Rows of a chunk, at most.

    Raises:
        InputError: A file breaks off or cannot be decoded.
    """
    flat = flat_columns(tables)
    columns = tuple(flat) if columns is None else columns
    input_rows = 0
    for table in tables:
        rows = 0
        wanted = [name for name in columns if name in table.columns]
        for frame in _batches(table, wanted, chunk_rows):
            yield Chunk(frame, table.name, rows, input_rows, flat)
            rows += frame.height
            input_rows += frame.height


def find_rows(table: Table, columns: Sequence[str], condition: pl.Expr) -> pl.DataFrame:
    """The rows of a table that meet a condition, with `source_row` (from 1); others are not kept.

    Raises:
        InputError: The file breaks off or cannot be decoded.
    """
    wanted = [name for name in columns if name in table.columns]
    with reading(table.name):
        rows = table.frame.select(wanted).with_row_index("source_row", offset=1)
        return in_background(lambda: rows.filter(condition).collect(engine="streaming"))


def flat_columns(tables: Iterable[Table]) -> dict[str, pl.DataType]:
    """The columns of all tables that a file of any format can hold, with the type they share.

    Left out are nested and binary columns, and those that an earlier run gave to rows it set aside.
    A column whose type differs between the tables is text.
    """
    columns: dict[str, pl.DataType] = {}
    for table in tables:
        for name, dtype in table.columns.items():
            if name in SOURCE_COLUMNS or dtype.is_nested() or dtype in NOT_FLAT:
                continue
            columns[name] = dtype if columns.get(name, dtype) == dtype else pl.String()
    return columns


def _batches(table: Table, columns: list[str], chunk_rows: int) -> Iterator[pl.DataFrame]:
    last = table.columns.names()[-1]
    is_csv = table.format == "csv"
    read = [*columns, last] if is_csv and last not in columns else columns
    rows = 0
    short: np.ndarray | None = None
    with reading(table.name, fault_in(table.content, table.format)):
        # NOTE: Polars takes the text "*" for all columns, and "^…$" for a pattern.
        selected = table.frame.select(by_name(read))
        lost = partial(_lost_rows, table)
        for frame in whole_batches(selected, table.rows, chunk_rows, lost):
            # A row that is too short has no last field: most files need not be looked through.
            if short is None and is_csv and frame[last].null_count():
                short = short_rows(table.content, len(table.columns))
            yield _with_short(frame.select(by_name(columns)), short, rows)
            rows += frame.height


def _lost_rows(table: Table, found: int) -> InputError:
    return broken(table.name, f"it has {table.rows:,} rows, of which {found:,} could be read")


def _with_short(frame: pl.DataFrame, short: np.ndarray | None, rows_before: int) -> pl.DataFrame:
    if short is None or not len(short):
        return frame
    inside = short[(short >= rows_before) & (short < rows_before + frame.height)] - rows_before
    marks = np.zeros(frame.height, np.bool_)
    marks[inside] = True
    return frame.with_columns(pl.Series(TOO_SHORT, marks))


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
            message = f"{str(error).rstrip('.')}. {tables[0].name} has the columns as needed."
            raise InputError(message) from None
    check_same_keys(manifest.schema, ((table.name, table.columns) for table in tables))
