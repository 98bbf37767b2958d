"""Score against segments: which tool answers which question."""

from collections.abc import Mapping, Sequence
from functools import partial

from engine.pages.blocks import Block, Cell, Figure, Text, bullets, table
from engine.pages.format import (
    UNKNOWN,
    count,
    decimal,
    interval,
    percent,
    sentence,
    times,
    whole_percent,
)
from training.compare.evidence import Difference
from training.report.charts.spread import spread_chart
from training.report.sections.drivers import SHOWN_DRIVERS
from training.report.sections.segments import left_out
from training.report.subject import Figures, Subject


def comparison(subject: Subject) -> list[Block]:
    """Score against segments, with answers in plain words."""
    found = subject.comparison
    if not found.get("scores"):
        return []
    return [
        *_answers(found),
        *_ways(found),
        *(_by_segment(found, subject) if subject.manifest.segments_usable else []),
        *_variance(found.get("variance") or {}, subject.titles),
        *_weeks(found),
        *bullets("Where neither helps", found.get("neither")),
        *bullets("What would change these answers", found.get("would_change")),
    ]


def _by_segment(found: Figures, subject: Subject) -> list[Block]:
    segments = found.get("segments") or []
    return [*_spread(segments, subject), *_inside(segments, subject)]


def _answers(found: Figures) -> list[Block]:
    if not found.get("answer"):
        return []
    return [
        table(
            "Which tool answers which question",
            ("Question", "Tool", "Why"),
            [(a["question"], a["tool"], sentence(a["why"])) for a in found["answer"]],
            words=(0, 1, 2),
            stacks=True,
        )
    ]


def _ways(found: Figures) -> list[Block]:
    """How well each strategy ranks the users, and how far it is from the model alone."""
    shares = list(found["scores"][0]["gains"])
    return [
        table(
            f"{len(found['scores'])} ways to rank the same users",
            (
                *("Ranking by", "ROC-AUC", "Against the model", "Log-loss"),
                *(f"Top {whole_percent(float(s))}" for s in shares),
            ),
            [
                (
                    Cell(s["name"], s.get("words", "")),
                    Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                    _against_model(s),
                    decimal(s.get("log_loss"), 4),
                    *(whole_percent(s["gains"][share]) for share in shares),
                )
                for s in found["scores"]
            ],
        ),
        Text(
            "“Against the model” is the difference in ROC-AUC from the purchase model alone, ± "
            "half its 95\u202f% interval, on the same users: a smaller difference may be "
            "chance. The last columns give the share of all buyers in the top of each list."
        ),
    ]


def _spread(found: Sequence[Figures], subject: Subject) -> list[Block]:
    if not any(s.get("probability_p50") is not None for s in found):
        return []
    return [
        Figure(
            partial(spread_chart, found, subject.segment_names, "spread-chart"),
            "The middle 80\u202f% of the users of each segment, with the median as a point. "
            "Where the bars overlap, the segment alone does not predict who buys.",
        )
    ]


def _against_model(way: Figures) -> str:
    return Difference.from_model(way, "roc_auc").words(4) if way.get("difference") else UNKNOWN


def _inside(found: Sequence[Figures], subject: Subject) -> list[Block]:
    """How well the score ranks the users of one segment."""
    measured = [s for s in found if s.get("purchase_rate") is not None]
    if not measured:
        return []
    names = subject.segment_names
    return [
        table(
            "How the score ranks inside each segment",
            (
                "Segment",
                subject.counts.capitalize(),
                "Bought",
                "ROC-AUC inside",
                "Lift of its top tenth",
            ),
            [
                (
                    Cell(names.get(s["segment_id"], str(s["segment_id"]))),
                    count(s["rows"]),
                    percent(s.get("purchase_rate")),
                    Cell(decimal(s.get("roc_auc")), interval(s.get("roc_auc_interval"))),
                    times(s.get("top_decile_lift")),
                )
                for s in measured
            ],
        ),
        *left_out([names[s["segment_id"]] for s in found if s not in measured]),
    ]


def _variance(variance: Figures, titles: Mapping[str, str]) -> list[Block]:
    """What segments explain of the differences between users (eta squared)."""
    if variance.get("probability") is None:
        return []
    words = (
        f"The segments explain {whole_percent(variance['probability'])} of the differences in "
        "purchase probability between users; the rest lies within segments."
    )
    blocks: list[Block] = [Text(words)]
    drivers = variance["drivers"][:SHOWN_DRIVERS]
    if drivers:
        blocks.append(
            table(
                "How much of each driver's impact the segments explain",
                ("Driver", "Mean impact", "Explained by segments"),
                [
                    (
                        Cell(titles.get(d["name"], d["name"])),
                        decimal(d["mean_absolute_impact"]),
                        Cell(whole_percent(d["explained"]), bar=d["explained"]),
                    )
                    for d in drivers
                ],
            )
        )
    return blocks


def _weeks(found: Figures) -> list[Block]:
    """How each strategy does by date, and how many users change segment or band in between."""
    stability = found.get("stability") or {}
    blocks: list[Block] = []
    if stability.get("weeks"):
        names = {s["key"]: s["name"] for s in found["scores"]}
        weeks = [
            (
                week["snapshot"],
                count(week["rows"]),
                percent(week["purchase_rate"]),
                *(decimal(week["roc_auc"][key]) for key in names),
            )
            for week in stability["weeks"]
        ]
        blocks.append(table("ROC-AUC by date", ("Date", "Users", "Bought", *names.values()), weeks))
    if stability.get("changes"):
        changes = [
            (
                f"{c['from']} to {c['to']}",
                count(c["users"]),
                percent(c["segment_changed"]),
                percent(c["band_changed"]),
                decimal(c["agreement"], 2),
            )
            for c in stability["changes"]
        ]
        header = ("Dates", "Users", "Change segment", "Change band", "Agreement of segments")
        words = "Agreement is the adjusted Rand index: 1 is the same segments, 0 is chance."
        blocks += [table("Users who move from one date to the next", header, changes), Text(words)]
    return blocks
