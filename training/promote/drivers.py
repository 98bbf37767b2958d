"""Gates on drivers: no top driver appears or vanishes, and no feature leaks the label."""

from collections.abc import Iterator

import numpy as np

from training.promote.gate import Gate, verdict_of
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
    """Drivers that appear or vanish among the top, and features that may know the outcome."""
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
    yield Gate(
        name="drivers",
        verdict=verdict_of(passed=not problems),
        measured={
            "appeared": {name: here[name] for name in appeared},
            "vanished": {name: there[name] for name in vanished},
        },
        bound={"top": TOP_SHARE, "in_the_other_at_least": FORGOTTEN_SHARE},
        words="; ".join(problems)
        or f"no driver with {TOP_SHARE:.0%} of all impact has less than {FORGOTTEN_SHARE:.0%} in "
        "the other bundle",
        next_step="Compare these columns with those of the champion's fit, correct them, and fit again.",
    )
    yield _leakage_gate(contest.candidate, champion)


def _leakage_gate(candidate: Contender, champion: Contender) -> Gate:
    """Suspicious features of `leakage.single_features` that gained since the champion's fit."""
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
    return Gate(
        name="leakage",
        verdict=verdict_of(passed=not new),
        measured={"suspicious": new},
        bound={"may_rise_by": AUC_RISE},
        words="; ".join(
            f"{name!r} alone reaches a ROC-AUC of {auc:.3f}, in the fit of the champion "
            f"{earlier[name]:.3f}: it may know the outcome"
            for name, auc in sorted(new.items())
        )
        or f"no feature that does nearly all the work alone has gained {AUC_RISE} of ROC-AUC",
        next_step="Leave out what is known only after the snapshot, and fit again.",
    )


def impact_shares(side: Contender) -> dict[str, float]:
    """The share of each feature in all mean absolute impacts; 0 if there is no impact."""
    size = np.abs(side.scored.impacts.astype(np.float64)).mean(axis=0)
    shares = size / size.sum() if size.sum() else size
    return dict(zip(side.names, shares.tolist(), strict=True))


def _is_top(shares: dict[str, float], name: str) -> bool:
    return shares.get(name, 0.0) >= TOP_SHARE
