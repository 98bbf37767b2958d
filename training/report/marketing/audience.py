"""The figures of the audience slider: users, buyers and money from each probability on."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.bundle.manifest import BANDS, Segment
from engine.bundle.playbook import CellEconomics, cell_economics
from engine.pages.format import EVERYBODY, shown
from training.metrics.disclosure import MIN_USERS
from training.metrics.money import bin_bands
from training.report.subject import Figures, Subject

STEPS = 5
"""Stops of the slider in each bin."""

START_SHARE = 0.1
"""The page opens with the likeliest users that make up this share."""

SIGNIFICANT_DIGITS = 3
DECIMALS = 4

Values = dict[int | None, np.ndarray]
"""By segment id, None for all users: the margin of a buyer and the cost of a contact, [2, bins]."""


@dataclass(frozen=True, slots=True)
class Choice:
    """All users, or one segment; the figures are those of the measured users by bin.

    Attributes:
        name: As the page shows it.
        option: What chooses it on the command line of `engine audience`.
        users: None of fewer than 20 users, as merged bins are counted in one.
        buyers: The sum of the probabilities.
        margin: What the orders of these buyers earn; None if the playbook has no economics.
        cost: What contacting these users costs; None likewise.
    """

    name: str
    option: str
    users: tuple[float, ...]
    buyers: tuple[float, ...]
    margin: tuple[float, ...] | None
    cost: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Audience:
    """All choices, and where the slider starts.

    Attributes:
        choices: All users first.
        width: Of a bin of the probability.
        scale: Users of a night for each measured one.
        nightly: Whether the scale is known; otherwise the users are the measured ones.
        currency: Of margin and cost; empty without money.
        start: The first stop of the slider, in steps.
        steps: Stops in each bin.
        fewest: The fewest measured users that a figure may be about.
    """

    choices: tuple[Choice, ...]
    width: float
    scale: float
    nightly: bool
    currency: str
    start: int
    steps: int = STEPS
    fewest: int = MIN_USERS

    @property
    def stops(self) -> int:
        """The number of stops of the slider."""
        return len(self.choices[0].users) * self.steps

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values for the script of the page."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reached:
    """What the users from a probability on amount to, in a night.

    Attributes:
        probability: The lowest in the audience.
        users: This and the other figures are rounded to `SIGNIFICANT_DIGITS`; shares are not.
        share_of_users: Of those that the choice has.
        buyers: Those to expect, contacted or not.
        share_of_buyers: Of the buyers among all users.
        margin: What their orders earn; None without economics.
        cost: What contacting all of them costs; None without economics.
    """

    probability: float
    users: float
    share_of_users: float
    buyers: float
    share_of_buyers: float
    margin: float | None
    cost: float | None

    @property
    def profit(self) -> float | None:
        """What is left of the margin after the contacts, if every order came from them."""
        if self.margin is None or self.cost is None:
            return None
        return few_digits(self.margin - self.cost)


def audience(subject: Subject) -> Audience | None:
    """What the slider shows; None if nothing was measured or the scores must not be used."""
    histogram = subject.metrics.get("histogram")
    if histogram is None or not any(histogram["rows"]) or not subject.quality["may_be_used"]:
        return None
    segments = {segment.id: segment for segment in subject.manifest.segments}
    counted = [part for part in histogram["segments"] if any(part["rows"])]
    values = _values(subject, histogram, counted)
    parts = [_segment_choice(segments[part["segment_id"]], part, values) for part in counted]
    everybody = _choice(EVERYBODY, "", histogram, values.get(None))
    by_segment = parts if subject.manifest.segments_usable and parts[1:] else ()
    population = subject.playbook.get("population")
    measured = subject.metrics["rows"]
    return Audience(
        (everybody, *by_segment),
        histogram["width"],
        scale=(population or measured) / measured,
        nightly=bool(population),
        currency=subject.playbook["economics"]["currency"] if values else "",
        start=_start(everybody.users),
    )


def reached(found: Audience, choice: int, stop: int) -> Reached:
    """What a stop of the slider reaches.

    Args:
        found: The figures.
        choice: Its position among the choices.
        stop: The position of the slider, in steps from a probability of 0.
    """
    part, everybody = found.choices[choice], found.choices[0]
    users = _above(part.users, stop)
    buyers = _above(part.buyers, stop)
    return Reached(
        probability=stop * found.width / found.steps,
        users=few_digits(users * found.scale),
        share_of_users=users / sum(part.users),
        buyers=few_digits(buyers * found.scale),
        share_of_buyers=buyers / sum(everybody.buyers),
        margin=None if part.margin is None else few_digits(_above(part.margin, stop) * found.scale),
        cost=None if part.cost is None else few_digits(_above(part.cost, stop) * found.scale),
    )


def few_digits(number: float) -> float:
    """A figure with the digits that matter."""
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


def bars(values: Sequence[float], width: float, height: float) -> str:
    """The bars of a histogram as one SVG path, the highest as high as the picture.

    Args:
        values: The users of each bin.
        width: Of the picture.
        height: Of the picture.
    """
    step, top = width / len(values), max(values) or 1
    return "".join(
        f"M{n * step:.1f} {height:.1f}h{step - 1:.1f}v{-height * value / top:.1f}h{1 - step:.1f}z"
        for n, value in enumerate(values)
        if value
    )


def _segment_choice(segment: Segment, part: Figures, values: Values) -> Choice:
    name = shown(segment.name)
    given = segment.name if name == segment.name else str(segment.id)
    option = f"--segment {shlex.quote(given)} "
    return _choice(name, option, part, values.get(segment.id))


def _choice(name: str, option: str, part: Figures, value: np.ndarray | None) -> Choice:
    users, buyers = np.array(part["rows"]), np.array(part["expected_buyers"])
    return Choice(
        name,
        option,
        _plain(users),
        _plain(buyers),
        margin=None if value is None else _plain(buyers * value[0]),
        cost=None if value is None else _plain(users * value[1]),
    )


def _values(subject: Subject, histogram: Figures, counted: Sequence[Figures]) -> Values:
    """What a buyer earns and a contact costs by bin, in each segment and among all users.

    Empty if the playbook does not know the value of an order in every cell that it contacts.
    """
    if not subject.playbook.get("economics") or not counted:
        return {}
    cells, cuts = cell_economics(subject.playbook), subject.manifest.band_cuts
    if any(cell.contacted and cell.order_value is None for cell in cells.values()):
        return {}
    margin = subject.playbook["economics"]["margin"]
    bands = [bin_bands(part, cuts) for part in counted]
    value = [
        np.transpose([_value(cells[part["segment_id"], band], margin) for band in BANDS])
        for part in counted
    ]
    numbers = [part["segment_id"] for part in counted]
    found: Values = {n: v[:, band] for n, v, band in zip(numbers, value, bands, strict=True)}
    # Of all users a bin has the mean of the segments, each with its users in the band.
    every = bin_bands(histogram, cuts)
    users = [
        np.bincount(band, part["rows"], minlength=len(BANDS))[every]
        for band, part in zip(bands, counted, strict=True)
    ]
    weight = np.array(users) + np.finfo(float).tiny
    found[None] = np.average(
        [v[:, every] for v in value], axis=0, weights=np.stack([weight] * 2, axis=1)
    )
    return found


def _value(cell: CellEconomics, margin: float) -> tuple[float, float]:
    """Where the playbook contacts nobody, nothing is won and nothing paid."""
    if not cell.contacted:
        return 0.0, 0.0
    return margin * (cell.order_value or 0.0), cell.cost or 0.0


def _start(users: Sequence[float]) -> int:
    """The highest stop from which on `START_SHARE` of all users are reached."""
    due = START_SHARE * sum(users)
    stops = range(len(users) * STEPS - 1, 0, -1)
    return next((stop for stop in stops if _above(users, stop) >= due), 0)


def _above(values: Sequence[float], stop: int) -> float:
    """The sum of the bins above a stop; of its own bin the part above it."""
    first, part = divmod(stop, STEPS)
    return sum(values[first:]) - values[first] * part / STEPS


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DECIMALS) for value in values)
