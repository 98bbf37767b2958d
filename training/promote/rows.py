"""The gate on rows: a candidate may not choose the users that it is measured on.

A schema sets aside what breaks its rules, in the holdout as in every night. Figures are measured on
the rows that both bundles score; what either leaves out is counted here.
"""

from engine.errors import rule_counts
from engine.options import ScoreOptions
from training.data.dataset import LeftOut
from training.promote.gate import Gate, verdict_of

MAX_LEFT_OUT = ScoreOptions().max_reject_share
"""A night that rejects a larger share publishes nothing."""

MORE_LEFT_OUT = 0.005
"""More than the champion: half of what a night may lose, so that a usual fault of the data still has
room."""


def rows_gate(candidate: LeftOut, champion: LeftOut | None = None) -> Gate:
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
        verdict=verdict_of(passed=mine <= bound),
        measured={
            "rows": candidate.rows,
            "candidate": mine,
            "champion": None if champion is None else champion.share,
            "reasons": dict(candidate.reasons),
        },
        bound={"at_most": bound},
        words=f"the candidate leaves out {mine:.2%} of {candidate.rows:,} rows{caught}{theirs}; "
        f"at most {bound:.2%}",
        next_step="Correct the rules of its schema, and fit again.",
    )
