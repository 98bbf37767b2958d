"""What the next playbook should do, with the evidence for each cell."""

from typing import Any

import numpy as np

from engine.bundle.manifest import BANDS
from engine.pages.merging import own_cells
from training.backtest.money import Money
from training.backtest.policy import CellEffects, best_choices, cell_effects
from training.backtest.policy_value import policy_values
from training.backtest.units import Units
from training.metrics.disclosure import MIN_USERS


def policy_figures(units: Units, money: Money) -> dict[str, Any]:
    """Which arm each cell should get, and what policies are worth; plain JSON values.

    Args:
        units: Users of campaigns whose arms match.
        money: What an outcome is worth and a contact costs.

    Raises:
        BundleError: Nothing says what a contact in an arm costs.
    """
    effects = cell_effects(units, money.outcome)
    names = units.names
    costs = np.array(money.costs(names.arms[1:]))
    gains = money.worth * effects.shrunken - costs[:, None]
    users = np.bincount(units.cell, minlength=gains.shape[1])
    choice = best_choices(gains)
    segments = list(names.segments.items())
    told = _told(units)
    return {
        "outcome": money.outcome,
        "unit": money.unit,
        "currency": money.currency,
        "campaigns": [names.campaigns[n] for n in np.unique(units.campaign)],
        "users": len(units.arm),
        "cells": [
            {
                "segment_id": segments[cell // len(BANDS)][0],
                "segment_name": segments[cell // len(BANDS)][1],
                "band": BANDS[cell % len(BANDS)],
                "users": int(users[cell]) if told[cell] else None,
                "arm": names.arms[choice[cell]] if choice[cell] else None,
                "best_arm": names.arms[best + 1],
                "gain": float(gains[best, cell]),
                "cost": float(costs[best]),
                "evidence": _evidence(effects, best, cell, told=bool(told[cell])),
            }
            for cell in np.flatnonzero(users >= MIN_USERS).tolist()
            for best in [int(gains[:, cell].argmax())]
        ],
        "policies": policy_values(units, money.outcome, money.worth, costs),
    }


def _told(units: Units) -> np.ndarray:
    """Whether the numbers of users in a cell may be published beside those of campaigns, bool [cells]."""
    campaigns, arms, cells = units.names.campaign_shape
    users = np.bincount(units.campaign_group, minlength=campaigns * arms * cells)
    return own_cells(users.reshape(campaigns * arms, -1, len(BANDS))).ravel()


def _evidence(effects: CellEffects, arm: int, cell: int, *, told: bool) -> dict[str, Any] | None:
    """What was measured of an arm in a cell; None if no campaign has enough users there."""
    if not effects.users[arm, cell]:
        return None
    return {
        "users": int(effects.users[arm, cell]) if told else None,
        "control_users": int(effects.control_users[arm, cell]) if told else None,
        "difference": float(effects.difference[arm, cell]),
        "shrunken": float(effects.shrunken[arm, cell]),
    }
