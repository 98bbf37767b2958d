"""Whom a list of each length holds: gains, deciles and operating points."""

from collections.abc import Sequence
from functools import partial

from training.format import count, percent, times, whole_percent
from training.report.blocks import Block, Cell, Figure, Text, table
from training.report.charts.audience import deciles_chart, gains_chart, gains_words
from training.report.subject import Figures, Subject


def gains(subject: Subject) -> list[Block]:
    """Share of buyers by share of users, and purchase rates by decile."""
    m = subject.metrics
    parts, found = m.get("deciles") or [], m.get("gains") or []
    known = [p for p in found if p["share_of_buyers"] is not None]
    blocks: list[Block] = []
    if known:
        first = known[min(1, len(known) - 1)]
        finding = (
            f"The top {whole_percent(first['share'])} of users hold "
            f"{whole_percent(first['share_of_buyers'])} of the buyers."
        )
        reached = (
            "Share of all buyers reached when the likeliest users are contacted first. "
            f"{gains_words(known)}"
        )
        blocks += [
            Text(finding, strong=True),
            Figure(partial(gains_chart, parts, known, "gains-chart"), reached),
        ]
    if any(part["purchase_rate"] is not None for part in parts):
        picture = partial(deciles_chart, parts, m["base_rate"], "deciles-chart")
        blocks.append(Figure(picture, "Share of users who bought, by decile of the score."))
    return [*blocks, _gains_table(found)] if found else blocks


def _gains_table(found: Sequence[Figures]) -> Block:
    return table(
        "What the likeliest users hold",
        ("Users contacted", "Share of buyers", "Purchase rate", "Lift"),
        [
            (
                f"top {whole_percent(p['share'])}",
                Cell(percent(p["share_of_buyers"]), bar=p["share_of_buyers"]),
                percent(p["purchase_rate"]),
                times(p["lift"]),
            )
            for p in found
        ],
    )


def operating_points(subject: Subject) -> list[Block]:
    """Audience sizes and what each of them reaches."""
    parts = subject.metrics.get("operating_points") or []
    if not parts:
        return []
    rows = [
        (
            Cell(whole_percent(p["audience_share"]), "the threshold" if p.get("name") else ""),
            count(p["users"]),
            percent(p["probability_from"]),
            count(p["buyers_reached"]),
            Cell(percent(p["share_of_buyers"]), bar=p["share_of_buyers"]),
            count(p["contacts_wasted"]),
            percent(p["precision"]),
        )
        for p in parts
    ]
    return [
        Text(
            "A wider audience reaches more buyers and wastes more contacts. “Wasted” counts users "
            "who did not buy; whether a contact would have changed that is not known."
        ),
        table(
            "What each audience size reaches, the likeliest users first",
            (
                *("Audience", subject.counts.capitalize(), "From probability", "Buyers reached"),
                *("Share of buyers", "Contacts wasted", "Purchase rate"),
            ),
            rows,
            marked=[n for n, p in enumerate(parts) if p.get("name")],
        ),
    ]
