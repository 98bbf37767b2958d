"""A policy: the arm of the largest gain in each cell, or none."""

from dataclasses import dataclass

import numpy as np

from engine.bundle.manifest import BANDS
from training.backtest.effects import Moments, balance_weight, enough_users, pooled_variance
from training.backtest.shrinkage import shrink
from training.backtest.units import Units

NOBODY = 0
"""The choice that contacts nobody; other choices are positions in `names.arms`."""


@dataclass(frozen=True, slots=True)
class CellEffects:
    """The effect of each arm in each cell over all campaigns; arrays are float64 [arms, cells].

    Attributes:
        users: Users of the arm in campaigns that measure the cell, float64; 0 if none does.
        control_users: Those of the control group.
        difference: Measured; NaN if no campaign has enough users.
        shrunken: Drawn towards the arm's effect in the band, or in all cells if only one of the band was
            measured; this effect also stands for cells that were not. Where the whole band was not, the
            effect on all users does, and -inf if nothing is known about the arm.
    """

    users: np.ndarray
    control_users: np.ndarray
    difference: np.ndarray
    shrunken: np.ndarray


def cell_effects(units: Units, outcome: str) -> CellEffects:
    """Effects by cell over all campaigns.

    Args:
        units: Users of at least one campaign.
        outcome: `purchase` or `value`.
    """
    return effects_of(units.by_campaign(outcome))


def effects_of(sums: Moments) -> CellEffects:
    """Effects by cell, each campaign against its own control group.

    So a season in which more users buy is no effect.

    Args:
        sums: Of an outcome, by campaign, arm and cell.
    """
    arms = [_arm_effects(sums[:, n], sums[:, NOBODY]) for n in range(1, sums.users.shape[1])]
    return CellEffects(*(np.array(parts) for parts in zip(*arms, strict=True)))


def _arm_effects(contacted: Moments, control: Moments) -> tuple[np.ndarray, ...]:
    """The fields of `CellEffects` for one arm, from moments of [campaigns, cells]."""
    enough = enough_users(contacted, control)
    users, others = contacted.users * enough, control.users * enough
    weight = balance_weight(contacted, control) * enough
    total = weight.sum(axis=0)
    known = total > 0
    share = weight / np.maximum(total, 1e-300)
    difference = np.where(known, (share * (contacted.mean - control.mean)).sum(axis=0), np.nan)
    variance = np.zeros(enough.shape)
    variance[enough] = pooled_variance(contacted[enough], control[enough])
    noise = (share**2 * variance).sum(axis=0)
    shrunken = np.full(len(known), whole_effect(contacted, control))
    if known.any():
        band = np.arange(len(known)) % len(BANDS)
        found = shrink(difference[known], noise[known], total[known], band[known])
        of_band = np.full(len(BANDS), shrunken[0])
        of_band[band[known]] = found.towards
        shrunken = of_band[band]
        shrunken[known] = found.estimate
    return users.sum(axis=0), others.sum(axis=0), difference, shrunken


def whole_effect(contacted: Moments, control: Moments) -> float:
    """The effect of an arm on all users; -inf if no campaign has enough.

    Args:
        contacted: Of the arm, by campaign and cell.
        control: Of the control group.
    """
    arm, rest = contacted.summed((1,))[:, 0], control.summed((1,))[:, 0]
    enough = enough_users(arm, rest)
    weight = balance_weight(arm, rest) * enough
    if not enough.any():
        return -np.inf
    return float(weight @ (arm.mean - rest.mean) / weight.sum())


def best_choices(gains: np.ndarray) -> np.ndarray:
    """The arm of the largest gain in each cell, or `NOBODY` if none gains: int64 [cells].

    Args:
        gains: float64 [arms, cells], without the control group.
    """
    return np.where(gains.max(axis=0) > 0, gains.argmax(axis=0) + 1, NOBODY)
