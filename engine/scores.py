"""Predictions to the columns of the score file."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle import BANDS, Manifest
from engine.session import Predictions

ROW_NUMBER = "row"
REPEATED_TEXTS = ("propensity_band", "segment_name", "bundle_id")
"""Columns of few different texts: dictionary-encoded where the format has dictionaries."""


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """What became of one chunk.

    Attributes:
        rows_read: Rows of the chunk: those scored and those rejected.
        scores: The score file's columns.
        rejected: The raw rows set aside, with `source_file`, `source_row` and `reasons`.
        reasons: Rows caught by each rule.
        unseen: Values without a category code, counted per feature.
    """

    rows_read: int
    scores: pl.DataFrame
    rejected: pl.DataFrame
    reasons: dict[str, int]
    unseen: dict[str, int]


def score_columns(
    valid: pl.DataFrame, first_row: int, predictions: Predictions, manifest: Manifest
) -> pl.DataFrame:
    """One row of scores per scored user, in input order.

    Args:
        valid: The typed rows that were scored, with `chunk_row`.
        first_row: The number of the chunk's first row in the input, from 1.
        predictions: What the models say of them.
        manifest: The cut-points, the names of the segments and the id of the bundle.
    """
    schema = manifest.schema
    keys = [name for name in (schema.id, schema.snapshot) if name in valid.columns]
    frame = valid.select(keys)
    if schema.id is None:
        numbers = (valid["chunk_row"] + first_row).alias(ROW_NUMBER)
        frame = frame.insert_column(0, numbers) if keys else numbers.to_frame()
    probability = predictions.probability
    segments = {segment.id: segment.name for segment in manifest.segments}
    segment_id = pl.Series(predictions.segment).cast(pl.Int8)
    return frame.with_columns(
        purchase_probability=pl.Series(probability),
        will_purchase=pl.Series(probability >= np.float32(manifest.threshold)),
        propensity_decile=pl.Series(above(manifest.decile_cuts, probability) + 1).cast(pl.Int8),
        propensity_band=pl.Series(BANDS).gather(above(manifest.band_cuts, probability)),
        segment_id=segment_id,
        segment_name=segment_id.replace_strict(segments, return_dtype=pl.String),
        bundle_id=pl.lit(manifest.bundle_id),
    )


def above(cuts: tuple[float, ...], probability: np.ndarray) -> np.ndarray:
    """How many cut-points a probability reaches; one that equals a cut-point reaches it.

    Args:
        cuts: Rising cut-points, exact in float32.
        probability: float32 [rows].

    Returns:
        int64 [rows].
    """
    return np.searchsorted(np.asarray(cuts, np.float32), probability, side="right")
