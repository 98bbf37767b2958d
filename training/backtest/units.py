"""The users of campaigns as arrays: arm, cell and outcome of each, and sums of outcomes by group."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.activate.arms import CONTROL
from engine.bundle.manifest import BANDS
from training.backtest.effects import Moments, moments

OUTCOMES = {"purchase": "bought", "value": "value"}
"""What is measured of a user, and its column."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers in `Units` stand for.

    Attributes:
        campaigns: In alphabetical order.
        arms: The control group, then the others in alphabetical order.
        segments: By id, rising.
    """

    campaigns: tuple[str, ...]
    arms: tuple[str, ...]
    segments: Mapping[int, str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many arms, segments and bands there are."""
        return len(self.arms), len(self.segments), len(BANDS)

    @property
    def campaign_shape(self) -> tuple[int, int, int]:
        """How many campaigns, arms and cells there are."""
        return len(self.campaigns), len(self.arms), len(self.segments) * len(BANDS)


@dataclass(frozen=True, slots=True)
class Units:
    """The measured users of campaigns: one row for each user of a campaign.

    Attributes:
        names: What the numbers stand for.
        campaign: A position in `names.campaigns`, int64 [rows].
        arm: A position in `names.arms`, 0 for the control group, int64 [rows].
        cell: Segment and band before the contact, `segment * len(BANDS) + band`, int64 [rows].
        probability: The score, float64 [rows].
        ids: The users.
        outcomes: By the names in `OUTCOMES`, float64 [rows].
    """

    names: Names
    campaign: np.ndarray
    arm: np.ndarray
    cell: np.ndarray
    probability: np.ndarray
    ids: pl.Series
    outcomes: Mapping[str, np.ndarray]

    def __getitem__(self, rows: np.ndarray) -> "Units":
        """Some of the rows, by a mask."""
        return Units(
            self.names,
            *(self.campaign[rows], self.arm[rows], self.cell[rows], self.probability[rows]),
            self.ids.filter(pl.Series(rows)),
            {name: values[rows] for name, values in self.outcomes.items()},
        )

    @property
    def campaign_group(self) -> np.ndarray:
        """The number of each row's campaign, arm and cell, int64 [rows]."""
        _, arms, cells = self.names.campaign_shape
        return (self.campaign * arms + self.arm) * cells + self.cell

    def by_campaign(self, outcome: str) -> Moments:
        """Sums of an outcome, by campaign, arm and cell."""
        values = self.outcomes[outcome]
        return moments(values, self.campaign_group, self.names.campaign_shape)

    def moments(self, outcome: str) -> Moments:
        """Sums of an outcome, by arm, segment and band."""
        shape = self.names.shape
        return moments(self.outcomes[outcome], self.arm * shape[1] * shape[2] + self.cell, shape)


def names_of(rows: pl.DataFrame) -> Names:
    """The names in outcome rows."""
    segments = rows.group_by("segment_id").agg(pl.col("segment_name").max()).sort("segment_id")
    ids, titles = segments["segment_id"].cast(pl.Int64), segments["segment_name"]
    arms = rows["arm"].unique().sort().to_list()
    return Names(
        campaigns=tuple(rows["campaign"].unique().sort().to_list()),
        arms=(CONTROL, *(name for name in arms if name != CONTROL)),
        segments=dict(zip(ids.to_list(), titles.to_list(), strict=True)),
    )


def units_of(rows: pl.DataFrame, names: Names) -> Units:
    """The users of outcome rows.

    Args:
        rows: From `contacts.outcome_rows`.
        names: Of these rows or of more.
    """
    known = {new: old for new, old in OUTCOMES.items() if old in rows.columns}
    users = rows.sort("campaign", "id")
    segment = _places(users["segment_id"].cast(pl.Int64), list(names.segments))
    return Units(
        names,
        campaign=_places(users["campaign"], list(names.campaigns)),
        arm=_places(users["arm"], list(names.arms)),
        cell=segment * len(BANDS) + _places(users["propensity_band"], list(BANDS)),
        probability=users["purchase_probability"].cast(pl.Float64).to_numpy(),
        ids=users["id"],
        outcomes={new: users[old].cast(pl.Float64).to_numpy() for new, old in known.items()},
    )


def _places(values: pl.Series, known: list[int] | list[str]) -> np.ndarray:
    """The position of each value, int64 [rows]."""
    return values.replace_strict(known, range(len(known)), return_dtype=pl.Int64).to_numpy()
