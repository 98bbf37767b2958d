"""What marketing's page says in words: segments, what to do by band, drivers, and how far to trust it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from engine.bundle.manifest import BANDS, Segment
from engine.bundle.playbook import NO_CHANNEL
from engine.bundle.reference import digitize
from engine.format import without_head
from engine.pages.format import BAND_WORDS, bands_words, count, percent, shown, whole_percent
from training.metrics.disclosure import MIN_USERS
from training.report.marketing.audience import few_digits
from training.report.sections.actions import groups
from training.report.subject import Figures, Subject

SHOWN_DRIVERS = 5
NOT_MEASURED = f"Fewer than {MIN_USERS} users were measured: follow the action in the score file."


@dataclass(frozen=True, slots=True)
class SegmentCard:
    """Who the users of a segment are, how many, and how many of them buy."""

    name: str
    sentence: str
    size: str
    buyers: str


@dataclass(frozen=True, slots=True)
class PlanCell:
    """What to do with a segment in a band, or in neighbouring bands measured together.

    Attributes:
        bands: How many.
        words: Their names, as `High and above`.
        action: Of the band that the average user of the cell is in.
        channel: How to reach these users; empty if they are not contacted.
        figures: How many users, and how many of them buy; empty if suppressed.
    """

    bands: int
    words: str
    action: str
    channel: str = ""
    figures: str = ""


def segment_cards(subject: Subject) -> list[SegmentCard]:
    """A card for each segment, in the order of the segments."""
    cells = _by_segment(subject.metrics.get("cells") or [])
    return [_card(segment, subject, cells.get(segment.id) or []) for segment in _segments(subject)]


def plan_header(cuts: Sequence[float]) -> list[tuple[str, str]]:
    """Each band with the probabilities it spans."""
    bounds = (f"under {percent(cuts[0])}", *(f"from {percent(cut)}" for cut in cuts))
    return [(BAND_WORDS[band], bound) for band, bound in zip(BANDS, bounds, strict=True)]


def plan_rows(subject: Subject) -> list[tuple[str, list[PlanCell]]]:
    """Each segment with its cells from the lowest band to the highest; none without a playbook.

    All users are one row where the segments show no groups.
    """
    names, measured, rows = groups(subject)
    actions = {(row["segment_id"], row["band"]): row for row in rows}
    if not actions:
        return []
    cells = _by_segment(measured)
    return [
        (name, _plan_cells(cells.get(number, ()), actions, subject))
        for number, name in names.items()
    ]


def driver_sentences(subject: Subject) -> list[str]:
    """What the score looks at most, a sentence for each feature."""
    found = [
        feature
        for feature in subject.drivers.get("features") or []
        if feature["mean_absolute_impact"] > 0
    ]
    return [_driver_sentence(feature, subject.titles) for feature in found[:SHOWN_DRIVERS]]


def calibration_sentence(subject: Subject) -> str:
    """How far predicted and actual purchase rates are apart; empty if not measured."""
    error = subject.metrics.get("calibration_error")
    if error is None:
        return ""
    rate = whole_percent(subject.metrics["base_rate"])
    return (
        f"Predicted and actual purchase rates differ by {100 * error:.1f} percentage points on "
        f"average; {rate} of the {subject.measured} measured bought."
    )


def size_words(subject: Subject, rows: float) -> str:
    """A number of measured rows as users of a night."""
    population = subject.playbook.get("population")
    scale = (population or subject.metrics["rows"]) / subject.metrics["rows"]
    return f"{count(few_digits(rows * scale))} users"


def _segments(subject: Subject) -> Sequence[Segment]:
    return subject.manifest.segments if subject.manifest.segments_usable else ()


def _by_segment(measured: Sequence[Figures]) -> dict[int, list[Figures]]:
    """The measured cells by segment id."""
    found: dict[int, list[Figures]] = {}
    for cell in measured:
        found.setdefault(cell["segment_id"], []).append(cell)
    return found


def _card(segment: Segment, subject: Subject, cells: Sequence[Figures]) -> SegmentCard:
    rows = sum(cell["rows"] for cell in cells)
    sentence = without_head(segment.sentence, segment.name)
    if not rows:
        return SegmentCard(segment.name, sentence, "", NOT_MEASURED)
    buyers = sum(cell["rows"] * cell["purchase_rate"] for cell in cells) / rows
    share = whole_percent(rows / subject.metrics["rows"])
    return SegmentCard(
        segment.name,
        sentence,
        f"{size_words(subject, rows)}, {share} of all",
        f"{_of_100(buyers)} buy",
    )


def _plan_cells(
    cells: Sequence[Figures], actions: Mapping[tuple[int, str], Figures], subject: Subject
) -> list[PlanCell]:
    """From the lowest band to the highest; bands that were measured together are one."""
    measured = {band: cell for cell in cells for band in cell["bands"]}
    return [
        PlanCell(len(bands := list(run)), bands_words(bands), NOT_MEASURED)
        if cell is None
        else _plan_cell(cell, actions, subject)
        for cell, run in groupby(BANDS, measured.get)
    ]


def _plan_cell(
    cell: Figures, actions: Mapping[tuple[int, str], Figures], subject: Subject
) -> PlanCell:
    row = actions[cell["segment_id"], _usual_band(cell, subject)]
    channel = row.get("channel") or NO_CHANNEL
    return PlanCell(
        len(cell["bands"]),
        bands_words(cell["bands"]),
        row["action"],
        "" if channel == NO_CHANNEL else channel,
        f"{size_words(subject, cell['rows'])}, {_of_100(cell['purchase_rate'])} buy",
    )


def _usual_band(cell: Figures, subject: Subject) -> str:
    """The band that the average user of a cell is in."""
    mean = np.array([cell["mean_probability"]], np.float32)
    return BANDS[int(digitize(subject.manifest.band_cuts, mean)[0])]


def _of_100(rate: float) -> str:
    number = 100 * rate
    return f"{number:.0f} of 100" if number >= 9.5 else f"{number:.1f} of 100"


def _driver_sentence(feature: Figures, titles: Mapping[str, str]) -> str:
    title = shown(titles.get(feature["name"], feature["name"]))
    direction = feature.get("direction")
    if direction == "raises":
        return f"{title}: the higher, the likelier a purchase."
    if direction == "lowers":
        return f"{title}: the higher, the less likely a purchase."
    if direction == "by value":
        most, least = (shown(feature[name]) for name in ("raises_most", "lowers_most"))
        return f"{title}: “{most}” makes a purchase likeliest, “{least}” least likely."
    return f"{title}: some values make a purchase likelier, others less likely."
