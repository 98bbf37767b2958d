"""Segment by band: who buys, and what to do."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from engine.bundle.manifest import BANDS
from engine.pages.blocks import Block, Cell, Text, table
from engine.pages.format import BAND_WORDS, EVERYBODY, bands_words, count, percent
from training.metrics.disclosure import MIN_USERS
from training.report.sections.segments import left_out
from training.report.subject import Figures, Subject

Place = tuple[int, str]
"""A segment's id, and a band."""

ALL = 0
"""In place of a segment's id: all users."""


def cells(subject: Subject) -> list[Block]:
    """Purchase rate by segment and band, and the action of the playbook."""
    names, measured, rows = groups(subject)
    found = {(cell["segment_id"], band): cell for cell in measured for band in cell["bands"]}
    actions: dict[Place, str] = {}
    for row in rows:
        place, action = (row["segment_id"], row["band"]), row.get("action") or ""
        known = actions.get(place)
        actions[place] = action if known in (None, action) else f"{known} / {action}"
    if not found and not actions:
        return []
    shown = {number: name for number, name in names.items() if any(number == n for n, _ in found)}
    blocks: list[Block] = [
        Text(
            "The segment decides the topic and the channel; the band decides whether, when and how much "
            "to spend."
            if subject.manifest.segments_usable
            else "The band alone decides: these segments show no groups to act on."
        )
    ]
    if shown:
        blocks += [
            table(
                f"Share of users who buy, number of {subject.counts} measured"
                + (", and the playbook’s action" if actions else ""),
                ("Segment", *_bands(subject.manifest.band_cuts)),
                _rows(shown, found, actions, subject.counts),
                words=range(len(BANDS) + 1),
                stacks=True,
            ),
            Text(
                f"Neighbouring bands are measured together where one has fewer than {MIN_USERS} users."
            ),
        ]
    blocks += left_out([name for number, name in names.items() if number not in shown])
    if actions:
        blocks.append(
            Text(
                "Actions are hypotheses to test against a control group, not proven effects. "
                "Users with a high score often buy without being contacted."
            )
        )
    return [*blocks, *_tests(names, rows)]


def groups(subject: Subject) -> tuple[dict[int, str], Sequence[Figures], Sequence[Figures]]:
    """Names by id, measured cells, and rows of the playbook: of segments, or of all users.

    Scores name no segment that is no better than chance, so all users are one group then.
    """
    cells, rows = subject.metrics.get("cells") or [], subject.playbook.get("rows") or []
    bands = subject.metrics.get("bands")
    if subject.manifest.segments_usable or bands is None:
        return subject.segment_names, cells, rows
    everybody = {"segment_id": ALL}
    return (
        {ALL: EVERYBODY},
        [{**b, **everybody} for b in bands],
        [{**r, **everybody} for r in rows],
    )


def _tests(names: Mapping[int, str], rows: Sequence[Figures]) -> list[Block]:
    """Where a test can work: one row for neighbouring bands with the same answer."""
    plans = {(row["segment_id"], row["band"]): row["test"] for row in rows if "test" in row}
    planned = groupby(plans.items(), lambda plan: (plan[0][0], plan[1]))
    lines = [
        (names[number], bands_words([band for (_, band), _ in found]), test)
        for (number, test), found in planned
    ]
    if not lines:
        return []
    title = "Where a test can show whether the action works"
    return [table(title, ("Segment", "Bands", "Test"), lines, words=range(3), stacks=True)]


def _bands(cuts: Sequence[float]) -> list[str]:
    """Each band with the probability at which it begins."""
    bounds = (f"under {percent(cuts[0])}", *(f"from {percent(cut)}" for cut in cuts))
    return [f"{BAND_WORDS[band]} ({bound})" for band, bound in zip(BANDS, bounds, strict=True)]


def _rows(
    names: Mapping[int, str],
    found: Mapping[Place, Figures],
    actions: Mapping[Place, str],
    counts: str,
) -> list[tuple[Cell, ...]]:
    top = max((cell["purchase_rate"] for cell in found.values()), default=0) or 1
    return [
        (
            Cell(name),
            *(
                _cell(found.get((number, b)), actions.get((number, b), ""), top, counts)
                for b in BANDS
            ),
        )
        for number, name in names.items()
    ]


def _cell(found: Figures | None, action: str, top: float, counts: str) -> Cell:
    if found is None:
        return Cell(f"fewer than {MIN_USERS} users", more=action)
    rate, size = found["purchase_rate"], f"{count(found['rows'])} {counts}"
    if len(found["bands"]) > 1:
        size = f"{bands_words(found['bands']).lower()}: {size}"
    return Cell(percent(rate), size, rate / top, action)
