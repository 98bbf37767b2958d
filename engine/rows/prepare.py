"""What of an input can be scored: its columns are checked, its rows made ready or set aside.

Takes tables and their chunks, gives typed rows and the `features` tensor of those that can be scored.
The models are left to `session`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from polars.selectors import by_name

from engine.bundle.manifest import Manifest
from engine.bundle.schema import FeatureSchema
from engine.rows.chunk import SOURCE_COLUMNS, Chunk
from engine.rows.duplicates import SeenKeys, repeated_within, row_keys
from engine.rows.rules import (
    FindRepeats,
    RowSplit,
    row_rules,
    split_rows,
)
from engine.rows.typed import to_features, to_typed, unseen_counts


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """A chunk before it is scored.

    Attributes:
        rows_read: Rows of the chunk: those that can be scored and those rejected.
        valid: Typed rows that can be scored, with `chunk_row` (from 0).
        features: float32 [valid rows, features].
        rejected: The raw rows set aside, with `source_file`, `source_row` and `reasons`.
        reasons: Rows caught by each rule.
        unseen: Values without a category code, counted per feature.
    """

    rows_read: int
    valid: pl.DataFrame
    features: np.ndarray
    rejected: pl.DataFrame
    reasons: dict[str, int]
    unseen: dict[str, int]


def needed_columns(schema: FeatureSchema) -> tuple[str, ...]:
    """The input columns that scoring reads."""
    keys = (name for name in (schema.id, schema.snapshot) if name is not None)
    return (*keys, *(feature.name for feature in schema.model_features))


def prepare_chunk(chunk: Chunk, manifest: Manifest, seen: SeenKeys | None = None) -> PreparedChunk:
    """Split the rows of a chunk and make tensors of those that can be scored.

    Args:
        chunk: Rows as read.
        manifest: The table that the bundle scores, and its category codes.
        seen: The keys of the chunks before; without it the chunk is all there is.

    Raises:
        EngineError: The keys cannot be kept on disk.
    """
    schema = manifest.schema
    if seen is None:
        split = _split(chunk, schema, repeated_within)
    else:
        with seen.turn(chunk.input_rows_before, chunk.frame.height) as repeated:
            split = _split(chunk, schema, repeated)
    features = to_features(split.valid, schema.model_features, manifest.categories)
    return PreparedChunk(
        rows_read=chunk.frame.height,
        valid=split.valid,
        features=features,
        rejected=_with_source(split.rejected, chunk),
        reasons=split.reasons,
        unseen=unseen_counts(split.valid, features, schema.model_features),
    )


def _split(
    chunk: Chunk, schema: FeatureSchema, repeated: Callable[[pl.DataFrame], pl.Series]
) -> RowSplit:
    typed = to_typed(chunk.frame, schema)
    find_repeats = None
    if schema.id is not None:
        find_repeats = FindRepeats(
            f"{schema.id}|duplicate", lambda fit: repeated(row_keys(fit, schema))
        )
    return split_rows(chunk.frame, typed, row_rules(schema, typed.schema), find_repeats)


def _with_source(rejected: pl.DataFrame, chunk: Chunk) -> pl.DataFrame:
    flat = chunk.flat or chunk.frame.schema
    # NOTE: rows set aside of all inputs go to one file, whatever columns each input has.
    present = set(rejected.columns)
    missing = [pl.lit(None, t).alias(n) for n, t in flat.items() if n not in present]
    return rejected.with_columns(missing).select(
        *(by_name(n).cast(t) for n, t in flat.items() if n not in SOURCE_COLUMNS),
        source_file=pl.lit(chunk.file),
        source_row=pl.col("chunk_row") + (chunk.rows_before + 1),
        reasons="reasons",
    )
