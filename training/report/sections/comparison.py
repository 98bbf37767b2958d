"""Supervised against unsupervised: which tool answers which question."""

from training.report.blocks import Block, Cell, Figure, Text, bullets, table
from training.report.charts.spread import spread_chart
from training.report.subject import Figures, Subject
from training.report.words import count, decimal, whole_percent

_GAINS = ("0.05", "0.1", "0.2", "0.3")


def comparison(subject: Subject) -> list[Block]:
    """Supervised against unsupervised, with the plain answers."""
    found = subject.manifest.comparison
    if not found:
        return []
    blocks: list[Block] = []
    if found.get("answer"):
        blocks.append(
            table(
                "Which tool answers which question",
                ("Question", "Tool", "Why"),
                [(a["question"], a["tool"], a["why"]) for a in found["answer"]],
                words=(0, 1, 2),
            )
        )
    if found.get("scores"):
        blocks.append(
            table(
                f"Four ways to rank the same {count(found.get('rows'))} users",
                ("Ranking by", "ROC-AUC", "Log-loss", *(f"Top {_share_words(s)}" for s in _GAINS)),
                [
                    (
                        Cell(s["name"], s.get("words", "")),
                        decimal(s.get("roc_auc")),
                        decimal(s.get("log_loss")),
                        *(whole_percent((s.get("gains") or {}).get(g)) for g in _GAINS),
                    )
                    for s in found["scores"]
                ],
            )
        )
        blocks.append(
            Text("The last columns give the share of all buyers in the top of each list.")
        )
    if any(s.get("probability_p50") is not None for s in found.get("segments") or []):
        blocks.append(
            Figure(
                spread_chart(found["segments"], subject.segment_names, "spread-chart"),
                "The middle 80\u202f% of the users of each segment, with the median as a point. "
                "Where the bars overlap, the segment alone does not tell who buys.",
            )
        )
    blocks += _variance(found.get("variance") or {})
    blocks += bullets("Where neither helps", found.get("neither"))
    blocks += bullets("What would change these answers", found.get("would_change"))
    return blocks


def _variance(variance: Figures) -> list[Block]:
    if variance.get("probability") is None:
        return []
    words = (
        f"The segments explain {whole_percent(variance['probability'])} of the differences in "
        "purchase probability between users; the rest lies within segments."
    )
    return [Text(words)]


def _share_words(share: str) -> str:
    return whole_percent(float(share))
