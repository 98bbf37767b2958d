"""What lists of each length reach: gains, deciles and operating points."""

from collections.abc import Sequence
from functools import partial

from training.format import count, percent, span, times, whole_percent
from training.report.blocks import Block, Cell, Figure, TableBlock, Text, table
from training.report.charts.audience import deciles_chart, gains_chart, gains_words
from training.report.subject import Figures, Subject


def gains(subject: Subject) -> list[Block]:
    """Share of buyers by share of users, and purchase rates by decile."""
    m = subject.metrics
    parts, found = m.get("deciles") or [], m.get("gains") or []
    blocks: list[Block] = []
    if found:
        first = found[min(1, len(found) - 1)]
        finding = (
            f"The top {whole_percent(first['share'])} of users hold "
            f"{whole_percent(first['share_of_buyers'])} of the buyers."
        )
        reached = (
            "Share of all buyers reached when the likeliest users are contacted first. "
            f"{gains_words(found)}"
        )
        blocks += [
            Text(finding, strong=True),
            Figure(partial(gains_chart, parts, found, "gains-chart"), reached),
        ]
    if parts:
        draw = partial(deciles_chart, parts, m["base_rate"], "deciles-chart")
        caption = "Share of users who bought, by decile of the score."
        blocks.append(Figure(draw, caption, _deciles_table(parts, subject.counts)))
    return [*blocks, _gains_table(found)] if found else blocks


def _deciles_table(parts: Sequence[Figures], counts: str) -> TableBlock:
    return table(
        "Deciles of the score, 10 is the likeliest",
        ("Decile", counts.capitalize(), "Predicted", "Bought", "Lift", "Buyers, cumulative"),
        [
            (
                span(d["deciles"]),
                count(d["rows"]),
                percent(d["mean_probability"]),
                percent(d["purchase_rate"]),
                times(d["lift"]),
                percent(d["cumulative_share_of_buyers"]),
            )
            for d in parts
        ],
    )


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
            "A larger audience reaches more buyers and wastes more contacts. “Wasted” counts users "
            "who did not buy; whether a contact would have changed that is unknown."
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
