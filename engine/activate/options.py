"""The options of an audience, checked before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Literal

from engine.activate.arms import CONTACT, check_arms, check_name
from engine.bundle.manifest import BANDS
from engine.bundle.playbook import MAX_MONEY
from engine.errors import UsageError, quoted
from engine.limits import InputLimits

By = Literal["probability", "profit"]


@dataclass(frozen=True, slots=True)
class AudienceOptions:
    """Who is admitted to a list, and what the list holds.

    Attributes:
        segments: Names or ids; all segments if there are none.
        bands: All bands if there are none.
        min_probability: The least probability of a purchase.
        top: The most users.
        share: The most users, as a share of those who pass the filters and may be contacted.
        budget: The most that contacts may cost, in the currency of `cost`.
        cost: The cost of one contact, in place of that in the playbook.
        by: What ranks users.
        bundle: The bundle that made the scores; ranking by profit needs its playbook.
        campaign: Its name.
        arms: The share of each arm, in the order in which they are drawn.
        include_control: Whether the control group is in the list, as the arm "control".
        columns: Columns of the list; "id" is the id column. By default those that senders use.
        renames: New names of columns.
        template: A sender whose columns and names the list has.
        suppress: Files with ids that are left out.
        if_exists: What to do if the list exists already.
        csv_for_spreadsheets: Whether to put an apostrophe before CSV texts that look like a formula.
        limits: What is read at most.
    """

    segments: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    min_probability: float | None = None
    top: int | None = None
    share: float | None = None
    budget: float | None = None
    cost: float | None = None
    by: By = "probability"
    bundle: Path | None = None
    campaign: str | None = None
    arms: Mapping[str, float] = field(default_factory=dict)
    include_control: bool = False
    columns: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    suppress: tuple[str, ...] = ()
    if_exists: Literal["fail", "replace", "skip"] = "fail"
    csv_for_spreadsheets: bool = False
    limits: InputLimits = InputLimits()  # noqa: RUF009 - it is frozen

    def __post_init__(self) -> None:
        unknown = [band for band in self.bands if band not in BANDS]
        if unknown:
            raise UsageError(f"--band: no band {quoted(unknown)}. The bands are {quoted(BANDS)}.")
        self._check_limits()
        if self.by == "profit" and self.bundle is None:
            raise UsageError(
                "--by profit: needs the playbook of the bundle that made the scores. Add --bundle."
            )
        if self.campaign is not None:
            check_name(self.campaign, "--campaign")
        if self.arms:
            check_arms(self.arms)
            if self.campaign is None:
                raise UsageError(
                    "--arms: needs --campaign, whose name decides which user is in which arm."
                )
        if self.template is not None and (self.columns or self.renames):
            raise UsageError(
                "--template decides the columns and their names. Leave out --columns and --rename, "
                "or leave out --template."
            )

    def _check_limits(self) -> None:
        sizes = {"--top": self.top, "--share": self.share, "--budget": self.budget}
        given = [option for option, value in sizes.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)}: each limits the size. Give one of them.")
        largest = {"--top": inf, "--share": 1, "--budget": MAX_MONEY, "--cost": MAX_MONEY}
        for option, value in {**sizes, "--cost": self.cost}.items():
            # NOTE: NaN is neither.
            if value is not None and not value > 0:
                raise UsageError(f"{option}: must be a number above 0, found {value}.")
            if value is not None and value > largest[option]:
                raise UsageError(f"{option}: must be at most {largest[option]:,}, found {value:g}.")
        if self.budget is not None and self.cost is None:
            raise UsageError("--budget: needs --cost, the cost of one contact.")
        if self.min_probability is not None and not 0 <= self.min_probability <= 1:
            raise UsageError(
                f"--min-probability: must be from 0 to 1, found {self.min_probability:g}."
            )

    @property
    def drawn_arms(self) -> Mapping[str, float]:
        """The share of each arm; all users are in one arm if none are named."""
        return self.arms or {CONTACT: 1.0}

    def most_users(self, eligible: int) -> int:
        """The most users of the list, of those who are eligible."""
        # As decimals: 0.3 buys three contacts of 0.1.
        if self.budget is not None:
            return min(eligible, int(Decimal(str(self.budget)) / Decimal(str(self.cost))))
        if self.share is not None:
            return int(Decimal(str(self.share)) * eligible)
        return eligible if self.top is None else min(eligible, self.top)
