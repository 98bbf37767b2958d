"""What a purchase is worth and a contact costs, as far as somebody said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.bundle.playbook import MAX_MONEY
from engine.errors import BundleError, UsageError, pluralize, quoted
from training.playbook.rules import load_rules


@dataclass(frozen=True, slots=True)
class Money:
    """What policies are judged by: profit if there are economics, else value, else purchases.

    Attributes:
        value: The column of the outcomes that holds what a user spent; None if there is none.
        margin: The share of an order's value that is left after its own costs; None without economics.
        order_value: The value of an order, for outcomes without `value`.
        currency: Of costs and profits.
        channels: The cost of one contact by channel.
        arms: That by arm, where it is not the cost of a channel.
    """

    value: str | None = None
    margin: float | None = None
    order_value: float | None = None
    currency: str = ""
    channels: Mapping[str, float] = field(default_factory=dict)
    arms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.margin is not None and self.value is None and self.order_value is None:
            raise UsageError(
                "--playbook: its order_value is a feature, which outcomes do not have. Name the column "
                "with what users spent: --value COLUMN"
            )
        wrong = [arm for arm, cost in self.arms.items() if not 0 <= cost <= MAX_MONEY]
        if wrong:
            raise UsageError(
                f"--cost: the cost of {quoted(wrong)} must be from 0 to {MAX_MONEY:,}."
            )
        if self.margin is None and self.arms:
            raise UsageError(
                "--cost: costs are set against a margin. Give a playbook with [economics]: --playbook TOML"
            )

    @property
    def outcome(self) -> str:
        """What is measured: `value` or `purchase`."""
        return "purchase" if self.value is None else "value"

    @property
    def unit(self) -> str:
        """What policies are judged by."""
        if self.margin is not None:
            return "profit"
        return "purchases" if self.value is None else "value"

    @property
    def worth(self) -> float:
        """What one unit of the outcome is worth."""
        if self.margin is None:
            return 1.0
        return self.margin * (1.0 if self.value is not None else float(self.order_value or 0))

    def channel(self, arm: str) -> str | None:
        """The channel of an arm: that of the same name, or the only one; None if nobody says."""
        if arm in self.channels:
            return arm
        return next(iter(self.channels)) if len(self.channels) == 1 else None

    def check_arms(self, arms: Sequence[str]) -> None:
        """Check that the arms of `--cost` are among these.

        Raises:
            UsageError: One is not.
        """
        unknown = [arm for arm in self.arms if arm not in arms]
        if unknown:
            raise UsageError(
                f"--cost: the logs contact no scored user in {pluralize(len(unknown), 'arm')}: "
                f"{quoted(unknown)}. There are {quoted(arms)}."
            )

    def costs(self, arms: Sequence[str]) -> list[float]:
        """The cost of a contact in each arm; 0 without economics.

        Raises:
            BundleError: There are economics, but nothing says what an arm costs.
        """
        if self.margin is None:
            return [0.0] * len(arms)
        known = {arm: self.arms.get(arm, self.channels.get(str(self.channel(arm)))) for arm in arms}
        missing = [arm for arm, cost in known.items() if cost is None]
        if missing:
            raise BundleError(
                f"playbook: nothing says what a contact costs in {pluralize(len(missing), 'arm')}: "
                f"{quoted(missing)}; [economics] has the channels {quoted(self.channels)}. Add: "
                f"--cost {missing[0]!r} AMOUNT"
            )
        return [cost for cost in known.values() if cost is not None]


def read_money(playbook: Path | None, value: str | None, arms: Mapping[str, float]) -> Money:
    """What the economics of a playbook say; without any, no profit is known.

    Args:
        playbook: The TOML of the current playbook.
        value: The column of the outcomes that holds what a user spent.
        arms: The cost of one contact by arm, as far as it is not that of a channel.

    Raises:
        BundleError: The playbook is missing or not valid.
        UsageError: The value of an order is a feature, and no column is named; a cost is out of
            range; or there are costs without economics.
    """
    rules = load_rules(playbook)
    if (economics := rules.economics) is None:
        return Money(value, arms=arms)
    return Money(
        value,
        margin=economics.margin,
        order_value=economics.order_value,
        currency=rules.currency,
        channels=economics.cost_per_contact,
        arms=arms,
    )
