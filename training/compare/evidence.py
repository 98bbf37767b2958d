"""The figures of a comparison as evidence: which of them count, and which are beyond chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.pages.format import signed
from training.compare.strategies import MODEL, SEGMENT_RATE
from training.metrics.intervals import NORMAL_QUANTILE
from training.metrics.metrics import entropy

SEGMENTS_TELL = 0.05
"""Segments describe users if they explain at least this share of the variance of some impact."""

SMALL_IMPACT = 0.10
"""A driver counts if its mean impact is at least this share of the largest one's."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one figure is above another, and its standard error; None: unknown."""

    value: float
    error: float | None

    @property
    def reach(self) -> float:
        """Half the 95 % interval."""
        return float("inf") if self.error is None else NORMAL_QUANTILE * self.error

    @property
    def is_none(self) -> bool:
        """Whether the two agree on every resample."""
        return self.value == 0 and self.error == 0

    @property
    def sign(self) -> int:
        """1 or -1 beyond chance, else 0."""
        return 0 if abs(self.value) <= self.reach else 1 if self.value > 0 else -1

    @classmethod
    def from_model(cls, strategy: Mapping[str, Any], figure: str) -> "Difference":
        """How far a strategy's figure is above that of the model alone."""
        return cls(strategy["difference"][figure], strategy["standard_error"][figure])

    def words(self, decimals: int) -> str:
        """As `+0.012 ± 0.003`: value and half the 95 % interval."""
        if self.is_none:
            return "no change"
        reach = "unknown" if self.error is None else f"{self.reach:.{decimals}f}"
        return f"{signed(self.value, decimals)} ± {reach}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the answers are based on.

    Attributes:
        document: What `figures.comparison` measured.
        quality: What `quality.quality_band` returns for the model.
        names: Of segments, by id.
        titles: Of features, by name.
    """

    document: Mapping[str, Any]
    quality: Mapping[str, Any]
    names: Mapping[int, str]
    titles: Mapping[str, str]

    @property
    def strategies(self) -> dict[str, Mapping[str, Any]]:
        """The figures of each measured strategy, by key."""
        return {strategy["key"]: strategy for strategy in self.document["scores"]}

    @property
    def model(self) -> Mapping[str, Any]:
        """The figures of the model alone."""
        return self.strategies[MODEL]

    @property
    def rate(self) -> Mapping[str, Any]:
        """The figures of the segments' purchase rates."""
        return self.strategies[SEGMENT_RATE]

    def gap(self, key: str, figure: str) -> Difference:
        """How far a strategy's figure is above that of the model alone."""
        return Difference.from_model(self.strategies[key], figure)

    @property
    def rates_predict(self) -> bool:
        """Whether the segments' rates have a lower log-loss than one mean rate for everyone."""
        found = self.rate["over_base_rate"]
        return Difference(found["log_loss"], found["standard_error"]).sign < 0

    @property
    def base_loss(self) -> float:
        """The log-loss of predicting the purchase rate for everyone."""
        return entropy(self.document["base_rate"])

    @property
    def usable(self) -> bool:
        """Whether the model may be used at all."""
        return bool(self.quality["may_be_used"])

    @property
    def segments_rank(self) -> bool:
        """Whether the segments' purchase rates rank users better than chance."""
        interval = self.rate["roc_auc_interval"]
        return interval is not None and interval[0] > 0.5

    @property
    def explained_drivers(self) -> list[Mapping[str, Any]]:
        """Drivers by the share that segments explain, without those of little impact."""
        known = [d for d in self.document["variance"]["drivers"] if d["explained"] is not None]
        largest = max((d["mean_absolute_impact"] for d in known), default=0.0)
        moving = [d for d in known if d["mean_absolute_impact"] >= SMALL_IMPACT * largest]
        return sorted(moving, key=lambda driver: -driver["explained"])

    @property
    def segments_describe(self) -> bool:
        """Whether segments explain more of some driver than random segments would."""
        # What random segments explain on average.
        chance = (len(self.names) - 1) / max(self.document["rows"] - 1, 1)
        explained = self.explained_drivers[0]["explained"] if self.explained_drivers else 0.0
        return len(self.names) > 1 and bool(explained >= SEGMENTS_TELL + chance)
