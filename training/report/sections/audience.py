"""What lists of each length reach, and what they bring at most."""

from collections.abc import Mapping, Sequence
from functools import partial

from engine.format import shown_name
from engine.pages.blocks import Block, Cell, Figure, TableBlock, Text, table
from engine.pages.format import count, percent, span, times, whole_percent
from training.metrics.audiences import AUDIENCE_SHARES
from training.metrics.money import FIGURES, Bins, audience, best_size, priced_bins
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


def money(subject: Subject) -> list[Block]:
    """What audiences of each size bring at most, if the playbook knows what an order brings."""
    playbook, histogram = subject.playbook, subject.metrics.get("histogram")
    if not (playbook.get("economics") and histogram):
        return []
    scale = playbook["population"] / subject.metrics["rows"]
    bins = priced_bins(histogram, playbook, subject.manifest.band_cuts, scale)
    if not len(bins.segment):
        return []
    by_segment = subject.manifest.segments_usable
    best = best_size(bins, bins.best_first)
    found = audience(bins, bins.best_first, best)
    currency = shown_name(playbook["currency"])
    return [
        Text(_best_words(found, playbook["population"], currency), strong=True),
        Text(
            "Orders are expected whether users are contacted or not. Revenue and profit are an upper bound "
            "of what contacting can win; only a control group shows what it wins. "
            f"{_assumptions(playbook, subject.titles)}"
        ),
        _sizes_table(bins, playbook["population"], currency),
        *([_segments_table(bins, subject.segment_names, currency)] if by_segment else []),
    ]


def _best_words(found: Figures, population: int, currency: str) -> str:
    if not found["users"]:
        return "No contact pays: it costs more than the whole margin of the orders to expect."
    return (
        f"The best audience is {count(found['users'])} of {count(population)} users and wins at most "
        f"{count(found['profit'])} {currency}. Any further contact costs more than the margin that it can "
        "win, or the playbook plans none."
    )


def _assumptions(playbook: Figures, titles: Mapping[str, str]) -> str:
    economics = playbook["economics"]
    feature, value = economics["order_value_feature"], economics["order_value"]
    if value is None:
        value = f"the mean of “{shown_name(titles.get(feature, feature))}” in its cell"
    else:
        value = f"{value:,g} {shown_name(playbook['currency'])}"
    return (
        f"An order counts with {value}, of which {percent(economics['margin'])} is margin. Cells that the "
        "playbook does not contact are left out."
    )


def _sizes_table(bins: Bins, population: int, currency: str) -> Block:
    """Audiences of the likeliest users, the best size among them."""
    order = bins.likeliest_first
    most, best = float(bins.figures[:, 0].sum()), best_size(bins, order)
    sizes = {share * population: "" for share in AUDIENCE_SHARES if share * population < most}
    sizes |= {most: "all contacted"}
    sizes |= {best: "largest profit"} if best else {}
    found = [
        (size / population, note, audience(bins, order, size))
        for size, note in sorted(sizes.items())
    ]
    return table(
        "What the likeliest users bring at most",
        ("Audience", *_headings(currency)),
        [(Cell(whole_percent(share), note), *_amounts(figures)) for share, note, figures in found],
        marked=[n for n, (_, note, _) in enumerate(found) if note == "largest profit"],
    )


def _segments_table(bins: Bins, names: Mapping[int, str], currency: str) -> Block:
    """The best audience of each segment."""
    rows = []
    for number, name in names.items():
        own = bins.of_segment(number)
        if len(own.segment):
            best = best_size(own, own.best_first)
            rows.append((name, *_amounts(audience(own, own.best_first, best))))
    return table(
        "The audience with the largest profit in each segment",
        ("Segment", *_headings(currency)),
        rows,
    )


def _headings(currency: str) -> tuple[str, ...]:
    return (
        "Users",
        "Expected orders",
        f"Revenue, {currency}",
        f"Contact cost, {currency}",
        f"Profit at most, {currency}",
    )


def _amounts(found: Figures) -> list[str]:
    return [count(found[name]) for name in FIGURES]
