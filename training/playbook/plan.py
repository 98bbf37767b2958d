"""Whether a test can work in each cell of a segment: in one campaign, in several, or not at all.

A cell has the same users night after night, so nights do not add users to a test. What adds purchases
is a further campaign: its window begins when that of the last one has ended. Neighbouring bands in which
no test can work alone are tested together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from engine.bundle.manifest import BANDS
from engine.bundle.playbook import NO_CHANNEL
from training.playbook.power import detectable_lift, sample_size

MAX_CAMPAIGNS = 8
"""Two months of weekly campaigns: later the season, the prices and the model are others."""

NO_TEST = {"tested_with": None, "campaigns": None}


@dataclass(frozen=True, slots=True)
class Measured:
    """Neighbouring bands of a segment that were measured together.

    Attributes:
        bands: In order.
        users: In the population.
        rate: The share of them who buy.
    """

    bands: tuple[str, ...]
    users: int
    rate: float


@dataclass(frozen=True, slots=True)
class _Design:
    """What a test compares; only bands with the same design can be tested together."""

    lift: float
    control_share: float
    window_days: int


def test_plans(
    measured: Sequence[Measured], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """How to test each band of one segment; plain JSON values by band.

    Args:
        measured: The bands in order; a band that was not measured is left out.
        settings: What the rules decide, by band.

    Returns:
        `test`, in words; `tested_with`, the bands of the same test, and `campaigns`, the fewest that it
        needs, both None where no test can work.
    """
    found = {band: _unmeasured(settings[band]) for band in BANDS}
    designs = [(_design(run, settings), run) for run in measured]
    for design, runs in groupby(designs, key=lambda pair: pair[0]):
        alike = [run for _, run in runs]
        if design is None:
            found |= _unlike(alike, settings)
        else:
            for pool in _pools(design, alike):
                plan = _plan(design, pool)
                found |= dict.fromkeys(pool.bands, plan)
    return found


def _unmeasured(settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings["channel"] == NO_CHANNEL:
        return {"test": "Nobody is contacted here, so there is nothing to test.", **NO_TEST}
    return {"test": "Too few users were measured here to plan a test.", **NO_TEST}


def _unlike(
    runs: Sequence[Measured], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What is said of contacted bands that were measured with bands of another design."""
    return {
        band: {
            "test": f"The bands {_names(run.bands)} were measured together, but the playbook treats them "
            "differently, so no test can be planned.",
            **NO_TEST,
        }
        for run in runs
        for band in run.bands
        if settings[band]["channel"] != NO_CHANNEL
    }


def _design(run: Measured, settings: Mapping[str, Mapping[str, Any]]) -> _Design | None:
    """None if some of the users are not contacted, or their tests differ."""
    designs = {
        _Design(s["lift_to_see"], s["control_share"], s["window_days"])
        if s["channel"] != NO_CHANNEL
        else None
        for s in (settings[band] for band in run.bands)
    }
    return designs.pop() if len(designs) == 1 else None


def _pools(design: _Design, runs: Sequence[Measured]) -> list[Measured]:
    """Bands joined with the next until a test can work; the last ones with those before, if it still can."""
    pools: list[Measured] = []
    rest: list[Measured] = []
    for run in runs:
        rest.append(run)
        if _campaigns(design, pool := _joined(rest)) is not None:
            pools.append(pool)
            rest = []
    if rest:
        together = _joined([*pools[-1:], *rest])
        if pools and _campaigns(design, together) is None:
            pools.append(_joined(rest))
        else:
            pools[-1:] = [together]
    return pools


def _joined(runs: Sequence[Measured]) -> Measured:
    users = sum(run.users for run in runs)
    buyers = sum(run.users * run.rate for run in runs)
    bands = tuple(band for run in runs for band in run.bands)
    return Measured(bands, users, buyers / users if users else 0.0)


def _campaigns(design: _Design, pool: Measured) -> int | None:
    """The fewest campaigns that a test needs; None if more than `MAX_CAMPAIGNS`."""
    needed = sample_size(pool.rate, design.lift, design.control_share)
    if needed is None or needed > MAX_CAMPAIGNS * pool.users:
        return None
    return -(-needed // pool.users)


def _plan(design: _Design, pool: Measured) -> dict[str, Any]:
    campaigns = _campaigns(design, pool)
    if campaigns is None:
        return {"test": _why_not(design, pool), **NO_TEST}
    return {
        "test": _how(design, pool, campaigns),
        "tested_with": list(pool.bands),
        "campaigns": campaigns,
    }


def _how(design: _Design, pool: Measured, campaigns: int) -> str:
    needed = sample_size(pool.rate, design.lift, design.control_share) or 0
    words = (
        f"A test of {_lift(design.lift)} needs {_about(needed)} users, control group included; "
        f"{_who(pool)} {_about(pool.users)}. "
    )
    if campaigns == 1:
        return f"{words}One campaign of {_days(design)} is enough."
    return (
        f"{words}Run at least {campaigns} campaigns of {_days(design)} and add up their purchases: most "
        "users are in all of them."
    )


def _why_not(design: _Design, pool: Measured) -> str:
    needed = sample_size(pool.rate, design.lift, design.control_share)
    if needed is None:
        return _impossible(design, pool)
    words = (
        f"No test of {_lift(design.lift)} can work here: it needs {_about(needed)} users, control group "
        f"included; {_who(pool)} {_about(pool.users)}."
    )
    lift = detectable_lift(pool.rate, MAX_CAMPAIGNS * pool.users, design.control_share)
    if lift is None:
        return words
    return (
        f"{words} Only a lift of {_lift(math.ceil(100 * lift) / 100)} or more shows in {MAX_CAMPAIGNS} "
        f"campaigns of {_days(design)}."
    )


def _impossible(design: _Design, pool: Measured) -> str:
    """Why no number of users is enough."""
    if design.control_share == 0:
        return "There is no control group here, so there is nothing to compare with."
    if pool.rate == 0:
        return "None of the users measured here bought, so no test can be planned."
    return (
        f"No test of {_lift(design.lift)} can work here: {100 * pool.rate:.0f} % buy anyway, which leaves "
        "no room for that lift."
    )


def _who(pool: Measured) -> str:
    if len(pool.bands) == 1:
        return "the cell has"
    if len(pool.bands) == len(BANDS):
        return "all bands together have"
    return f"the bands {_names(pool.bands)} together have"


def _names(bands: Sequence[str]) -> str:
    names = [band.replace("_", " ") for band in bands]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _lift(lift: float) -> str:
    return f"+{100 * lift:.3g} %"


def _days(design: _Design) -> str:
    return "1 day" if design.window_days == 1 else f"{design.window_days} days"


def _about(number: int) -> str:
    """A number of users with two digits that matter."""
    return f"{round(number, 2 - len(str(number))):,}"
