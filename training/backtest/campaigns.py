"""What campaigns changed: the effect of each arm on purchases and value, as a whole and by cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from engine.activate.arms import CONTROL
from engine.bundle.manifest import BANDS
from engine.errors import InputError
from engine.pages.merging import Block, neighbours, table_blocks
from training.backtest.contacts import Contacts
from training.backtest.effects import (
    Differences,
    Moments,
    balance_weight,
    differences,
    enough_users,
    holm,
    pooled_variance,
)
from training.backtest.ratio import balance_test, lost_test, planned_test, ratio_document
from training.backtest.shrinkage import shrink
from training.backtest.units import Names, Units, names_of, units_of
from training.metrics.disclosure import MIN_USERS, disclosed
from training.playbook.power import POWER, SIGNIFICANCE

DETECTABLE_ERRORS = NormalDist().inv_cdf(1 - SIGNIFICANCE / 2) + NormalDist().inv_cdf(POWER)
"""The smallest effect that is detected with this power, in standard errors (Bloom 1995)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One arm against the control group in the groups that have enough users of both.

    Attributes:
        groups: Which groups these are, int64 [groups].
        effect: Their differences.
        variance: Of the differences if both sides vary alike, float64 [groups].
        left_out: How many groups have users of the arm or the control group, but too few.
    """

    groups: np.ndarray
    effect: Differences
    variance: np.ndarray
    left_out: int


def campaign_figures(contacts: Contacts, rows: pl.DataFrame) -> dict[str, Any]:
    """What each campaign changed; plain JSON values.

    Args:
        contacts: Everybody who was assigned and scored.
        rows: Their outcomes, from `contacts.outcome_rows`.

    Returns:
        `campaigns`, and as `campaigns_left_out` the names of those without an arm that has enough users.

    Raises:
        InputError: No campaign has enough users with an outcome in an arm and in the control group.
    """
    names = names_of(contacts.frame)
    found = [
        _campaign(contacts, name, rows.filter(campaign=name), names) for name in names.campaigns
    ]
    measured = [campaign for campaign in found if campaign["arms"]]
    if not measured:
        raise InputError(
            f"no campaign has {MIN_USERS} users with an outcome both in an arm and in the control "
            f"group, of {contacts.frame.height:,} users with a score. Give the outcomes of the dates of "
            "these scores; horizon_days in the schema says for how long they are observed."
        )
    return {
        "campaigns": measured,
        "campaigns_left_out": [each["campaign"] for each in found if not each["arms"]],
    }


def _campaign(contacts: Contacts, name: str, rows: pl.DataFrame, names: Names) -> dict[str, Any]:
    assigned, planned = contacts.frame.filter(campaign=name), contacts.planned.get(name, {})
    units = units_of(rows, names)
    users = np.bincount(units.arm, minlength=len(names.arms))
    shown = [n for n in range(1, len(names.arms)) if min(users[n], users[0]) >= MIN_USERS]
    told = users[[0, *shown]].sum()
    ratio = _ratio(assigned, units, planned)
    days = rows["snapshot"].unique().sort().to_list() if "snapshot" in rows.columns else []
    return {
        "campaign": name,
        "snapshots": [str(day) for day in days],
        # Without arms of few users, whose size would follow.
        "users": int(told),
        "without_outcome": disclosed(assigned.height - int(users.sum())),
        "arms_left_out": int((users[1:] > 0).sum()) - len(shown),
        "ratio": ratio,
        "arms": [names.arms[n] for n in shown],
        "outcomes": {
            outcome: _outcome(units.moments(outcome), shown, names, alarm=ratio["alarm"])
            for outcome in units.outcomes
            if shown
        },
    }


def _ratio(assigned: pl.DataFrame, units: Units, planned: Mapping[str, float]) -> dict[str, Any]:
    """Whether the arms have the sizes of a random assignment."""
    arms = list(units.names.arms)
    found = _sizes(assigned, arms)
    # The scores drew their own control group, with a share of its own.
    drawn = assigned.filter((pl.col("arm") != CONTROL) | (pl.col("in_control_group") != 1))
    used = found > 0
    measured = np.bincount(units.arm, minlength=len(arms))
    places = np.cumsum(used) - 1
    return ratio_document(
        [
            planned_test(_sizes(drawn, arms), np.array([planned.get(arm, 0.0) for arm in arms])),
            balance_test(places[units.arm], units.cell, int(used.sum())),
            lost_test(found[used], measured[used]),
        ]
    )


def _sizes(assigned: pl.DataFrame, arms: Sequence[str]) -> np.ndarray:
    """The users of each arm, int64 [arms]."""
    counts = dict(assigned["arm"].value_counts().rows())
    return np.array([counts.get(arm, 0) for arm in arms])


def _outcome(
    sums: Moments, shown: Sequence[int], names: Names, *, alarm: bool
) -> list[dict[str, Any]]:
    """The effects of all arms on one outcome."""
    whole = sums.summed((1, 2))
    users = sums.users[[0, *shown]].astype(np.int64)
    found = [
        {"arm": names.arms[n], **_whole(_compare(whole[n], whole[0]).effect, alarm=alarm)}
        for n in shown
    ]
    for level, blocks in _tables(users).items():
        groups = sums.of_blocks(blocks)
        compared = [_compare(groups[n], groups[0]) for n in shown]
        p_values = [one.effect.p_value for one in compared]
        adjusted = np.split(holm(np.concatenate(p_values)), np.cumsum([len(p) for p in p_values]))
        for document, one, p_value in zip(found, compared, adjusted[:-1], strict=True):
            kept = [blocks[n] for n in one.groups.tolist()]
            document[level] = _table(level, kept, names, one, p_value, alarm=alarm)
    return found


def _tables(users: np.ndarray) -> dict[str, list[Block]]:
    """The rows of each table of effects, by the users of [arms, segments, bands]."""
    segments, bands = (range(length) for length in users.shape[1:])
    return {
        "bands": [(segments, run) for run in neighbours(users.sum(axis=1))],
        "segments": [(run, bands) for run in neighbours(users.sum(axis=2))],
        "cells": table_blocks(users),
    }


def _table(
    level: str,
    blocks: Sequence[Block],
    names: Names,
    compared: Compared,
    adjusted_p: np.ndarray,
    *,
    alarm: bool,
) -> dict[str, Any]:
    """The effects of one arm by band, segment or cell; those of cells are drawn by band."""
    if not blocks:
        return {"left_out": compared.left_out, "rows": []}
    effect = compared.effect
    weight = balance_weight(effect.contacted, effect.control)
    kind = np.array([bands.start if level == "cells" else 0 for _, bands in blocks])
    shrunken = shrink(effect.difference, compared.variance, weight, kind)
    return {
        "left_out": compared.left_out,
        "spread": shrunken.spread,
        "rows": [
            _labels(level, block, names)
            | _effect(effect, k)
            | {
                "adjusted_p": float(adjusted_p[k]),
                "shown": bool(adjusted_p[k] <= SIGNIFICANCE and not alarm),
                "shrunken": float(shrunken.estimate[k]),
                "towards": float(shrunken.towards[k]),
            }
            for k, block in enumerate(blocks)
        ],
    }


def _compare(contacted: Moments, control: Moments) -> Compared:
    enough = enough_users(contacted, control)
    used = (contacted.users + control.users > 0).sum()
    kept = np.flatnonzero(enough)
    arm, rest = contacted[kept], control[kept]
    left_out = int(used - len(kept))
    return Compared(kept, differences(arm, rest), pooled_variance(arm, rest), left_out)


def _whole(effect: Differences, *, alarm: bool) -> dict[str, Any]:
    """The effect on all users."""
    found = _effect(effect, 0)
    reach = DETECTABLE_ERRORS * float(effect.error[0])
    low, high = found["interval"] or (0.0, 0.0)
    return found | {
        "shown": bool((low > 0 or high < 0) and not alarm),
        "detectable": reach,
        "detectable_lift": reach / found["control_mean"] if found["control_mean"] > 0 else None,
    }


def _effect(effect: Differences, k: int) -> dict[str, Any]:
    control_mean, difference = float(effect.control.mean[k]), float(effect.difference[k])
    interval = [float(effect.low[k]), float(effect.high[k])]
    return {
        "users": int(effect.contacted.users[k]),
        "mean": float(effect.contacted.mean[k]),
        "control_users": int(effect.control.users[k]),
        "control_mean": control_mean,
        "difference": difference,
        "interval": interval if np.isfinite(interval).all() else None,
        "lift": difference / control_mean if control_mean > 0 else None,
        "p_value": float(effect.p_value[k]),
    }


def _labels(level: str, block: Block, names: Names) -> dict[str, Any]:
    """The segments and bands of a row, where its table divides users by them."""
    segments = [list(names.segments.items())[n] for n in block[0]]
    found: dict[str, Any] = {}
    if level != "bands":
        found["segment_ids"] = [number for number, _ in segments]
        found["segment_names"] = [name for _, name in segments]
    if level != "segments":
        found["bands"] = [BANDS[n] for n in block[1]]
    return found
