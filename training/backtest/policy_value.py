"""What policies are worth, judged on users who did not choose them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from training.backtest.effects import Moments, moments
from training.backtest.policy import NOBODY, best_choices, effects_of, whole_effect
from training.backtest.units import Units
from training.data.split import hash_draws
from training.metrics.intervals import NORMAL_QUANTILE, mean_and_error

FOLDS = 20
"""Many, so that a policy hardly depends on who is in which part."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What the users outside each fold taught.

    Attributes:
        choice: The arm of each cell, int64 [folds, cells].
        best: The one arm that gains most if everybody gets it, int64 [folds].
        mean: The mean outcome of each cell whatever the arm, float64 [folds, cells].
    """

    choice: np.ndarray
    best: np.ndarray
    mean: np.ndarray


def policy_values(
    units: Units, outcome: str, worth: float, costs: np.ndarray
) -> list[dict[str, Any]]:
    """What each policy gains per user over contacting nobody, with 95 % intervals.

    Users are divided by a hash of their id; what is done with those of each part is learned on the
    other parts. Gains are inverse-propensity estimates (Horvitz & Thompson 1952; Athey & Wager, Policy
    Learning with Observational Data, 2021) of outcomes less the mean of the cell in the other parts,
    which leaves less to chance. Only campaigns with all arms can judge every policy.

    Args:
        units: Users of campaigns.
        outcome: `purchase` or `value`.
        worth: What one unit of the outcome is worth.
        costs: Of a contact by arm, without the control group, float64 [arms].

    Returns:
        Plain JSON values; none if no campaign has all arms.
    """
    share = _shares(units)
    units = units[(share[units.campaign] > 0).all(axis=1)]
    if not len(units.arm):
        return []
    fold = (hash_draws(units.ids, len(units.ids)) * FOLDS).astype(np.int64)
    learned = _learned(units, fold, outcome, worth, costs)
    value = worth * (units.outcomes[outcome] - learned.mean[fold, units.cell])
    policies = _policies(units, fold, learned)
    gains = {name: _gains(units, choice, value, share, costs) for name, choice in policies.items()}
    users = units.ids.rank("dense").cast(pl.Int64).to_numpy()
    return [
        {
            "policy": name,
            "contacted": float((policies[name] != NOBODY).mean()),
            "gain": _estimate(gain, users),
            "playbook_minus": _estimate(gains["playbook"] - gain, users),
        }
        for name, gain in gains.items()
    ]


def _learned(
    units: Units, fold: np.ndarray, outcome: str, worth: float, costs: np.ndarray
) -> Learned:
    shape = units.names.campaign_shape
    group = units.campaign_group + fold * int(np.prod(shape))
    parts = moments(units.outcomes[outcome], group, (FOLDS, *shape))
    others = Moments(parts.sums.sum(axis=1, keepdims=True) - parts.sums, parts.binary)
    choice, best = [], []
    for n in range(FOLDS):
        sums = others[n]
        choice.append(best_choices(worth * effects_of(sums).shrunken - costs[:, None]))
        whole = [whole_effect(sums[:, arm], sums[:, NOBODY]) for arm in range(1, shape[1])]
        best.append(int(np.argmax(worth * np.array(whole) - costs)) + 1)
    by_cell = Moments(others.sums.sum(axis=(2, 3)), parts.binary)
    return Learned(np.array(choice), np.array(best), by_cell.mean)


def _policies(units: Units, fold: np.ndarray, learned: Learned) -> dict[str, np.ndarray]:
    """What each policy does with each user: int64 [rows] by name."""
    playbook = learned.choice[fold, units.cell]
    best = learned.best[fold]
    order = np.argsort(-units.probability, kind="stable")
    highest = np.full(len(fold), NOBODY)
    first = order[: np.count_nonzero(playbook != NOBODY)]
    highest[first] = best[first]
    everybody = {
        f"{arm} to everybody": np.full(len(fold), n)
        for n, arm in enumerate(units.names.arms)
        if n != NOBODY
    }
    return {
        "playbook": playbook,
        "best arm to everybody": best,
        **everybody,
        "best arm to as many of the highest scores": highest,
        "nobody": np.full(len(fold), NOBODY),
    }


def _gains(
    units: Units, choice: np.ndarray, value: np.ndarray, share: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    """An unbiased estimate of what a policy gains with each user, float64 [rows]."""
    as_chosen = (units.arm == choice) / share[units.campaign, choice]
    untouched = (units.arm == NOBODY) / share[units.campaign, NOBODY]
    cost = np.concatenate([[0.0], costs])[choice]
    found: np.ndarray = (as_chosen - untouched) * value - cost
    return found


def _shares(units: Units) -> np.ndarray:
    """The share of each arm in each campaign, float64 [campaigns, arms]."""
    shape = units.names.campaign_shape
    users = np.bincount(units.campaign_group, minlength=int(np.prod(shape)))
    users = users.reshape(shape).sum(axis=2)
    found: np.ndarray = users / np.maximum(users.sum(axis=1, keepdims=True), 1)
    return found


def _estimate(gain: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    mean, error = mean_and_error(gain, users)
    reach = NORMAL_QUANTILE * error
    return {"value": mean, "interval": [mean - reach, mean + reach]}
