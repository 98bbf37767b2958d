"""Scores as data files of a table: one for each date, in types that the format has."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import polars as pl

from engine.errors import CannotCreateError, InputError, pluralize, quoted
from engine.storage import sync_path

ROW_GROUP_ROWS = 65_536
_WIDER: dict[type[pl.DataType], pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
}
"""Types of scores that neither format has, and those that hold the same values."""
_SMALL = dict.fromkeys((pl.Int8, pl.Int16, pl.UInt8), pl.Int32())


@dataclass(frozen=True, slots=True)
class DataFile:
    """A complete file in the folder of a table.

    Attributes:
        path: Where it is.
        day: The date of its rows; None if the scores have no date.
        rows: Their number.
    """

    path: Path
    day: date | None
    rows: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A version of a table that nobody sees yet.

    Attributes:
        version: What it will be called.
        files: Its new files.
        commit: Makes it the current version.
    """

    version: int
    files: tuple[DataFile, ...]
    commit: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Scores:
    """Complete scores on their way into a table.

    Attributes:
        frame: Their rows, in input order.
        schema: Their columns.
        day_column: The snapshot; None if they have none.
        days: The number of rows of each date.
    """

    frame: pl.LazyFrame
    schema: pl.Schema
    day_column: str | None
    days: dict[date | None, int]

    @classmethod
    def of(cls, staged: Path, name: str, *, has_small_integers: bool) -> "Scores":
        """Open a staged Parquet file.

        Args:
            staged: The file.
            name: The table, for messages.
            has_small_integers: Whether the format has integers of 8 and 16 bits.

        Raises:
            InputError: Some rows have no date and others do.
        """
        wider = _WIDER if has_small_integers else _WIDER | _SMALL
        frame = pl.scan_parquet(staged, glob=False)
        found = frame.collect_schema()
        frame = frame.with_columns(
            pl.col(column).cast(wider[dtype.base_type()])
            for column, dtype in found.items()
            if dtype.base_type() in wider
        )
        # The snapshot, whatever its name is, is the only date of a score file.
        day_column = next((c for c, dtype in found.items() if dtype == pl.Date), None)
        day = pl.lit(None, pl.Date) if day_column is None else pl.col(day_column)
        counted = frame.group_by(day.alias("day")).len().sort("day").collect(engine="streaming")
        days = dict(counted.iter_rows())
        if day_column is not None and None in days:
            raise InputError(
                f"{name}: {pluralize(days[None], 'scored row')} without {day_column!r}. A table keeps "
                "the rows of each date, so all need one. Fix the input."
            )
        return cls(frame, frame.collect_schema(), day_column, days)

    def check_columns(
        self, table: pl.Schema, needed: Sequence[str], partitions: Sequence[str], name: str
    ) -> None:
        """Check that a table can take the scores.

        Args:
            table: Its columns.
            needed: Those that may not be null.
            partitions: Those that it is partitioned by.
            name: The table, for messages.

        Raises:
            CannotCreateError: A column has another type, is missing, or other partitions are needed.
        """
        wanted = [] if self.day_column is None else [self.day_column]
        if list(partitions) != wanted:
            raise CannotCreateError(
                f"{name}: is partitioned by {quoted(partitions) or 'nothing'}; expected "
                f"{quoted(wanted) or 'nothing'}, because the rows of a date are replaced together. "
                "Name another table."
            )
        missing = [column for column in needed if column not in self.schema]
        wrong = [c for c, dtype in self.schema.items() if table.get(c, dtype) != dtype]
        if missing or wrong:
            types = ", ".join(f"{c!r} {table[c]}, here {self.schema[c]}" for c in wrong)
            raise CannotCreateError(
                f"{name}: its columns do not fit these scores"
                + (f"; of another type: {types}" if wrong else "")
                + (f"; never null, but not here: {quoted(missing)}" if missing else "")
                + ". Name another table."
            )

    def write(
        self, folder: Path, written: list[DataFile], *, with_day: bool
    ) -> tuple[DataFile, ...]:
        """Write a file for each date into a folder, and force them to disk.

        Args:
            folder: Below it lies a folder for each date.
            written: Each file is added before it is written.
            with_day: Whether the files hold the date too.

        Raises:
            OSError: The disk is full, or the folder may not be written to.
        """
        for day, rows in self.days.items():
            of_day, frame = folder, self.frame
            if day is not None:
                of_day = folder / f"{quote(str(self.day_column), safe='')}={day}"
                if len(self.days) > 1:
                    frame = frame.filter(pl.col(str(self.day_column)) == day)
                frame = frame if with_day else frame.drop(str(self.day_column))
            of_day.mkdir(parents=True, exist_ok=True)
            file = DataFile(of_day / f"part-{uuid4()}.parquet", day, rows)
            written.append(file)
            frame.sink_parquet(file.path, row_group_size=ROW_GROUP_ROWS, maintain_order=True)
            with file.path.open("rb+") as stream:
                os.fsync(stream.fileno())
            sync_path(of_day)
        return tuple(written)
