"""Tables to chunks: reads the rows of all inputs, in order.

Chunks hold raw columns; types and values are checked in `engine.rows`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

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
from engine.logs import LOG
from engine.options import CHUNK_ROWS
from engine.rows.chunk import SOURCE_COLUMNS, TOO_SHORT, Chunk, whole_batches
from engine.rows.duplicates import find_repeated_keys, mark_duplicates
from engine.rows.rules import check_columns, check_same_keys

NOT_FLAT = (pl.Binary, pl.Object, pl.Duration)


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


def read_rejected(
    tables: Sequence[Table], rejected: Iterable[tuple[int, pl.DataFrame]], needed: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Read rejected rows again, as they are in the input: with all columns of `flat_columns`.

    Args:
        tables: Tables from `open_inputs`.
        rejected: For each chunk in input order the rows of the whole input before it, and the
            `source_row` and `reasons` of its rejected rows.
        needed: The columns that are known to be readable. If others cannot be read, the rows are
            given without them.

    Yields:
        The columns, `source_file`, `source_row` and `reasons`, in input order.
    """
    columns = flat_columns(tables)
    ends = np.cumsum([table.rows for table in tables])
    for number, chunks in groupby(
        rejected, lambda chunk: int(np.searchsorted(ends, chunk[0], "right"))
    ):
        table, rows = tables[number], pl.concat([rows for _, rows in chunks])
        done = 0
        try:
            for frame in _raw_rows(table, columns, rows, columns):
                yield frame
                done += frame.height
        except InputError:
            LOG.warning(
                "%s: a column that scoring does not need cannot be read; the quarantine holds only those "
                "that it needs.",
                table.name,
            )
            yield from _raw_rows(table, needed, rows[done:], columns)


def _raw_rows(
    table: Table, names: Iterable[str], rows: pl.DataFrame, columns: Mapping[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    wanted = [name for name in names if name in table.columns and name in columns]
    absent = [pl.lit(None).alias(name) for name in columns if name not in wanted]
    numbers = rows["source_row"].cast(pl.UInt32)
    with table.reading():
        table.check(wanted)
        found = (
            table.frame.select(by_name(wanted))
            .with_row_index("source_row", offset=1)
            .filter(pl.col("source_row").is_in(numbers.implode()))
        )
        done = 0
        for frame in whole_batches(found, rows.height, CHUNK_ROWS, partial(_lost_rows, table)):
            here = rows[done : done + frame.height]
            done += frame.height
            yield frame.with_columns(absent).select(
                *(by_name(name).cast(dtype) for name, dtype in columns.items()),
                source_file=pl.lit(table.name),
                source_row=here["source_row"],
                reasons=here["reasons"],
            )


def flat_columns(tables: Iterable[Table]) -> dict[str, pl.DataType]:
    """The columns of all tables that a file of any format can hold, with a common type.

    Nested and binary columns are left out, and so are those that an earlier run added to the rows
    it rejected. A column whose type differs between tables becomes text.
    """
    columns: dict[str, pl.DataType] = {}
    for table in tables:
        for name, dtype in table.columns.items():
            if name in SOURCE_COLUMNS or dtype.is_nested() or dtype in NOT_FLAT:
                continue
            columns[name] = dtype if columns.get(name, dtype) == dtype else pl.String()
    return columns


def _read_keys(tables: Sequence[Table], schema: FeatureSchema) -> Iterator[pl.DataFrame]:
    for table in tables:
        names = [name for name in (schema.id, schema.snapshot) if name and name in table.columns]
        yield from _frames(table, names, CHUNK_ROWS)


def _frames_and_faults(
    table: Table, columns: list[str], chunk_rows: int
) -> Iterator[tuple[pl.DataFrame, dict[str, pl.Series]]]:
    """The rows of a table, with the fault of those that are too short."""
    if table.format != "csv":
        for frame in _frames(table, columns, chunk_rows):
            yield frame, {}
        return
    last = table.columns.names()[-1]
    short: np.ndarray | None = None
    rows = 0
    for frame in _frames(table, list(dict.fromkeys((*columns, last))), chunk_rows):
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


def _frames(table: Table, columns: list[str], chunk_rows: int) -> Iterator[pl.DataFrame]:
    with table.reading():
        # NOTE: Polars takes the text "*" for all columns, and "^…$" for a pattern.
        selected = table.frame.select(by_name(columns))
        yield from whole_batches(selected, table.rows, chunk_rows, partial(_lost_rows, table))


def _lost_rows(table: Table, found: int) -> InputError:
    return broken(table.name, f"it has {table.rows:,} rows, of which {found:,} could be read")
