"""Segment by band: who buys, and what to do."""

from collections.abc import Mapping, Sequence

from engine.bundle.manifest import BANDS
from training.format import BAND_WORDS, bands_words, count, percent
from training.metrics.disclosure import MIN_USERS
from training.report.blocks import Block, Cell, Text, table
from training.report.subject import Figures, Subject

Place = tuple[int, str]
"""A segment's id, and a band."""


def cells(subject: Subject) -> list[Block]:
    """Purchase rate by segment and band, and the action of the playbook."""
    found = {
        (cell["segment_id"], band): cell
        for cell in subject.metrics.get("cells") or []
        for band in cell["bands"]
    }
    actions = {
        (row["segment_id"], row["band"]): row.get("action") or ""
        for row in subject.playbook.get("rows") or []
    }
    if not found and not actions:
        return []
    blocks: list[Block] = [
        Text(
            "The segment decides the topic and the channel; the band decides whether, when and how much "
            "to spend."
            if subject.manifest.segments_usable
            else "The band alone decides: these segments show no groups to act on."
        ),
        table(
            f"Share of users who buy, number of {subject.counts} measured"
            + (", and the playbook’s action" if actions else ""),
            ("Segment", *_bands(subject.manifest.band_cuts)),
            _rows(subject, found, actions),
            words=range(len(BANDS) + 1),
            stacks=True,
        ),
        Text(
            f"Neighbouring bands are measured together where one has fewer than {MIN_USERS} users."
        ),
    ]
    if actions:
        blocks.append(
            Text(
                "Actions are hypotheses to test against a control group, not proven effects. "
                "Users with a high score often buy without being contacted."
            )
        )
    return blocks


def _bands(cuts: Sequence[float]) -> list[str]:
    """Each band with the probability at which it begins."""
    bounds = (f"under {percent(cuts[0])}", *(f"from {percent(cut)}" for cut in cuts))
    return [f"{BAND_WORDS[band]} ({bound})" for band, bound in zip(BANDS, bounds, strict=True)]


def _rows(
    subject: Subject, found: Mapping[Place, Figures], actions: Mapping[Place, str]
) -> list[tuple[Cell, ...]]:
    rates = [c["purchase_rate"] for c in found.values() if c.get("purchase_rate") is not None]
    top = max(rates, default=0) or 1
    return [
        (
            Cell(segment.name),
            *(
                _cell(
                    found.get((segment.id, band)),
                    actions.get((segment.id, band), ""),
                    top,
                    subject.counts,
                )
                for band in BANDS
            ),
        )
        for segment in subject.manifest.segments
    ]


def _cell(found: Figures | None, action: str, top: float, counts: str) -> Cell:
    if found is None:
        return Cell(f"fewer than {MIN_USERS} users", more=action)
    if not found["rows"]:
        return Cell("nobody", more=action)
    rate, size = found["purchase_rate"], f"{count(found['rows'])} {counts}"
    if len(found["bands"]) > 1:
        size = f"{bands_words(found['bands']).lower()}: {size}"
    return Cell(percent(rate), size, rate / top, action)
