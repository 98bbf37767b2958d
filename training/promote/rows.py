"""The gate on rows: a candidate may not choose the users that it is measured on.

A schema sets aside what breaks its rules, in the holdout as in every night. Figures are measured on
the rows that both bundles score; what either leaves out is counted here.
"""

from collections import Counter
from collections.abc import Sequence

import polars as pl

from engine.bundle.schema import FeatureSchema
from engine.errors import rule_counts
from engine.options import ScoreOptions
from engine.rows.chunk import Chunk
from engine.rows.rules import split_rows
from training.promote.gate import Gate

MAX_LEFT_OUT = ScoreOptions().max_reject_share
"""A night that rejects a larger share publishes nothing."""

MORE_LEFT_OUT = 0.005
"""More than the champion: half of what a night may lose, so that a usual fault of the data still has
room."""


class RowCount:
    """What a schema would set aside of the rows read so far.

    Attributes:
        rows: All rows.
        left_out: Those that break a rule.
        reasons: The rows that break each rule; a row may break several.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self.rows = self.left_out = 0
        self.reasons: Counter[str] = Counter()

    @property
    def share(self) -> float:
        """The share of rows that are set aside."""
        return self.left_out / max(self.rows, 1)

    def keep(self, chunk: Chunk) -> pl.Series:
        """Count a chunk; the numbers of its rows that break no rule."""
        split = split_rows(chunk.frame, self._schema, chunk.faults)
        self.rows += chunk.frame.height
        self.left_out += split.rejected.height
        self.reasons.update(split.reasons)
        return split.valid["chunk_row"]


def kept_by_all(counts: Sequence[RowCount], chunk: Chunk) -> pl.Series:
    """Count a chunk for every schema; whether each row breaks no rule of any, Boolean [rows]."""
    numbers = pl.int_range(chunk.frame.height, dtype=pl.Int64, eager=True)
    kept = pl.repeat(value=True, n=len(numbers), eager=True)
    for count in counts:
        kept &= numbers.is_in(count.keep(chunk).implode())
    return kept


def rows_gate(candidate: RowCount, champion: RowCount | None) -> Gate:
    """The share of the holdout that the candidate leaves out, alone and against the champion.

    Where the champion leaves out more than a night allows, it sets the bound.
    """
    mine, bound = candidate.share, MAX_LEFT_OUT
    if champion is not None:
        bound = max(min(bound, champion.share + MORE_LEFT_OUT), champion.share)
    caught = f" ({rule_counts(candidate.reasons)})" if candidate.reasons else ""
    theirs = "" if champion is None else f", the champion {champion.share:.2%}"
    return Gate(
        name="rows_left_out",
        passed=mine <= bound,
        measured={
            "rows": candidate.rows,
            "candidate": mine,
            "champion": None if champion is None else champion.share,
            "reasons": dict(candidate.reasons),
        },
        bound={"at_most": bound},
        words=f"the candidate leaves out {mine:.2%} of {candidate.rows:,} rows{caught}{theirs}; "
        f"at most {bound:.2%}",
    )
