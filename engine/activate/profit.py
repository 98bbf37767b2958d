"""Expected profit of a contact, from the economics in a bundle's playbook."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.open import PLAYBOOK, Bundle
from engine.bundle.playbook import read_playbook
from engine.bundle.structure import is_number
from engine.errors import BundleError, pluralize, quoted

NO_CELL = -1


@dataclass(frozen=True, slots=True)
class Economics:
    """What an order earns and a contact costs, by cell of the playbook.

    Attributes:
        currency: The currency of all amounts.
        cells: The number of each cell, by `segment_id|band`.
        gains: Margin × order value, float64 [cells].
        costs: The cost of one contact, float64 [cells].
    """

    currency: str
    cells: Mapping[str, int]
    gains: np.ndarray
    costs: np.ndarray

    def cell_column(self, scores: pl.DataFrame) -> pl.Series:
        """The cell of each row, Int16; `NO_CELL` if the playbook has none."""
        name = pl.concat_str(
            pl.col("segment_id").cast(pl.String), pl.col("propensity_band"), separator="|"
        )
        cells = name.replace_strict(
            list(self.cells), list(self.cells.values()), default=NO_CELL, return_dtype=pl.Int16
        )
        return scores.select(cells.fill_null(NO_CELL).alias("cell")).to_series()

    def profit(self, probability: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Probability × margin × order value − cost of the contact: float32 [rows].

        Args:
            probability: float32 [rows].
            cell: From `cell_column`, int16 [rows].
        """
        gain = probability.astype(np.float64) * self.gains[cell]
        profit: np.ndarray = (gain - self.costs[cell]).astype(np.float32)
        return profit


def open_economics(bundle: Bundle, cost: float | None) -> Economics:
    """The economics in the playbook of a bundle.

    Args:
        bundle: The opened bundle.
        cost: The cost of every contact, in place of those in the playbook.

    Raises:
        BundleError: The playbook has no economics, or lacks the order value or cost of a cell.
    """
    document = read_playbook(bundle)
    rows, economics = document["rows"], document.get("economics")
    if economics is None:
        raise BundleError(
            f"{bundle.path / PLAYBOOK}: has no economics. Add [economics] with margin and order_value "
            "to the playbook's TOML and fit again: training fit DATA --out CANDIDATE --playbook TOML"
        )
    values = [_first_number(row.get("order_value"), economics.get("order_value")) for row in rows]
    costs = [_first_number(cost, row.get("cost_per_contact")) for row in rows]
    for what, found in {"order_value": values, "cost_per_contact": costs}.items():
        absent = [_cell(row) for row, value in zip(rows, found, strict=True) if value is None]
        if absent:
            raise BundleError(
                f"{bundle.path / PLAYBOOK}: {pluralize(len(absent), 'cell')} without {what}: "
                f"{quoted(absent)}. Add it to the playbook's TOML and fit again."
            )
    return Economics(
        currency=economics["currency"],
        cells={_cell(row): n for n, row in enumerate(rows)},
        gains=float(economics["margin"]) * np.array(values, np.float64),
        costs=np.array(costs, np.float64),
    )


def _cell(row: Mapping[str, Any]) -> str:
    return f"{row['segment_id']}|{row['band']}"


def _first_number(*values: Any) -> float | None:  # noqa: ANN401 - any JSON
    return next((float(value) for value in values if is_number(value)), None)
