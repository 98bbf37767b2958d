"""The recommended action for each segment and band, and the control group that measures its effect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import polars_hash as plh

from engine.bundle.documents import parse_json
from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.open import PLAYBOOK, Bundle
from engine.bundle.score_file import coded_texts
from engine.bundle.structure import is_count, is_number, is_probability, structure_problem
from engine.errors import BundleError, pluralize

CONTROL_SALT = "control-v1:"
MAX_CONTROL_SHARE = 0.10
"""A larger control group costs more sales than the measurement is worth."""
MAX_MONEY = 1_000_000_000
"""The largest amount: the cost of a contact, the value of an order, a budget."""
NO_CHANNEL = "none"
"""The channel of cells whose users are not contacted."""


def _is_band(value: object) -> bool:
    return value in BANDS


_FIGURE, _SHARE = (None, is_count), (None, is_number)
_PLAYBOOK = {
    "population?": is_count,
    "currency?": str,
    "economics?": {
        "currency": str,
        "margin": is_probability,
        "order_value": _SHARE,
        "order_value_feature": (None, str),
        "cost_per_contact": {str: is_number},
    },
    "rows": [
        {
            "segment_id": is_count,
            "segment_name": str,
            "band": str,
            "action": str,
            "control_share": is_number,
            **dict.fromkeys(("message?", "channel?", "offer?", "rationale?", "measure?"), str),
            **dict.fromkeys(("stop_rule?", "owner?", "test?"), str),
            **dict.fromkeys(
                ("users?", "expected_buyers?", "sample_size?", "window_days?", "campaigns?"),
                _FIGURE,
            ),
            **dict.fromkeys(("cost_per_contact?", "lift_to_see?", "detectable_lift?"), _SHARE),
            "order_value?": _SHARE,
            **dict.fromkeys(("figures_of?", "tested_with?"), (None, [_is_band])),
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Playbook:
    """The recommended action and the share of the control group of every cell.

    A cell is a segment and a band; cells are ordered by segment id, then as in `BANDS`.

    Attributes:
        segment_ids: Ascending.
        actions: One per cell.
        control_shares: One per cell, 0 to `MAX_CONTROL_SHARE`.
    """

    segment_ids: tuple[int, ...]
    actions: tuple[str, ...]
    control_shares: tuple[float, ...]

    def cells(self, segment: np.ndarray, band: np.ndarray) -> np.ndarray:
        """The number of each user's cell.

        Args:
            segment: Segment ids, int64 [rows].
            band: Positions in `BANDS`, int64 [rows].

        Returns:
            int64 [rows].
        """
        position = np.searchsorted(np.asarray(self.segment_ids), segment)
        cells: np.ndarray = position * len(BANDS) + band
        return cells

    def action_column(self, cells: np.ndarray) -> pl.Series:
        """The action of each user, Enum; `cells` as returned by `cells`."""
        return coded_texts(self.actions, cells)

    def control_column(self, cells: np.ndarray, ids: pl.Series) -> pl.Series:
        """Whether each user is in the control group.

        Args:
            cells: The result of `cells`.
            ids: The users' ids, texts or whole numbers; none is null.
        """
        limits = np.array(self.control_shares) * 2.0**32
        return pl.Series(control_draws(ids) < limits[cells])


@dataclass(frozen=True, slots=True)
class CellEconomics:
    """What a contact in one cell costs and an order brings.

    Attributes:
        contacted: Whether the playbook contacts the users of the cell.
        order_value: The value of an order; None if it is not known.
        cost: The cost of one contact; None if it is not known.
    """

    contacted: bool
    order_value: float | None
    cost: float | None


def open_playbook(bundle: Bundle) -> Playbook:
    """The playbook of a bundle.

    Raises:
        BundleError: It does not match the segments and bands of the bundle.
    """
    return playbook_from_rows(playbook_rows(bundle), bundle.manifest)


def playbook_rows(bundle: Bundle) -> list[dict[str, Any]]:
    """The rows of a bundle's `playbook.json`, one for each segment and band.

    Raises:
        BundleError: The file is not a playbook.
    """
    rows: list[dict[str, Any]] = read_playbook(bundle)["rows"]
    return rows


def read_playbook(bundle: Bundle) -> dict[str, Any]:
    """What a bundle's `playbook.json` holds; `economics` is absent where no money is known.

    Raises:
        BundleError: The file is not a playbook.
    """
    try:
        document = parse_json(bundle.contents[PLAYBOOK])
        problem = structure_problem(document, _PLAYBOOK, "it")
    except ValueError as error:
        problem = str(error)
    if problem:
        raise BundleError(
            f"{bundle.path / PLAYBOOK}: not a playbook: {problem}. Copy the bundle again."
        )
    found: dict[str, Any] = document
    return found


def cell_economics(document: Mapping[str, Any]) -> dict[tuple[int, str], CellEconomics]:
    """The economics of each cell, by segment id and band.

    Args:
        document: As in `playbook.json`, with `economics`.
    """
    usual = document["economics"].get("order_value")
    return {
        (row["segment_id"], row["band"]): CellEconomics(
            contacted=row.get("channel") != NO_CHANNEL,
            order_value=usual if row.get("order_value") is None else row["order_value"],
            cost=row.get("cost_per_contact"),
        )
        for row in document["rows"]
    }


def playbook_from_rows(rows: list[dict[str, Any]], manifest: Manifest) -> Playbook:
    """Check the rows and keep what scoring needs.

    Raises:
        BundleError: A cell is missing or repeated, or an action or share is invalid.
    """
    ids = tuple(sorted(segment.id for segment in manifest.segments))
    wanted = [(segment_id, band) for segment_id in ids for band in BANDS]
    try:
        found = {(row["segment_id"], row["band"]): row for row in rows}
        missing = [cell for cell in wanted if cell not in found]
        wrong = [cell for cell, row in found.items() if not _is_row(row)]
    except (TypeError, KeyError) as error:
        raise BundleError(
            f"{manifest.bundle_id}: playbook: a row without {error}. Copy the bundle again."
        ) from error
    if missing or wrong or len(rows) != len(wanted):
        raise BundleError(
            f"{manifest.bundle_id}: playbook: {pluralize(len(rows), 'row')}, expected {len(wanted)}, "
            f"one for each segment and band; missing {missing[:4]}, not valid {wrong[:4]}. "
            "Copy the bundle again."
        )
    return Playbook(
        segment_ids=ids,
        actions=tuple(found[cell]["action"] for cell in wanted),
        control_shares=tuple(float(found[cell]["control_share"]) for cell in wanted),
    )


def control_draws(ids: pl.Series) -> np.ndarray:
    """The draws that decide who is in the control group: uint32 [rows]; see `salted_draws`."""
    return salted_draws(ids, CONTROL_SALT)


def salted_draws(ids: pl.Series, salt: str) -> np.ndarray:
    """A pseudo-random number per user, the same every night and in every runtime.

    It is the first 8 hex digits of SHA-256(UTF-8 of salt + id), as an integer.

    Args:
        ids: Texts, or whole numbers, which are hashed as decimal text; none is null.
        salt: Draws of different salts are independent.

    Returns:
        uint32 [rows].
    """
    # NOTE: Python's own SHA-256 takes twice as long, and holds the lock that other threads need.
    texts = (salt + ids.cast(pl.String)).to_frame("text")
    digits = plh.col("text").chash.sha2_256().str.head(8)
    return texts.select(digits.str.to_integer(base=16, dtype=pl.UInt32)).to_series().to_numpy()


def _is_row(row: Mapping[str, Any]) -> bool:
    share = row["control_share"]
    is_share = is_number(share) and 0 <= share <= MAX_CONTROL_SHARE
    return is_share and isinstance(row["action"], str)
