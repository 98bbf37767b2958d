"""Predictions to the columns of the score file."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.playbook import Playbook
from engine.bundle.reference import digitize
from engine.bundle.score_file import DRIVER_NAMES, REASON_NAMES, ROW_NUMBER, coded_texts
from engine.model.reasons import reason_columns
from engine.model.session import Predictions
from engine.options import OutputOptions

REPEATED_TEXTS = (
    *("propensity_band", "segment_name", *DRIVER_NAMES, *REASON_NAMES),
    *("action", "bundle_id"),
)
"""Columns with few distinct texts, which are dictionary-encoded in formats with dictionaries.

Until they are written they are Enum, made from codes: hashing every text of every row again would cost
more than all other columns together. No file has an Enum; see `writer`.
"""


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """The result of one chunk.

    Attributes:
        rows_read: All rows of the chunk.
        features: float32 [rows scored, features].
        scores: The columns of the score file; repeated texts may be Enum, see `with_texts`.
        segments: The segment of each row, also where the scores do not name it, int64 [rows scored].
        rejected: Raw rows that cannot be scored, with `source_file`, `source_row` and `reasons`.
        reasons: The number of rows that break each rule.
        unseen: The number of values without a category code, by feature.
    """

    rows_read: int
    features: np.ndarray
    scores: pl.DataFrame
    segments: np.ndarray
    rejected: pl.DataFrame
    reasons: dict[str, int]
    unseen: dict[str, int]


def score_columns(
    valid: pl.DataFrame,
    features: np.ndarray,
    first_row: int,
    predictions: Predictions,
    manifest: Manifest,
    playbook: Playbook,
    options: OutputOptions,
) -> pl.DataFrame:
    """One row of scores per scored user, in input order; repeated texts may be Enum.

    Args:
        valid: The typed rows that were scored, with `chunk_row`.
        features: Their tensor, float32 [rows, features].
        first_row: The number of the chunk's first row in the input, from 1.
        predictions: The outputs of the models for these rows.
        manifest: The cut-points, the names of the segments and the bundle id.
        playbook: The actions and the control group.
        options: Which columns of reasons to add.
    """
    schema = manifest.schema
    keys = [name for name in (schema.id, schema.snapshot) if name in valid.columns]
    frame = valid.select(keys)
    if schema.id is None:
        numbers = (valid["chunk_row"] + first_row).alias(ROW_NUMBER)
        frame = frame.insert_column(0, numbers) if keys else numbers.to_frame()
    probability = predictions.probability
    segment_id, segment_name = _segment_columns(predictions, manifest)
    band = digitize(manifest.band_cuts, probability)
    cells = playbook.cells(predictions.segment, band)
    return frame.with_columns(
        purchase_probability=pl.Series(probability),
        will_purchase=pl.Series(probability >= np.float32(manifest.threshold)),
        propensity_decile=pl.Series(digitize(manifest.decile_cuts, probability) + 1).cast(pl.Int8),
        propensity_band=coded_texts(BANDS, band),
        segment_id=segment_id,
        segment_name=segment_name,
        **_driver_columns(predictions, manifest, options.drivers),
        **(
            reason_columns(valid, features, predictions, manifest, options.reasons)
            if options.reasons
            else {}
        ),
        action=playbook.action_column(cells),
        in_control_group=playbook.control_column(cells, frame[schema.id or ROW_NUMBER]),
        bundle_id=pl.lit(manifest.bundle_id, pl.Enum([manifest.bundle_id])),
        **(_impact_columns(predictions, manifest) if options.impacts else {}),
    )


def with_texts(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores as people and other programs get them: their repeated texts are String."""
    return scores.cast({n: pl.String for n in REPEATED_TEXTS if n in scores.columns})


def _segment_columns(predictions: Predictions, manifest: Manifest) -> tuple[pl.Series, pl.Series]:
    """The ids and the names of the segments; null if the segments may not be used."""
    by_id = sorted(manifest.segments, key=lambda segment: segment.id)
    position = np.searchsorted([segment.id for segment in by_id], predictions.segment)
    ids = pl.Series(predictions.segment).cast(pl.Int8)
    names = coded_texts([segment.name for segment in by_id], position)
    return (
        (ids, names) if manifest.segments_usable else (ids.clear(len(ids)), names.clear(len(ids)))
    )


def _driver_columns(
    predictions: Predictions, manifest: Manifest, count: int
) -> dict[str, pl.Series | pl.Expr]:
    """Driver names, then impacts; null if the model has fewer features."""
    features = [feature.name for feature in manifest.schema.model_features]
    found = predictions.driver_index.shape[1]
    names: dict[str, pl.Series | pl.Expr] = {}
    impacts: dict[str, pl.Series | pl.Expr] = {}
    for n, name in enumerate(DRIVER_NAMES[:count]):
        if n < found:
            names[name] = coded_texts(features, predictions.driver_index[:, n])
            impacts[f"{name}_impact"] = pl.Series(predictions.driver_impact[:, n])
        else:
            names[name] = pl.lit(None, pl.Enum(features))
            impacts[f"{name}_impact"] = pl.lit(None, pl.Float32)
    return names | impacts


def _impact_columns(predictions: Predictions, manifest: Manifest) -> dict[str, pl.Series | pl.Expr]:
    columns: dict[str, pl.Series | pl.Expr] = {
        "base_value": pl.lit(manifest.base_value, pl.Float32)
    }
    for feature, impacts in zip(manifest.schema.model_features, predictions.impacts.T, strict=True):
        columns[f"impact_{feature.name}"] = pl.Series(impacts)
    return columns
