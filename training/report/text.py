"""An evaluation in tables that people can read."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.bundle.evaluation import Evaluation
from engine.explain.drift import findings
from engine.format import shown_name
from training.compare.evidence import Difference
from training.format import THIN, UNKNOWN, count, decimal, interval, percent
from training.metrics.disclosure import MIN_CELL

HEADLINE = (
    ("roc_auc", "ROC-AUC"),
    ("pr_auc", "PR-AUC"),
    ("log_loss", "log-loss"),
    ("brier", "Brier score"),
    ("calibration_error", "calibration error"),
    ("f1", "F1"),
    ("precision", "precision"),
    ("recall", "recall"),
)
AGAINST_TRUTH = (
    ("best_possible_auc", "best possible ROC-AUC"),
    ("share_of_best_auc", "share of it reached"),
    ("best_possible_log_loss", "best possible log-loss"),
    ("share_of_best_log_loss", "share of its gain reached"),
    ("best_possible_f1", "best possible F1"),
)

NUMBERS = re.compile(rf"(?:[-−+±\d,.%– {THIN}]| to )*")

INDENT = "  "
LEGEND = (
    f"{UNKNOWN} stands for a figure that there is not, or that would tell about fewer than "
    f"{MIN_CELL} users."
)


def evaluation_lines(report: Evaluation) -> Iterator[str]:
    """An evaluation line by line, for people."""
    yield from with_legend(_lines(report))


def _lines(report: Evaluation) -> Iterator[str]:
    metrics, data, segments = report.metrics, report.data, report.segments
    left_out = sum(data["rows_left_out"].values())
    yield f"bundle {report.bundle_id} on {metrics['rows']:,} rows of {shown_name(data['what'])}"
    if left_out:
        yield f"rows left out: {left_out:,}"
    yield from report.cautions
    yield report.quality["sentence"]
    yield from (f"  {reason}" for reason in report.quality["reasons"])
    yield from _headline(metrics)
    yield from _audiences(metrics)
    yield from titled(
        "slices",
        ("slice", "value", "users", "bought", "said", "ROC-AUC", "95 %"),
        [_slice(part) for part in metrics["slices"]],
    )
    yield from _cells(metrics["cells"], segments["names"])
    yield from _comparison(report.comparison)
    yield from _drift(report.drift)
    yield ""
    yield f"silhouette of {segments['silhouette_rows']:,} users: {decimal(segments['silhouette'], 4)}"


def _audiences(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What lists of several lengths reach, and what each tenth of the users does."""
    yield from titled(
        "audiences, the highest scores first",
        ("share", "users", "score from", "buyers", "of all", "wasted", "buy", ""),
        [_operating_point(point) for point in metrics["operating_points"]],
    )
    yield from titled(
        "deciles",
        ("decile", "users", "said", "bought", "lift", "of all buyers, summed"),
        [
            (
                str(d["decile"]),
                count(d["rows"]),
                percent(d["mean_probability"]),
                percent(d["purchase_rate"]),
                decimal(d["lift"], 2),
                percent(d["cumulative_share_of_buyers"]),
            )
            for d in metrics["deciles"]
        ],
    )


def _cells(cells: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[str]:
    yield from titled(
        "segments and bands",
        ("segment", "", "band", "users", "bought", "said"),
        [
            (
                str(c["segment_id"]),
                shown_name(names[str(c["segment_id"])]),
                c["band"],
                count(c["rows"]),
                percent(c["purchase_rate"]),
                percent(c["mean_probability"]),
            )
            for c in cells
        ],
    )


def _comparison(comparison: Mapping[str, Any]) -> Iterator[str]:
    """The model against the segments: figures, weeks, and the plain answers."""
    if not comparison.get("scores"):
        return
    yield from titled(
        "model against segments",
        ("", "ROC-AUC", "95 %", "against the model", "log-loss", "buyers in the top 10 %"),
        [
            (
                way["name"],
                decimal(way["roc_auc"], 4),
                interval(way["roc_auc_interval"], 4),
                difference(way, "roc_auc"),
                decimal(way["log_loss"], 4),
                percent(way["gains"]["0.1"]),
            )
            for way in comparison["scores"]
        ],
    )
    weeks = comparison["stability"].get("weeks", [])
    names = {way["key"]: way["name"] for way in comparison["scores"]}
    if weeks:
        yield from titled(
            "ROC-AUC by date",
            ("date", "rows", "bought", *names.values()),
            [
                (
                    week["snapshot"],
                    count(week["rows"]),
                    percent(week["purchase_rate"]),
                    *(decimal(week["roc_auc"][key], 4) for key in names),
                )
                for week in weeks
            ],
        )
    yield ""
    for answer in comparison["answer"]:
        yield f"{answer['question']} {answer['tool']}: {answer['why']}."
    yield from (f"Neither: {text}." for text in comparison["neither"])
    yield from (f"Would change this: {text.rstrip('.')}." for text in comparison["would_change"])


def difference(way: Mapping[str, Any], figure: str, decimals: int = 4) -> str:
    """How far a way is from the model alone, and half the 95 % interval of that."""
    if way["difference"] is None:
        return ""
    return Difference(way["difference"][figure], way["standard_error"][figure]).words(decimals)


def _drift(drift: Mapping[str, Any]) -> Iterator[str]:
    """Scores, segments, and the features that have moved since training."""
    moved = [feature for feature in drift["features"] if feature["level"] != "none"]
    whole = [{"name": name, **drift[name]} for name in ("score", "segments")]
    rows = [
        (shown_name(entry["name"]), decimal(entry["psi"], 3), entry["level"])
        for entry in whole + moved
    ]
    yield from titled("drift since training", ("", "PSI", "level"), rows)
    yield from (f"  {words}" for level in ("alarm", "warn") for words in findings(drift, level))


def with_legend(lines: Iterable[str]) -> Iterator[str]:
    """Lines with tables, and at their end what a dash means, where a table has one."""
    unknown = False
    for line in lines:
        yield line
        unknown = unknown or (line.startswith(INDENT) and UNKNOWN in line.split())
    if unknown:
        yield LEGEND


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns side by side: words to the left, columns of nothing but numbers to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, (title, *cells))) for title, cells in zip(head, columns, strict=True)]
    numbers = [all(NUMBERS.fullmatch(cell) for cell in cells) for cells in columns]
    for row in (head, *rows):
        cells = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numbers, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _headline(metrics: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (title, decimal(metrics[name], 4), interval(metrics["intervals"][name], 4))
        for name, title in HEADLINE
    ]
    rows += [(title, decimal(metrics[n], 4), "") for n, title in AGAINST_TRUTH if n in metrics]
    rows += [
        ("purchase rate", decimal(metrics["base_rate"], 4), ""),
        ("threshold", decimal(metrics["threshold"], 4), ""),
    ]
    yield from titled("metrics", ("", "", "95 % interval"), rows)
    yield from (f"  {reason}" for reason in metrics["withheld"])


def titled(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table under its title; nothing where it has no rows."""
    # A table without categories has no slices.
    if not rows:
        return
    yield ""
    yield title
    yield from (f"{INDENT}{line}" for line in table(head, rows))


def _operating_point(point: Mapping[str, Any]) -> tuple[str, ...]:
    reached, wasted = point["buyers_reached"], point["contacts_wasted"]
    return (
        percent(point["audience_share"]),
        count(point["users"]),
        decimal(point["probability_from"], 4),
        decimal(reached, 0),
        percent(point["share_of_buyers"]),
        decimal(wasted, 0),
        percent(point["precision"]),
        point.get("name", ""),
    )


def _slice(part: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        shown_name(part["label"]),
        shown_name(part["value"]),
        count(part["rows"]),
        percent(part["base_rate"]),
        percent(part["mean_probability"]),
        decimal(part["roc_auc"], 3),
        interval(part["roc_auc_interval"], 3),
    )
