"""Expected profit of a contact, from the economics in a bundle's playbook."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle.open import PLAYBOOK, Bundle
from engine.bundle.playbook import cell_economics, read_playbook
from engine.errors import BundleError, UsageError, pluralize, quoted

NO_CELL = -1


@dataclass(frozen=True, slots=True)
class ContactProfits:
    """What an order earns and a contact costs, by cell of the playbook.

    Attributes:
        currency: The currency of all amounts.
        cells: The number of each cell, by `segment_id|band`.
        contacted: Whether the playbook contacts the users of a cell, bool [cells].
        gains: Margin × order value, float64 [cells].
        costs: The cost of one contact, float64 [cells].
    """

    currency: str
    cells: Mapping[str, int]
    contacted: np.ndarray
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


def open_contact_profits(bundle: Bundle, cost: float | None) -> ContactProfits:
    """What contacts earn by the economics in the playbook of a bundle.

    Args:
        bundle: The opened bundle.
        cost: The cost of every contact, in place of those in the playbook.

    Raises:
        UsageError: The bundle's segments are not used, so scores do not name the cell of a user.
        BundleError: The playbook has no economics, or lacks the order value or cost of a contacted cell.
    """
    if not bundle.manifest.segments_usable:
        raise UsageError(
            f"--by profit: {bundle.path}: order values and costs depend on the segment, and the scores name "
            "none, because the bundle's segments are not used. Rank by probability."
        )
    document = read_playbook(bundle)
    if document.get("economics") is None:
        raise BundleError(
            f"{bundle.path / PLAYBOOK}: has no economics. Add [economics] with margin and order_value "
            "to the playbook's TOML and fit again: training fit DATA --out CANDIDATE --playbook TOML"
        )
    found = cell_economics(document)
    values = {cell: of.order_value for cell, of in found.items()}
    costs = {cell: of.cost if cost is None else cost for cell, of in found.items()}
    for what, known in {"order_value": values, "cost_per_contact": costs}.items():
        absent = [_name(c) for c, of in found.items() if of.contacted and known[c] is None]
        if absent:
            raise BundleError(
                f"{bundle.path / PLAYBOOK}: {pluralize(len(absent), 'cell')} without {what}: "
                f"{quoted(absent)}. Add it to the playbook's TOML and fit again."
            )
    return ContactProfits(
        currency=document["economics"]["currency"],
        cells={_name(cell): n for n, cell in enumerate(found)},
        contacted=np.array([of.contacted for of in found.values()]),
        gains=float(document["economics"]["margin"]) * np.array(list(values.values()), np.float64),
        costs=np.array(list(costs.values()), np.float64),
    )


def _name(cell: tuple[int, str]) -> str:
    return f"{cell[0]}|{cell[1]}"
