"""Campaigns whose true effects are known: users in cells, some contacted, drawn from a seed."""

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS
from training.backtest.units import Names, Units


def campaign(
    rng: np.random.Generator,
    users: int,
    segments: int = 3,
    effects: tuple[float, ...] = (0.0,),
    by_cell: np.ndarray | None = None,
    control: float = 0.2,
) -> Units:
    """Users of one campaign, who buy and spend by cell; a control group and one arm for each effect.

    Args:
        rng: Draws everything.
        users: How many.
        segments: How many, each with four bands.
        effects: What each arm adds to the purchase rate of everybody.
        by_cell: What it adds to that of each cell, float64 [arms, cells].
        control: The share of the control group.
    """
    cells = segments * len(BANDS)
    cell = rng.integers(0, cells, users)
    shares = [control, *[(1 - control) / len(effects)] * len(effects)]
    arm = rng.choice(len(shares), users, p=shares)
    band = cell % len(BANDS)
    added = np.array([0.0, *effects])[arm]
    if by_cell is not None:
        added = added + np.vstack([np.zeros(cells), by_cell])[arm, cell]
    rate = np.clip(np.array([0.02, 0.05, 0.1, 0.2])[band] + added, 0, 1)
    bought = (rng.random(users) < rate).astype(float)
    spent = bought * rng.lognormal(3.5, 0.8, users)
    names = Names(
        campaigns=("spring",),
        arms=("control", *(f"arm {n}" for n in range(1, len(shares)))),
        segments={n: f"segment {n}" for n in range(segments)},
    )
    return Units(
        names,
        campaign=np.zeros(users, np.int64),
        arm=arm,
        cell=cell,
        probability=rate,
        ids=pl.Series([f"u{n}" for n in range(users)]),
        outcomes={"purchase": bought, "value": spent},
    )
