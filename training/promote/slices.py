"""The gate on slices: no group of users gets significantly worse scores."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import ndtri  # type: ignore[import-untyped]

from training.evaluate.slices import slicings
from training.metrics.intervals import mean_and_error
from training.metrics.metrics import entropy, log_losses
from training.promote.gate import FIT_AGAIN, Gate, verdict_of
from training.promote.holdout import Contender, Contest

MIN_SLICE_USERS = 500
"""With fewer, the log-loss is known to 10 % at best."""

SLICE_LOSS_SHARE = 0.02
"""Of the log-loss of predicting the purchase rate for everyone: twice what all users may lose."""

FALSE_ALARMS = 0.05
"""The chance that an equally good candidate is refused, over all slices."""


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """How much more log-loss the users of a slice have with the candidate.

    Attributes:
        slice: What users are divided by.
        value: The slice's value of it.
        difference: The mean over their rows; above 0 the candidate is worse.
        standard_error: Of that, by user.
    """

    slice: str
    value: str
    difference: float
    standard_error: float


def slice_gate(contest: Contest, champion: Contender) -> Gate:
    """Every slice of at least `MIN_SLICE_USERS` users against the champion."""
    found = list(slice_differences(contest, champion))
    # Of many slices some look worse by chance: Bonferroni's correction.
    reach = float(ndtri(1 - FALSE_ALARMS / max(len(found), 1)))
    allowed = SLICE_LOSS_SHARE * entropy(float(contest.dataset.label.mean()))
    worse = [s for s in found if s.difference - reach * s.standard_error > allowed]
    worse.sort(key=lambda s: -s.difference)
    named = "; ".join(
        f"{s.slice} {s.value} (log-loss +{s.difference:.4f} ± {reach * s.standard_error:.4f})"
        for s in worse
    )
    return Gate(
        name="slices",
        verdict=verdict_of(passed=not worse),
        measured={"slices": len(found), "worse": [asdict(s) for s in worse]},
        bound={"may_be_worse_by": allowed, "standard_errors": reach},
        words=f"{len(worse)} of {len(found)} slices worse beyond chance by more than {allowed:.4f}"
        + (f": {named}" if worse else ""),
        next_step=FIT_AGAIN,
    )


def slice_differences(contest: Contest, champion: Contender) -> Iterator[SliceDifference]:
    """The paired difference in log-loss of every large enough slice."""
    dataset = contest.dataset
    label = dataset.label
    sides = (contest.candidate, champion)
    more = np.subtract(*(log_losses(side.scored.probability, label) for side in sides))
    for slicing in slicings(dataset.every_feature, dataset.schema, dataset.users):
        for part, value in enumerate(slicing.values):
            rows = slicing.part == part
            users = dataset.users[rows]
            if len(np.unique(users)) >= MIN_SLICE_USERS:
                mean, error = mean_and_error(more[rows], users)
                yield SliceDifference(slicing.name, value, mean, error)
