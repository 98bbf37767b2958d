"""What a score file holds, for those who write it and those who read it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle.manifest import DRIVERS, MAX_SEGMENT_ID
from engine.bundle.schema import Feature
from engine.errors import InputError, pluralize, quoted

PROBABILITY = "purchase_probability"
ROW_NUMBER = "row"
"""The first column in place of an id, where the schema names none."""

DRIVER_NAMES = tuple(f"driver_{n}" for n in range(1, DRIVERS + 1))
REASON_NAMES = tuple(f"reason_{n}" for n in range(1, DRIVERS + 1))

_FEATURES = {
    feature.name: feature
    for feature in (
        Feature(PROBABILITY, "numeric", min=0, max=1, missing="never"),
        Feature("will_purchase", "numeric", min=0, max=1, missing="never"),
        Feature("propensity_decile", "numeric", min=1, max=10, missing="never"),
        Feature("propensity_band", "categorical", missing="never"),
        Feature("segment_id", "numeric", min=0, max=MAX_SEGMENT_ID),
        Feature("segment_name", "categorical"),
        Feature("action", "categorical"),
        Feature("in_control_group", "numeric", min=0, max=1, missing="never"),
        Feature("bundle_id", "categorical", missing="never"),
    )
}


def score_features(*names: str) -> tuple[Feature, ...]:
    """Columns of a score file as features, by which rows are checked; all that are read by default."""
    return tuple(_FEATURES[name] for name in names or _FEATURES)


@dataclass(frozen=True, slots=True)
class ScoreKeys:
    """The columns of a score file that say whose a row is: those before the probability.

    Attributes:
        first: The id, or the number of the row.
        snapshot: The date, if the scored input had one.
    """

    first: str
    snapshot: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return (self.first,) if self.snapshot is None else (self.first, self.snapshot)

    @property
    def id(self) -> str | None:
        """The id column; None if rows are only numbered."""
        return None if self.first == ROW_NUMBER else self.first


def score_keys(columns: Sequence[str], where: str) -> ScoreKeys:
    """The keys of a score file, by the order in which the engine writes its columns.

    Args:
        columns: Their names, in order.
        where: The file, for messages.

    Raises:
        InputError: It is not a score file.
    """
    if PROBABILITY not in columns:
        raise InputError(
            f"{where}: not a score file: 1 missing column: {quoted([PROBABILITY])}. Give a file that "
            "'engine score' wrote."
        )
    keys = list(columns[: list(columns).index(PROBABILITY)])
    if not 1 <= len(keys) <= 2:
        raise InputError(
            f"{where}: {pluralize(len(keys), 'column')} before {PROBABILITY!r}, expected the id and perhaps "
            "a snapshot date, as 'engine score' writes them. Keep the order of the score file."
        )
    return ScoreKeys(keys[0], keys[1] if len(keys) == 2 else None)


def coded_texts(texts: Sequence[str], codes: np.ndarray) -> pl.Series:
    """A column of texts that repeat, as Enum, without a look at a text for any row.

    Args:
        texts: The text of each code; several codes may have the same.
        codes: int64 [rows].
    """
    return pl.Series(texts, dtype=pl.Enum(list(dict.fromkeys(texts)))).gather(codes)
