"""One pass over a table: what every column holds, and a sample of the rows.

Memory depends on the columns only: counts and ranges are of all rows, everything else is asked of the
sample.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.bundle.schema import Feature, FeatureSchema, name_problem
from engine.errors import InputError
from engine.inputs.chunks import read_chunks
from engine.inputs.tables import Table
from engine.options import CHUNK_ROWS
from engine.pages.format import sentence
from engine.rows.rules import READABLE_TYPES, is_readable
from engine.rows.typed import TEXT_TYPES, to_typed
from training.data.dataset import TRUTH

SAMPLE_ROWS = 100_000
SAMPLE_CELLS = 8_000_000
CHUNK_CELLS = 4_000_000
FEWEST_ROWS = 2_000
SEED = 7

MISSING_MARKS = ("NA", "N/A", "n/a", "#N/A", "NULL", "null", "?")
"""Texts that nearly always mean "missing"."""

NUMBER_MARKS = (*MISSING_MARKS, "na", "None", "none", "-", "--", ".", "missing", "unknown")
"""Texts that mean "missing" among numbers; a category may have such a value."""


@dataclass(frozen=True, slots=True)
class Column:
    """What all rows say of one column.

    Attributes:
        name: The column.
        dtype: Its type in the first input.
        rows: All rows.
        blank: Rows without a value.
        marks: The rows with each of `NUMBER_MARKS`.
        not_numbers: Rows with any other text that is no number.
        infinite: Rows with a number beyond float32.
        low: The smallest finite number; None if there is none.
        high: The largest finite number.
        whole: Whether all finite numbers are whole.
    """

    name: str
    dtype: pl.DataType
    rows: int
    blank: int
    marks: Mapping[str, int]
    not_numbers: int
    infinite: int
    low: float | None
    high: float | None
    whole: bool

    def missing(self, marks: Sequence[str]) -> int:
        """Rows without a value, if these texts mean "missing"."""
        return self.blank + sum(self.marks.get(mark, 0) for mark in marks)


@dataclass(frozen=True, slots=True)
class Survey:
    """A table at first sight.

    Attributes:
        rows: All rows.
        columns: Those that the engine can read, in their order.
        dates: The columns of type Date.
        unreadable: Why each other column cannot be read.
        sample: Raw rows of `columns` and `dates`, drawn at random; all rows of a small table.
    """

    rows: int
    columns: tuple[Column, ...]
    dates: tuple[str, ...]
    unreadable: Mapping[str, str]
    sample: pl.DataFrame


def survey_tables(tables: Sequence[Table]) -> Survey:
    """Read all rows once.

    Args:
        tables: Open tables with the columns of the first.

    Raises:
        InputError: A table lacks columns of the first or has other types there, there are no rows, or a
            file is damaged.
    """
    first = tables[0]
    for table in tables[1:]:
        _check_alike(first, table)
    rows = sum(table.rows for table in tables)
    if not rows:
        raise InputError(
            f"{first.name}: no rows, so nothing tells what its columns hold. Give a table with users."
        )
    unreadable = {n: why for n, t in first.columns.items() if (why := _why_unreadable(n, t))}
    dates = tuple(n for n, t in first.columns.items() if n not in unreadable and t == pl.Date)
    names = [name for name in first.columns if name not in unreadable]
    chunks = list(_surveyed(tables, names, rows))
    sample, counts, marks = (
        pl.concat(frames, how="vertical_relaxed") for frames in zip(*chunks, strict=True)
    )
    return Survey(rows, _columns(first.columns, counts, marks, rows), dates, unreadable, sample)


def _check_alike(first: Table, other: Table) -> None:
    found = other.columns
    if missing := [name for name in first.columns if name not in found]:
        raise InputError.missing_columns(
            other.name, missing, found.names(), first.name, len(first.columns)
        )
    wrong = [
        (name, str(dtype), str(found[name]))
        for name, dtype in first.columns.items()
        if not _why_unreadable(name, dtype) and _form(dtype) != _form(found[name])
    ]
    if wrong:
        raise InputError.wrong_types(f"{other.name}, beside {first.name}", wrong)


def _form(dtype: pl.DataType) -> str:
    """Types of one form can be concatenated."""
    if dtype.base_type() in TEXT_TYPES:
        return "text"
    return "number" if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null) else str(dtype)


def _why_unreadable(name: str, dtype: pl.DataType) -> str | None:
    if not name:
        return "No name. Name it in the table."
    if name == TRUTH:
        return "The true probability of simulated users: it measures a model and is no feature."
    if problem := name_problem(name):
        return f"{sentence(problem)} Rename it in the table."
    if isinstance(dtype, pl.Datetime):
        return "A timestamp. Turn it into a date or a number of days."
    if dtype == pl.Date or is_readable(dtype, READABLE_TYPES["numeric"]):
        return None
    return f"The type {dtype} is neither a number nor a text."


def _surveyed(
    tables: Sequence[Table], names: Sequence[str], rows: int
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
    """Of each chunk: the sampled rows, `_counts` and `_marks`."""
    width = max(len(names), 1)
    wanted = max(min(SAMPLE_ROWS, SAMPLE_CELLS // width), FEWEST_ROWS)
    rng = np.random.default_rng(SEED)
    for chunk in read_chunks(tables, names, max(min(CHUNK_ROWS, CHUNK_CELLS // width), 1)):
        kept = rng.random(chunk.frame.height) < wanted / rows
        yield chunk.frame.filter(pl.Series(kept)), _counts(chunk.frame), _marks(chunk.frame)


def _counts(raw: pl.DataFrame) -> pl.DataFrame:
    """One row a column: every column read as numbers, and the marks among its texts."""
    names = [name for name, dtype in raw.schema.items() if dtype != pl.Date]
    table = FeatureSchema(
        "survey", tuple(Feature(n, "numeric") for n in names), missing_texts=NUMBER_MARKS
    )
    typed = to_typed(raw.select(by_name(names)), table)
    numbers = typed.frame
    finite = numbers.select(pl.when(pl.all().is_finite()).then(pl.all()))
    return pl.DataFrame(
        {
            "name": names,
            "nulls": _only_row(numbers.null_count()),
            "not_numbers": [
                int(rows.sum())
                if (rows := typed.faults.get(f"{name}|not_a_number")) is not None
                else 0
                for name in names
            ],
            "infinite": _only_row(numbers.select(pl.all().is_infinite().sum())),
            "low": _only_row(finite.min()),
            "high": _only_row(finite.max()),
            "whole": _only_row(finite.select((pl.all() == pl.all().floor()).all())),
        },
        schema_overrides={"low": pl.Float32, "high": pl.Float32},
    )


def _only_row(frame: pl.DataFrame) -> tuple[Any, ...]:
    """The row of aggregates; empty if there are no columns."""
    return frame.row(0) if frame.width else ()


def _marks(raw: pl.DataFrame) -> pl.DataFrame:
    """How many rows of a column have which of `NUMBER_MARKS`; those that none has are absent."""
    texts = raw.select(pl.col(pl.String, pl.Categorical, pl.Enum).cast(pl.String))
    found = _only_row(texts.select(pl.all().is_in(NUMBER_MARKS).any()))
    hit = texts.select(
        by_name([n for n, any_mark in zip(texts.columns, found, strict=True) if any_mark])
    )
    return (
        hit.unpivot(variable_name="name", value_name="mark")
        .filter(pl.col("mark").is_in(NUMBER_MARKS))
        .group_by("name", "mark")
        .agg(rows=pl.len())
    )


def _columns(
    first: pl.Schema, counts: pl.DataFrame, marks: pl.DataFrame, rows: int
) -> tuple[Column, ...]:
    found = counts.group_by("name", maintain_order=True).agg(
        pl.col("nulls", "not_numbers", "infinite").sum(),
        pl.col("low").min(),
        pl.col("high").max(),
        pl.col("whole").all(),
    )
    marked: dict[str, dict[str, int]] = {}
    for name, mark, hits in (
        marks.group_by("name", "mark").agg(pl.col("rows").sum()).sort("name", "mark").iter_rows()
    ):
        marked.setdefault(name, {})[mark] = hits
    return tuple(
        Column(
            name=one["name"],
            dtype=first[one["name"]],
            rows=rows,
            blank=one["nulls"] - one["not_numbers"] - sum(marked.get(one["name"], {}).values()),
            marks=marked.get(one["name"], {}),
            **{key: one[key] for key in ("not_numbers", "infinite", "low", "high", "whole")},
        )
        for one in found.iter_rows(named=True)
    )
