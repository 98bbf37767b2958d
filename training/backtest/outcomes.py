"""Past scores joined with their outcomes, by id and snapshot date."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.bundle.schema import FeatureSchema
from engine.errors import InputError, quoted, rule_counts
from training.backtest.tables import Tables


@dataclass(frozen=True, slots=True)
class Joined:
    """Scores with their outcomes, and the rows that could not be joined.

    Attributes:
        frame: One row for each score with an outcome: the columns of `SCORES`, `user` (a number
            from 0 for each user), `snapshot` where scores and outcomes have one, and `bought`, 0 or
            1.
        scored: Rows of the score files.
        without_outcome: Those without a known outcome.
        without_score: Outcomes without a score.
        left_out: Rows of the outcomes without a usable key, by rule.
    """

    frame: pl.DataFrame
    scored: int
    without_outcome: int
    without_score: int
    left_out: dict[str, int]


def join_outcomes(
    scores: Sequence[str], outcomes: Sequence[str], schema: FeatureSchema, tables: Tables
) -> Joined:
    """Join scores with outcomes.

    Args:
        scores: The score files, for messages.
        outcomes: The files of outcomes, for messages.
        schema: The names of the keys.
        tables: What was read.

    Raises:
        InputError: No score has an outcome.
    """
    scored, known, keys = tables.scored, tables.known, tables.keys
    joined = scored.join(known, on=keys, how="inner").filter(pl.col("bought").is_not_null())
    if not joined.height:
        caught = f"; left out: {rule_counts(tables.left_out)}" if tables.left_out else ""
        named = [str(schema.id), str(schema.snapshot)][: len(keys)]
        raise InputError(
            f"{', '.join(scores)}: no row of {scored.height:,} has an outcome in "
            f"{', '.join(outcomes)} ({known.height:,} rows{caught}), joined by {quoted(named)}. Give "
            "the outcomes of the users and dates that were scored."
        )
    return Joined(
        frame=joined.with_columns(user=pl.col("id").rank("dense").cast(pl.Int64) - 1).drop("id"),
        scored=scored.height,
        without_outcome=scored.height - joined.height,
        without_score=known.join(scored, on=keys, how="anti").height,
        left_out=tables.left_out,
    )
