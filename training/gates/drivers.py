"""Gates on what moves the scores: no driver comes from nowhere, none is lost, none knows the label."""

from collections.abc import Iterator

import numpy as np

from training.evaluate import rounded
from training.gates.gate import Gate
from training.gates.holdout import Contender, Contest

TOP_SHARE = 0.10
"""A driver with this share of all mean absolute impacts is among the top: with 38 features the mean
is 0.026, and the largest of the committed bundle has 0.11."""

FORGOTTEN_SHARE = 0.02
"""A top driver below this share in the other bundle has appeared or vanished: a fifth of what makes
it one. Related features take such shares from each other only where one of them breaks."""


def driver_gates(contest: Contest, champion: Contender) -> Iterator[Gate]:
    """Drivers that appear or vanish among the top, and features that may know the outcome."""
    here, there = impact_shares(contest.candidate), impact_shares(champion)
    names = sorted({*here, *there})
    appeared = [n for n in names if _is_top(here, n) and there.get(n, 0.0) < FORGOTTEN_SHARE]
    vanished = [n for n in names if _is_top(there, n) and here.get(n, 0.0) < FORGOTTEN_SHARE]
    problems = [
        f"{name!r} {what} among the drivers: {there.get(name, 0.0):.1%} of all impact in force, "
        f"{here.get(name, 0.0):.1%} in the candidate"
        for what, found in (("appears", appeared), ("vanishes", vanished))
        for name in found
    ]
    yield Gate(
        name="drivers",
        passed=not problems,
        measured=rounded(
            {
                "appeared": {name: here[name] for name in appeared},
                "vanished": {name: there[name] for name in vanished},
            }
        ),
        bound={"top": TOP_SHARE, "in_the_other_at_least": FORGOTTEN_SHARE},
        words="; ".join(problems)
        or f"no driver with {TOP_SHARE:.0%} of all impact has less than {FORGOTTEN_SHARE:.0%} in "
        "the other bundle",
    )
    new = sorted(_suspicious(contest.candidate) - _suspicious(champion))
    yield Gate(
        name="leakage",
        passed=not new,
        measured={"suspicious": new},
        bound={"suspicious": []},
        words="; ".join(
            f"{name!r} alone does nearly all the work, as it does not in force: it may know the "
            "outcome"
            for name in new
        )
        or "no feature does nearly all the work that does not do so in force",
    )


def impact_shares(side: Contender) -> dict[str, float]:
    """The share of each feature in all mean absolute impacts; 0 where there is no impact."""
    size = np.abs(side.scored.impacts.astype(np.float64)).mean(axis=0)
    shares = size / size.sum() if size.sum() else size
    return dict(zip(side.names, shares.tolist(), strict=True))


def _is_top(shares: dict[str, float], name: str) -> bool:
    return shares.get(name, 0.0) >= TOP_SHARE


def _suspicious(side: Contender) -> set[str]:
    """What `leakage.single_features` found when the bundle was fitted."""
    singles = side.manifest.metrics["leakage"]["single_features"]
    return {found["feature"] for found in singles if found["suspicious"]}
