"""Gates on the probabilities: no figure may be worse than the champion's by more than is allowed.

Both bundles are measured on the same draws of users (the paired bootstrap, by user), so that their
common noise cancels. A figure passes if the 95 % interval of the difference lies within what may be
lost, and is refused if it lies beyond. If it does both, the users are too few to tell: undecided. Then
log-loss decides, the figure that such users tell most of: it must not be worse beyond chance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.pages.format import listed, signed
from training.metrics.intervals import basic_interval, bootstrap
from training.metrics.metrics import entropy, headline, rank
from training.promote.gain import gain_gate
from training.promote.gate import FIT_AGAIN, PASSED, REFUSED, UNDECIDED, Gate, verdict_of
from training.promote.holdout import Contender, Contest

AUC_LOSS = 0.005
"""Less than what trees of depth 3 gain over stumps, 0.007 (docs/modelling.md)."""

LOG_LOSS_SHARE = 0.01
"""Of the log-loss of predicting the purchase rate for everyone: 0.005 at 18 % buyers, again less
than what depth gains."""

CALIBRATION_SHARE = 0.05
"""Of the rate of the rarer outcome: half the error that an excellent model may have
(`training.evaluate.quality`)."""

DECISIVE = "log_loss"

F1_LOSS = 0.01
"""Fitting the threshold to labels alone costs up to 0.006 (docs/modelling.md)."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much worse than the champion one figure may be.

    Attributes:
        figure: Its name in `metrics.headline`.
        title: For people.
        better: 1 if more is better, -1 if less is.
        loss: What may be lost.
    """

    figure: str
    title: str
    better: int
    loss: float


def allowances(base_rate: float) -> tuple[Allowance, ...]:
    """What may be lost, at this purchase rate."""
    rarer = min(base_rate, 1 - base_rate)
    return (
        Allowance("roc_auc", "ROC-AUC", 1, AUC_LOSS),
        Allowance("log_loss", "log-loss", -1, LOG_LOSS_SHARE * entropy(base_rate)),
        Allowance("calibration_error", "calibration error", -1, CALIBRATION_SHARE * rarer),
        Allowance("f1", "F1", 1, F1_LOSS),
    )


def quality_gate(contest: Contest) -> Gate:
    """The candidate alone: its quality on the holdout must allow its use."""
    quality = contest.evaluation.quality
    return Gate(
        name="quality",
        verdict=verdict_of(passed=quality["may_be_used"]),
        measured={"band": quality["band"], "roc_auc": contest.evaluation.metrics["roc_auc"]},
        bound={"may_be_used": True},
        words=quality["sentence"].rstrip("."),
        next_step=FIT_AGAIN,
    )


def score_gates(contest: Contest, champion: Contender, accepted_gain: str) -> Iterator[Gate]:
    """ROC-AUC, log-loss, calibration error and F1 against the champion, and the gain of the first."""
    here, there, drawn = paired_figures(contest, champion)
    low, high = basic_interval(here - there, drawn)
    yield gain_gate(float(here[0] - there[0]), (float(low[0]), float(high[0])), accepted_gain)
    allowed = allowances(float(contest.dataset.label.mean()))
    found = [
        Comparison(a, *map(float, figures))
        for a, *figures in zip(allowed, here, there, low, high, strict=True)
    ]
    undecided = [each.allowed for each in found if each.verdict == UNDECIDED]
    for each in found:
        yield _score_gate(each, undecided if each.allowed.figure == DECISIVE else [])


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of the candidate beside that of the champion.

    Attributes:
        allowed: Which figure, and how much worse it may be.
        candidate: Of the candidate.
        champion: Of the champion.
        low: The low end of the 95 % interval of the difference.
        high: The high end.
    """

    allowed: Allowance
    candidate: float
    champion: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """The worse and the better end of the interval; below 0 the candidate is worse."""
        worse, better = sorted(self.allowed.better * end for end in (self.low, self.high))
        return worse, better

    @property
    def clearly_worse(self) -> bool:
        """Whether the whole interval is on the worse side."""
        return round(self.ends[1], 4) < 0

    @property
    def verdict(self) -> str:
        """On which side of the bound the interval lies; undecided if on both."""
        worse, better = self.ends
        if worse >= -self.allowed.loss:
            return PASSED
        return REFUSED if better < -self.allowed.loss else UNDECIDED


def _score_gate(found: Comparison, undecided: Sequence[Allowance]) -> Gate:
    """The gate on one figure; where there are `undecided` ones, it decides in their place."""
    allowed, verdict = found.allowed, found.verdict
    difference = found.candidate - found.champion
    words = (
        f"{allowed.title} {found.candidate:.4f}, champion {found.champion:.4f}: difference "
        f"{signed(difference, 4)} (95 % from {signed(found.low, 4)} to {signed(found.high, 4)})"
        f"{', clearly worse' if found.clearly_worse else ''}; it may be worse by {allowed.loss:.4f}"
    )
    if undecided and found.clearly_worse:
        verdict = REFUSED
        others = [other.title for other in undecided if other.figure != DECISIVE]
        words += ", but not clearly" + (f" while {listed(others)} cannot be told" if others else "")
    elif verdict == UNDECIDED:
        words += ", which these users are too few to tell"
    return Gate(
        name=allowed.figure,
        verdict=verdict,
        measured={
            "candidate": found.candidate,
            "champion": found.champion,
            "difference": difference,
            "interval": [found.low, found.high],
        },
        bound={"may_be_worse_by": allowed.loss},
        words=words,
        next_step=FIT_AGAIN,
    )


def paired_figures(
    contest: Contest, champion: Contender
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The figures of `allowances`, in their order.

    Args:
        contest: The users and the candidate.
        champion: The current bundle.

    Returns:
        Of the candidate and of the champion, float64 [figures], and the difference of both
        on each resample with both labels, float64 [resamples, figures].
    """
    sides = (contest.candidate, champion)
    names = [allowed.figure for allowed in allowances(0.5)]
    ranked = [rank(side.scored.probability, contest.dataset.label) for side in sides]

    def figures(weight: np.ndarray) -> np.ndarray:
        found: list[dict[str, Any]] = [
            headline(order, weight[order.order], side.manifest.threshold)
            for order, side in zip(ranked, sides, strict=True)
        ]
        return np.array([[side[name] for name in names] for side in found])

    label, users = contest.dataset.label, contest.dataset.users
    both = figures(np.ones(len(label)))
    drawn = bootstrap(lambda weight: np.subtract(*figures(weight)), label, users)
    return both[0], both[1], drawn
