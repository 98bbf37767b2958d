"""Chunks as read to chunks that the models can score.

Takes raw rows; gives the `features` tensor of the rows that can be scored, and the rows that cannot.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.schema import FeatureSchema
from engine.rows.chunk import SOURCE_COLUMNS, Chunk
from engine.rows.rules import split_rows
from engine.rows.typed import to_features, unseen_counts


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """A chunk ready to be scored.

    Attributes:
        rows_read: All rows of the chunk.
        valid: Typed rows that can be scored, with `chunk_row` (from 0).
        features: float32 [valid rows, features].
        rejected: Raw rows that cannot, with `source_file`, `source_row` and `reasons`.
        reasons: The number of rows that break each rule.
        unseen: The number of values without a category code, by feature.
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


def prepare_chunk(chunk: Chunk, manifest: Manifest) -> PreparedChunk:
    """Separate the rows that can be scored from the others, and make their tensor.

    Args:
        chunk: Rows as read, with duplicates marked.
        manifest: The table that the bundle scores, and its category codes.
    """
    schema = manifest.schema
    split = split_rows(chunk.frame, schema, chunk.faults)
    features = to_features(split.valid, schema.model_features, manifest.categories)
    return PreparedChunk(
        rows_read=chunk.frame.height,
        valid=split.valid,
        features=features,
        rejected=_with_source(split.rejected, chunk),
        reasons=split.reasons,
        unseen=unseen_counts(split.valid, features, schema.model_features),
    )


def _with_source(rejected: pl.DataFrame, chunk: Chunk) -> pl.DataFrame:
    return rejected.select(
        pl.exclude(*SOURCE_COLUMNS),
        source_file=pl.lit(chunk.file),
        source_row=pl.col("chunk_row") + (chunk.rows_before + 1),
        reasons="reasons",
    )
