"""The rows that a run rejects, with all columns of the input."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.errors import InputError
from engine.inputs.chunks import read_frames
from engine.inputs.tables import Table
from engine.logs import LOG
from engine.options import CHUNK_ROWS
from engine.rows.chunk import SOURCE_COLUMNS

NOT_FLAT = (pl.Binary, pl.Object, pl.Duration)


class RejectedRows:
    """Collects rejected rows, to be written as they are in the input.

    Rows whose columns were all read for scoring are given back at once. If the input has others, the
    place of each row and the number of its reasons are kept, in 8 bytes, and the rows are read again.
    """

    def __init__(self, tables: Sequence[Table], needed: Sequence[str], most: float) -> None:
        """Begin without rows.

        Args:
            tables: Tables from `open_inputs`.
            needed: The columns that scoring reads.
            most: If more rows are rejected, nothing will be written, and no row is collected.
        """
        self._tables = tables
        self._needed = needed
        self._most = most
        self._columns = flat_columns(tables)
        self._is_read_again = not self._columns.keys() <= set(needed)
        self._ends = np.cumsum([table.rows for table in tables])
        self._count = 0
        self._reasons: dict[str, int] = {}
        self._places: dict[int, list[pl.DataFrame]] = {}

    def add(self, rejected: pl.DataFrame, rows_before: int) -> Iterator[pl.DataFrame]:
        """Take the rejected rows of the next chunk; yields what can be written at once.

        Args:
            rejected: The needed columns, `source_file`, `source_row` and `reasons`.
            rows_before: Rows of the whole input before the chunk.
        """
        if not rejected.height:
            return
        self._count += rejected.height
        if self._count > self._most:
            self._places.clear()
        elif not self._is_read_again:
            yield _with_columns(rejected, self._columns)
        else:
            table = int(np.searchsorted(self._ends, rows_before, "right"))
            for reasons in rejected["reasons"].unique():
                self._reasons.setdefault(reasons, len(self._reasons))
            numbers = pl.col("reasons").replace_strict(self._reasons, return_dtype=pl.UInt32)
            places = rejected.select(pl.col("source_row").cast(pl.UInt32), numbers)
            self._places.setdefault(table, []).append(places)

    def read_again(self) -> Iterator[pl.DataFrame]:
        """Read the rows that were not given back.

        Yields:
            All columns of `flat_columns`, `source_file`, `source_row` and `reasons`, in input order.
        """
        for number, places in self._places.items():
            table, rows = self._tables[number], pl.concat(places)
            done = 0
            try:
                for frame in self._read_table(table, self._columns, rows):
                    yield frame
                    done += frame.height
            except InputError:
                LOG.warning(
                    "%s: a column that scoring does not need cannot be read; the quarantine holds only those "
                    "that it needs.",
                    table.name,
                )
                yield from self._read_table(table, self._needed, rows[done:])

    def _read_table(
        self, table: Table, names: Iterable[str], rows: pl.DataFrame
    ) -> Iterator[pl.DataFrame]:
        wanted = [name for name in names if name in table.columns and name in self._columns]
        with table.reading():
            table.check(wanted)
        reasons = pl.Series(list(self._reasons), dtype=pl.String)
        numbers = rows["source_row"].to_numpy()
        begin = before = 0
        for frame in read_frames(table, wanted, CHUNK_ROWS):
            end = begin + int(np.searchsorted(numbers[begin:], before + frame.height, "right"))
            here = rows[begin:end]
            if here.height:
                yield _with_columns(
                    frame[here["source_row"] - (before + 1)].with_columns(
                        source_file=pl.lit(table.name),
                        source_row=here["source_row"].cast(pl.Int64),
                        reasons=reasons.gather(here["reasons"]),
                    ),
                    self._columns,
                )
            begin, before = end, before + frame.height
            if end == rows.height:
                return


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


def _with_columns(rows: pl.DataFrame, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """Rows in the columns and types of the whole input; null where their table has no such column."""
    found = (
        by_name(name) if name in rows.columns else pl.lit(None).alias(name) for name in columns
    )
    typed = (column.cast(dtype) for column, dtype in zip(found, columns.values(), strict=True))
    return rows.select(*typed, "source_file", "source_row", "reasons")
