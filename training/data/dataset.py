"""Labelled users from files: typed rows, mature labels, and a fingerprint of what was read.

Takes the inputs that scoring takes, plus the label; gives a `Dataset`. Rows that scoring would
quarantine are left out and counted. Features that the schema keeps out of the models are read too,
so that figures can be sliced by them. `split` divides the rows into parts.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.open import holds_bundles, is_bundle
from engine.bundle.schema import Feature, FeatureSchema
from engine.errors import BundleError, InputError, pluralize, rule_counts
from engine.inputs.chunks import read_chunks
from engine.inputs.open import open_inputs
from engine.inputs.tables import Table
from engine.options import CHUNK_ROWS
from engine.rows.prepare import needed_columns
from engine.rows.rules import READABLE_TYPES, check_columns, is_readable, split_rows
from engine.rows.typed import to_typed

TRUTH = "true_probability"
"""A column of simulated users: the probability from which the label was drawn."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a further schema would set aside.

    Attributes:
        rows: All rows that were read.
        reasons: The rows that break each rule; a row may break several.
        count: The rows that break any.
        kept: Which rows of the data set break none, Boolean [rows].
    """

    rows: int
    reasons: Mapping[str, int]
    count: int
    kept: np.ndarray

    @property
    def share(self) -> float:
        """The share of rows that are set aside."""
        return self.count / max(self.rows, 1)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled users, in the order in which they were read.

    Attributes:
        schema: The table.
        typed: The key columns and every model feature, as `to_typed` returns them.
        unused: The features with `use = false` that the data has, as `typed`; no model sees them.
        label: int8 [rows], 1 for a purchase.
        truth: float64 [rows], if the data has a complete column `true_probability`.
        rejected: Rows left out, counted by rule.
        fingerprint: SHA-256 over keys, labels and values; the same for every file format.
        left_out: What each further schema would set aside.
    """

    schema: FeatureSchema
    typed: pl.DataFrame
    unused: pl.DataFrame
    label: np.ndarray
    truth: np.ndarray | None
    rejected: dict[str, int]
    fingerprint: str
    left_out: tuple[LeftOut, ...] = ()

    @property
    def rows(self) -> int:
        """The number of users."""
        return self.typed.height

    @property
    def every_feature(self) -> pl.DataFrame:
        """All features of the users, also those that the models do not use."""
        return self.typed.hstack(self.unused)

    @property
    def ids(self) -> pl.Series | None:
        """The id of each row, or None if the schema names no id."""
        return None if self.schema.id is None else self.typed[self.schema.id]

    @property
    def users(self) -> np.ndarray:
        """A number from 0 for each user, int64 [rows]; without ids every row is a user."""
        if self.ids is None:
            return np.arange(self.rows)
        return self.ids.rank("dense").to_numpy().astype(np.int64) - 1

    @property
    def snapshots(self) -> pl.Series | None:
        """The snapshot date of each row, or None if there is none."""
        name = self.schema.snapshot
        return None if name not in self.typed.columns else self.typed[name]

    def subset(self, kept: np.ndarray) -> "Dataset":
        """Some of the users; `kept` is Boolean [rows]."""
        every, label = self.every_feature.filter(pl.Series(kept)), self.label[kept]
        return replace(
            self,
            typed=every.select(self.typed.columns),
            unused=every.select(self.unused.columns),
            label=label,
            truth=None if self.truth is None else self.truth[kept],
            fingerprint=_fingerprint(every, label),
            left_out=(),
        )


def load_dataset(
    inputs: Sequence[str],
    schema: FeatureSchema,
    also: Sequence[FeatureSchema] = (),
) -> Dataset:
    """Read labelled users.

    Args:
        inputs: Files, globs, directories, or `-`, in any format that scoring reads.
        schema: The table; its label must be named.
        also: Further schemas of the same columns, whose rules are only counted.

    Raises:
        BundleError: The schema names no label.
        InputError: An input is a bundle, columns are missing or wrong, dates cannot be read, or labels
            are missing, not 0/1, or all the same.
        NoInputError: There is nothing to read.
    """
    if schema.label is None:
        raise BundleError(f'schema {schema.name!r}: names no label. Add label = "…" to train.')
    _check_no_bundle(inputs)
    with open_inputs(inputs, (*needed_columns(schema), schema.label)) as tables:
        for table in tables:
            _check_table(table, schema, schema.label)
        parts = list(_read(tables, schema, schema.label, also))
    where = ", ".join(inputs)
    rejected = sum((part.reasons for part in parts), Counter[str]())
    concat = _concat([part.frame for part in parts], rejected, where)
    _check_dates(concat, schema, where)
    rows, repeated = _without_repeats(concat, schema)
    left_out = [_left_out(n, parts, rows) for n in range(len(also))]
    rows = rows.drop([_kept_by(n) for n in range(len(also))])
    if repeated:
        rejected[f"{schema.id}|repeated"] = repeated
    if rejected:
        where = f"{where} (rows left out: {rule_counts(rejected)})"
    _check_labels(rows, schema, schema.label, where)
    label = rows[schema.label].cast(pl.Int8).to_numpy()
    unused = rows.select(f.name for f in _unused(schema, rows.schema))
    typed = rows.drop(schema.label, TRUTH, *unused.columns, strict=False)
    fingerprint = _fingerprint(typed.hstack(unused), label)
    return Dataset(
        schema, typed, unused, label, _truth(rows), dict(rejected), fingerprint, tuple(left_out)
    )


def size_figures(dataset: Dataset, rows: np.ndarray | None = None) -> dict[str, Any]:
    """How many rows and users there are, and of which dates; plain JSON values.

    Args:
        dataset: Labelled users.
        rows: The rows that count, int64; all if None.
    """
    counted = np.arange(dataset.rows) if rows is None else rows
    dates = None if dataset.snapshots is None else dataset.snapshots[counted]
    return {
        "rows": len(counted),
        "users": len(np.unique(dataset.users[counted])),
        "rows_left_out": dict(sorted(dataset.rejected.items())),
        "snapshots": [] if dates is None else [str(d) for d in dates.unique().sort()],
    }


def _check_no_bundle(inputs: Sequence[str]) -> None:
    """Check that no input is a bundle: its tables are not of users."""
    for text in inputs:
        if is_bundle(Path(text)) or holds_bundles(Path(text)):
            raise InputError(
                f"{text}: is a bundle or a folder of bundles, not a table of users. Give labelled "
                "users as DATA."
            )


def _check_table(table: Table, schema: FeatureSchema, label: str) -> None:
    purpose = f"training on schema {schema.name!r}"
    if label not in table.columns:
        raise InputError.missing_columns(
            table.name, [label], table.columns.names(), purpose, len(schema.model_features) + 1
        )
    found = table.columns[label]
    if not is_readable(found, READABLE_TYPES["numeric"]):
        raise InputError.wrong_types(table.name, [(label, "0, 1, true or false", str(found))])
    check_columns(schema, table.columns, table.name, purpose)


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one chunk.

    Attributes:
        frame: Those that break no rule, with a column for each further schema.
        read: How many there were.
        reasons: The rows that break each rule.
        others: What each further schema would set aside: the number of rows, and their reasons.
    """

    frame: pl.DataFrame
    read: int
    reasons: Counter[str]
    others: tuple[tuple[int, Counter[str]], ...]


def _kept_by(schema: int) -> str:
    """The column that says which rows break no rule of a further schema; no text has a NUL."""
    return f"\0{schema}"


def _left_out(schema: int, parts: Sequence[_Part], rows: pl.DataFrame) -> LeftOut:
    found = [part.others[schema] for part in parts]
    return LeftOut(
        rows=sum(part.read for part in parts),
        reasons=dict(sum((reasons for _, reasons in found), Counter[str]())),
        count=sum(count for count, _ in found),
        kept=rows[_kept_by(schema)].to_numpy(),
    )


def _read(
    tables: Sequence[Table], schema: FeatureSchema, label: str, also: Sequence[FeatureSchema]
) -> Iterator[_Part]:
    keys = [name for name in (schema.id, schema.snapshot) if name is not None]
    columns = [*keys, *(f.name for f in schema.features), label, TRUTH]
    for chunk in read_chunks(tables, columns, CHUNK_ROWS):
        split = split_rows(chunk.frame, schema, chunk.faults)
        numbers = split.valid["chunk_row"]
        frame = chunk.frame[numbers]
        outcomes = _outcomes(frame, label).hstack(_unused_values(frame, schema))
        further = [split_rows(chunk.frame, other, chunk.faults) for other in also]
        kept = (
            numbers.is_in(other.valid["chunk_row"].implode()).alias(_kept_by(n))
            for n, other in enumerate(further)
        )
        yield _Part(
            split.valid.drop("chunk_row").hstack(outcomes).with_columns(*kept),
            chunk.frame.height,
            Counter(split.reasons),
            tuple((other.rejected.height, Counter(other.reasons)) for other in further),
        )


def _unused_values(frame: pl.DataFrame, schema: FeatureSchema) -> pl.DataFrame:
    """The unused features, typed; a value that cannot be read is null."""
    features = _unused(schema, frame.schema)
    if not features:
        return pl.DataFrame()
    table = FeatureSchema(schema.name, tuple(replace(f, use=True) for f in features))
    finite, typed = pl.selectors.numeric(), to_typed(frame, table).frame
    names = [feature.name for feature in features]
    return typed.select(names).with_columns(pl.when(finite.is_finite()).then(finite))


def _unused(schema: FeatureSchema, found: pl.Schema) -> tuple[Feature, ...]:
    """The unused features that the data has, in a readable type."""
    return tuple(
        feature
        for feature in schema.features
        if not feature.use
        and feature.name in found
        and is_readable(found[feature.name], READABLE_TYPES[feature.kind])
    )


def _outcomes(frame: pl.DataFrame, label: str) -> pl.DataFrame:
    """Label and truth as Float32; a label that is not a number is NaN."""
    kind = frame.schema.get(TRUTH, pl.Null())
    names = [label, TRUTH] if kind.is_numeric() or kind == pl.String else [label]
    table = FeatureSchema(label, tuple(Feature(name, "numeric") for name in names))
    typed = to_typed(frame.select(names), table)
    wrong = typed.faults.get(f"{label}|not_a_number", pl.Series([False]))
    number = pl.when(pl.lit(wrong)).then(float("nan")).otherwise(pl.col(label))
    return typed.frame.select(names).with_columns(number.alias(label))


def _concat(frames: Sequence[pl.DataFrame], rejected: Counter[str], where: str) -> pl.DataFrame:
    if not sum(frame.height for frame in frames):
        caught = f"; caught by: {rule_counts(rejected)}" if rejected else ""
        raise InputError(f"{where}: no row can be used{caught}. Fix the table or the schema.")
    # A date or a truth that only some files have is null in the others.
    return pl.concat(frames, how="diagonal_relaxed").rechunk()


def _without_repeats(rows: pl.DataFrame, schema: FeatureSchema) -> tuple[pl.DataFrame, int]:
    """The first row of every key, and the number of the others."""
    if schema.id is None:
        return rows, 0
    keys = [name for name in (schema.id, schema.snapshot) if name in rows.columns]
    kept = rows.unique(keys, keep="first", maintain_order=True)
    return kept, rows.height - kept.height


def _truth(rows: pl.DataFrame) -> np.ndarray | None:
    """The true probabilities, float64 [rows]; None unless every row has one."""
    if TRUTH not in rows.columns or rows[TRUTH].null_count():
        return None
    truth = rows[TRUTH].to_numpy().astype(np.float64)
    return truth if ((truth >= 0) & (truth <= 1)).all() else None


def _check_dates(rows: pl.DataFrame, schema: FeatureSchema, where: str) -> None:
    if schema.snapshot not in rows.columns:
        return
    undated = rows[schema.snapshot].null_count()
    if undated:
        raise InputError(
            f"{where}: {pluralize(undated, 'row')} of {rows.height:,} where {schema.snapshot!r} is "
            "missing or no date; expected YYYY-MM-DD. Correct them in the job that makes the table."
        )


def _check_labels(rows: pl.DataFrame, schema: FeatureSchema, label: str, where: str) -> None:
    column = rows[label]
    if column.null_count():
        dates = ""
        if schema.snapshot in rows.columns:
            found = rows.filter(column.is_null())[schema.snapshot].unique().drop_nulls().sort()
            dates = f" (snapshots {', '.join(str(date) for date in found.head(8))})"
        days = schema.horizon_days
        reason = f": their {days} days are not over yet" if days else ""
        raise InputError(
            f"{where}: {pluralize(column.null_count(), 'row')} of {rows.height:,} without a value of "
            f"{label!r}{dates}{reason}. Leave these rows out until their outcome is known."
        )
    wrong = int((~column.is_in([0.0, 1.0])).sum())
    if wrong:
        raise InputError(
            f"{where}: {pluralize(wrong, 'row')} of {rows.height:,} where {label!r} is not 0, 1, true "
            "or false. Make it 1 for a purchase, 0 for none."
        )
    positive = int(column.sum())
    if positive in (0, rows.height):
        raise InputError(
            f"{where}: {label!r} is {int(positive > 0)} in all {pluralize(rows.height, 'row')}; "
            "a model needs both 0 and 1. Check the job that makes the label."
        )


def _fingerprint(typed: pl.DataFrame, label: np.ndarray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(label).tobytes())
    for column in typed.iter_columns():
        digest.update(f"\0{column.name}\0".encode())
        if column.dtype == pl.Float32:
            # Adding zero makes -0 and 0 the same, as they are to every model.
            digest.update((column.fill_null(float("nan")).to_numpy() + np.float32(0)).tobytes())
            continue
        text = column.cast(pl.String)
        lengths = text.str.len_bytes().cast(pl.Int64).fill_null(-1)
        digest.update(lengths.to_numpy().tobytes())
        digest.update("".join(text.drop_nulls()).encode())
    return digest.hexdigest()
