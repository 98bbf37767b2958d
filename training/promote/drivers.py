"""Gates on drivers: no top driver appears or vanishes, and no feature leaks the label."""

from collections.abc import Iterator

import numpy as np

from training.metrics.intervals import NORMAL_QUANTILE, mean_and_error
from training.metrics.metrics import log_losses
from training.promote.gate import PASSED, REFUSED, UNDECIDED, Gate, verdict_of
from training.promote.holdout import Contender, Contest

TOP_SHARE = 0.10
"""A driver with this share of all mean absolute impacts is among the top: with 38 features the mean
is 0.026, and the largest of the committed bundle has 0.11."""

FORGOTTEN_SHARE = 0.02
"""A top driver below this share in the other bundle has appeared or vanished: a fifth of what makes
it one. Related features take such shares from each other only if one of them breaks."""

AUC_RISE = 0.02
"""A feature that does nearly all the work, and ranks users this much better than in the champion's
fit, has changed its meaning. Three standard errors of an AUC of 10,000 users."""


def driver_gates(contest: Contest, champion: Contender) -> Iterator[Gate]:
    """Drivers that appear or vanish among the top, and features that may know the outcome.

    Related features take shares from each other in fits to few users, and the scores stay as good. So
    drivers that have changed refuse a candidate only if its log-loss differs beyond chance.
    """
    here, there = impact_shares(contest.candidate), impact_shares(champion)
    names = sorted({*here, *there})
    appeared = [n for n in names if _is_top(here, n) and there.get(n, 0.0) < FORGOTTEN_SHARE]
    vanished = [n for n in names if _is_top(there, n) and here.get(n, 0.0) < FORGOTTEN_SHARE]
    problems = [
        f"{name!r} {what} among the drivers: {there.get(name, 0.0):.1%} of all impact in the champion, "
        f"{here.get(name, 0.0):.1%} in the candidate"
        for what, found in (("appears", appeared), ("vanishes", vanished))
        for name in found
    ]
    verdict, undecided = verdict_of(passed=not problems), ""
    if problems and not _scores_differ(contest, champion):
        verdict, undecided = UNDECIDED, "; but the log-loss does not differ beyond chance"
    yield Gate(
        name="drivers",
        verdict=verdict,
        measured={
            "appeared": {name: here[name] for name in appeared},
            "vanished": {name: there[name] for name in vanished},
        },
        bound={"top": TOP_SHARE, "in_the_other_at_least": FORGOTTEN_SHARE},
        words="; ".join(problems) + undecided
        or f"no driver with {TOP_SHARE:.0%} of all impact has less than {FORGOTTEN_SHARE:.0%} in "
        "the other bundle",
        next_step="Compare these columns with those of the champion's fit, correct them, and fit again.",
    )
    yield _leakage_gate(contest.candidate, champion)


def _scores_differ(contest: Contest, champion: Contender) -> bool:
    """Whether the log-loss of both bundles differs beyond chance, for better or worse."""
    label = contest.dataset.label
    sides = (contest.candidate, champion)
    more = np.subtract(*(log_losses(side.scored.probability, label) for side in sides))
    mean, error = mean_and_error(more, contest.dataset.users)
    return abs(mean) > NORMAL_QUANTILE * error


def _leakage_gate(candidate: Contender, champion: Contender) -> Gate:
    """Suspicious features of `leakage.single_features` that gained since the champion's fit.

    Both were measured on the test parts of the fits, which are small if the tables are.
    """
    before, now = (
        {f["feature"]: f for f in side.fit.leakage["single_features"] if f["roc_auc"] is not None}
        for side in (champion, candidate)
    )
    earlier = {name: before[name]["roc_auc"] if name in before else 0.5 for name in now}
    new = {
        name: found["roc_auc"]
        for name, found in now.items()
        if found["suspicious"] and found["roc_auc"] > earlier[name] + AUC_RISE
    }
    chance = float(np.hypot(_auc_half_width(candidate), _auc_half_width(champion)))
    told = any(auc > earlier[name] + max(AUC_RISE, chance) for name, auc in new.items())
    return Gate(
        name="leakage",
        verdict=PASSED if not new else REFUSED if told else UNDECIDED,
        measured={"suspicious": new, "by_chance": chance},
        bound={"may_rise_by": AUC_RISE},
        words="; ".join(
            f"{name!r} alone reaches a ROC-AUC of {auc:.3f}, in the fit of the champion "
            f"{earlier[name]:.3f}: it may know the outcome"
            for name, auc in sorted(new.items())
        )
        + (f"; but by chance it may rise by {chance:.3f}" if new and not told else "")
        or f"no feature that does nearly all the work alone has gained {AUC_RISE} of ROC-AUC",
        next_step="Leave out what is known only after the snapshot, and fit again.",
    )


def _auc_half_width(side: Contender) -> float:
    """Half of the 95 % interval of the ROC-AUC on the test part of a fit."""
    low, high = side.fitted.metrics["intervals"]["roc_auc"] or (0.0, 1.0)
    return float(high - low) / 2


def impact_shares(side: Contender) -> dict[str, float]:
    """The share of each feature in all mean absolute impacts; 0 if there is no impact."""
    size = np.abs(side.scored.impacts.astype(np.float64)).mean(axis=0)
    shares = size / size.sum() if size.sum() else size
    return dict(zip(side.names, shares.tolist(), strict=True))


def _is_top(shares: dict[str, float], name: str) -> bool:
    return shares.get(name, 0.0) >= TOP_SHARE
