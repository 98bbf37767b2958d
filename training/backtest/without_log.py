"""Contacted users against the control group where no log says who was contacted: everybody else was."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS
from engine.pages.merging import own_cells
from training.backtest.effects import rate_differences
from training.metrics.disclosure import MIN_USERS, users_in
from training.metrics.intervals import NORMAL_QUANTILE

ARMS = ("contacted", "control")


def control_effect(frame: pl.DataFrame, names: Mapping[int, str]) -> dict[str, Any]:
    """Purchase rates of both groups in each cell, and their difference; plain JSON values.

    A cell is a segment and a band. One with fewer than `MIN_USERS` users in either group is left out,
    also from the figure of all cells. It is not merged with its neighbour: bands may have different
    control shares, which would look like an effect in a merged cell. Where it has fewer in both groups
    together, cells that would tell them from the totals of bands and segments are left out too.

    Args:
        frame: `Joined.frame` of one bundle.
        names: Of the segments, by id, rising.
    """
    ids, cells = list(names), len(names) * len(BANDS)
    segment = frame["segment_id"].replace_strict(ids, range(len(ids)), return_dtype=pl.Int64)
    band = frame["propensity_band"].replace_strict(BANDS, range(len(BANDS)), return_dtype=pl.Int64)
    cell = (segment * len(BANDS) + band).to_numpy()
    arm = cell + cells * (frame["in_control_group"].to_numpy() > 0)
    label, users = frame["bought"].to_numpy(), frame["user"].to_numpy()
    people = users_in(arm, users, 2 * cells).reshape(2, cells)
    rows = np.bincount(arm, minlength=2 * cells).reshape(2, cells)
    bought = np.bincount(arm, label, minlength=2 * cells).reshape(2, cells)
    rate = bought / np.maximum(rows, 1)
    told = own_cells(users_in(cell, users, cells).reshape(1, len(ids), len(BANDS))).ravel()
    large = (people >= MIN_USERS).all(axis=0)
    shown = large & told
    low, high = rate_differences(rate, np.maximum(people, 1))
    return {
        "cells": [
            {
                "segment_id": ids[n // len(BANDS)],
                "segment_name": names[ids[n // len(BANDS)]],
                "band": BANDS[n % len(BANDS)],
                **{f"{name}_rows": int(rows[a, n]) for a, name in enumerate(ARMS)},
                **{f"{name}_rate": float(rate[a, n]) for a, name in enumerate(ARMS)},
                "difference": float(rate[0, n] - rate[1, n]),
                "interval": [float(low[n]), float(high[n])],
                "shown": bool(low[n] > 0 or high[n] < 0),
            }
            for n in np.flatnonzero(shown).tolist()
        ],
        "cells_left_out": int(((people > 0).any(axis=0) & ~shown).sum()),
        "all_cells": _pooled(rate[:, large], people[:, large]),
    }


def _pooled(rate: np.ndarray, people: np.ndarray) -> dict[str, Any] | None:
    """One difference for all cells, weighted by their precision (Mantel & Haenszel 1959).

    Unlike the difference of the totals, it is not biased by cells with different control shares.
    """
    if not rate.shape[1]:
        return None
    weight = people[0] * people[1] / people.sum(axis=0)
    weight = weight / weight.sum()
    difference = float(weight @ (rate[0] - rate[1]))
    variance = weight**2 @ (rate * (1 - rate) / people).sum(axis=0)
    reach = NORMAL_QUANTILE * float(np.sqrt(variance))
    return {
        "difference": difference,
        "interval": [difference - reach, difference + reach],
        "shown": abs(difference) > reach,
    }
