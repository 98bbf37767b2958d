"""What `playbook.json` holds: one row for each segment and band.

What a row says of users, buyers and sample sizes is measured.
"""

import json
import math
from collections.abc import Mapping, Sequence, Set
from statistics import NormalDist
from typing import Any

from engine.bundle.evaluation import Evaluation, Json
from engine.bundle.manifest import BANDS, Segment
from engine.errors import BundleError
from training.playbook.rules import SETTINGS, PlaybookRules, Rule

POWER = 0.80
SIGNIFICANCE = 0.05

NO_CHANNEL = "none"
"""The channel of a cell whose users are not contacted."""

FIGURES = ("figures_of", "users", "expected_buyers", "sample_size", "detectable_lift")


def playbook_document(
    rules: PlaybookRules, segments: Sequence[Segment], evaluation: Evaluation, population: int
) -> dict[str, Any]:
    """What `playbook.json` holds: one row for each segment and band; plain JSON values.

    Args:
        rules: What to do.
        segments: With their names.
        evaluation: The measured cells of segment and band, and the profiles of the segments.
        population: The users scored each night; the shares of the cells are applied to it.

    Raises:
        BundleError: A rule names a segment that does not exist.
    """
    _check_segments(rules.rules, segments)
    metrics, profiles = evaluation.metrics, evaluation.fit.profiles
    measured = {
        (cell["segment_id"], band): cell for cell in metrics["cells"] for band in cell["bands"]
    }
    scale = population / metrics["rows"]
    applied, spenders = rules.rules, _spenders(segments, profiles)
    if not evaluation.segments["usable"]:
        applied = _without_segments(rules.rules)
    return {
        "population": population,
        "currency": rules.currency,
        "expected_buyers": (
            "users who are expected to buy within the horizon, contacted or not: an upper bound of "
            "what contacts can win, not what they win"
        ),
        "sample_size": (
            f"users of the cell, control group among them, for a power of {POWER:.0%} at a two-sided "
            f"significance of {SIGNIFICANCE:.0%}"
        ),
        "rows": [
            {"segment_id": segment.id, "segment_name": segment.name, "band": band}
            | (settings := _settings(applied, segment, profiles[segment.id], band, spenders))
            | _figures(measured.get((segment.id, band)), settings, scale)
            for segment in segments
            for band in BANDS
        ],
    }


def playbook_to_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of `playbook.json`."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sample_size(rate: float, relative_lift: float, control_share: float) -> int | None:
    """Users needed, control group among them, to see a lift of a purchase rate.

    The test of two proportions with unequal groups (Fleiss, Levin & Paik, Statistical Methods for
    Rates and Proportions, 2003, chapter 4, without continuity correction).

    Args:
        rate: Of the control group.
        relative_lift: Of the contacted, as a share of `rate`.
        control_share: The control group's share of the users.

    Returns:
        None if no number of users is enough: without a control group, at a rate of 0, or if
        the lifted rate would exceed 1.
    """
    lifted = rate * (1 + relative_lift)
    if not 0 < control_share < 1 or not rate < lifted <= 1:
        return None
    ratio = (1 - control_share) / control_share
    mean = (rate + ratio * lifted) / (1 + ratio)
    normal = NormalDist()
    noise = normal.inv_cdf(1 - SIGNIFICANCE / 2) * math.sqrt((ratio + 1) * mean * (1 - mean))
    signal = normal.inv_cdf(POWER) * math.sqrt(ratio * rate * (1 - rate) + lifted * (1 - lifted))
    control = (noise + signal) ** 2 / (ratio * (lifted - rate) ** 2)
    return math.ceil(control * (1 + ratio))


def detectable_lift(rate: float, users: int, control_share: float) -> float | None:
    """The smallest relative lift that so many users can show, to three decimals.

    None if they cannot even show a lift to a rate of 1.
    """

    def enough(lift: float) -> bool:
        needed = sample_size(rate, lift, control_share)
        return needed is not None and needed <= users

    if rate <= 0:
        return None
    low, high = 0.0, 1 / rate - 1
    if not enough(high):
        return None
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return round(high, 3)


def _settings(
    rules: Sequence[Rule], segment: Segment, profile: Json, band: str, spenders: Set[int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    over = [entry["feature"] for entry in profile["over"]]
    for rule in rules:
        if (
            rule.segment in (None, segment.id, segment.name)
            and rule.over in (None, *over)
            and rule.band in (None, band)
            and rule.spender in (None, segment.id in spenders)
        ):
            given = {name: getattr(rule, name) for name in SETTINGS}
            found |= {name: value for name, value in given.items() if value is not None}
    return {name: found[name] for name in SETTINGS}


def _without_segments(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules without those of the package that depend on the segment.

    A user's own rules stay, as they name what their writer wants.
    """
    return tuple(rule for rule in rules if rule.place or (rule.over, rule.spender) == (None, None))


def _figures(cell: Json | None, settings: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Users of the cell in the population, buyers to expect, and what a test can detect.

    Bands of few users were measured together; `figures_of` names them. All figures are None if the
    cell was not measured.
    """
    if cell is None or cell["purchase_rate"] is None:
        return dict.fromkeys(FIGURES)
    rate, share = cell["purchase_rate"], settings["control_share"]
    # If nobody is contacted, there is nothing to test.
    tested = settings["channel"] != NO_CHANNEL
    users = round(cell["rows"] * scale)
    return {
        "figures_of": cell["bands"],
        "users": users,
        "expected_buyers": round(users * cell["mean_probability"]),
        "sample_size": sample_size(rate, settings["lift_to_see"], share) if tested else None,
        "detectable_lift": detectable_lift(rate, users, share) if tested else None,
    }


def _spenders(segments: Sequence[Segment], profiles: Mapping[int, Json]) -> set[int]:
    """Segments that spend at least what the average user does; none if spend is unknown."""
    known = [(s, spend) for s in segments if (spend := profiles[s.id].get("spend")) is not None]
    total = sum(segment.share for segment, _ in known)
    if not total:
        return set()
    mean = sum(segment.share * spend for segment, spend in known) / total
    return {segment.id for segment, spend in known if spend >= mean}


def _check_segments(rules: Sequence[Rule], segments: Sequence[Segment]) -> None:
    known = {s.id for s in segments} | {s.name for s in segments} | {None}
    for rule in rules:
        if rule.segment not in known:
            raise BundleError(
                f"{rule.place}: no segment {rule.segment!r}; "
                f"there are {', '.join(f'{s.id} {s.name!r}' for s in segments)}. "
                "Name one of them, by id or by name."
            )
