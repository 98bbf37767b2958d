"""A backtest in tables and sentences that people can read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.format import count, decimal, interval, percent, percent_interval, points
from training.report.text import HEADLINE, titled, with_legend

MEANING = (
    "The control group is drawn by the id alone, so that without contacts both groups would differ by "
    "chance only. The difference is what the contacts did to the users of a cell, if the sender left "
    "the control group out and contacted the others; where nobody was contacted it shows chance.",
    "It does not say what a contact does to one user, nor what another action would have done. An "
    "interval that holds 0 shows no effect, which is not the same as none; of every 20 cells one misses "
    "0 by chance.",
)


def backtest_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The document of `figures.backtest`, line by line, for people."""
    yield from with_legend(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    dates = report["snapshots"]
    yield (
        f"{report['with_outcome']:,} of {report['scored']:,} scores have an outcome"
        + (f", snapshots {', '.join(dates)}" if dates else "")
        + f"; {report['without_outcome']:,} have none, and {report['without_score']:,} outcomes have "
        "no score"
    )
    left_out = sum(report["outcomes_left_out"].values())
    if left_out:
        yield f"outcomes left out, as their key cannot be used: {left_out:,}"
    untold = report["with_outcome"] - sum(bundle["rows"] for bundle in report["bundles"])
    if untold:
        yield f"not told, as their bundle scored too few users: {untold:,}"
    for bundle in report["bundles"]:
        yield from _bundle_lines(bundle)


def _bundle_lines(bundle: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"bundle {bundle['bundle_id']}: {bundle['users']:,} users, {bundle['rows']:,} rows"
    yield (
        f"said {percent(bundle['mean_probability'])} would buy, {percent(bundle['purchase_rate'])} did"
    )
    if not bundle["metrics"]:
        yield "all users bought, or none did: nothing can be said of the ranking"
    metrics = bundle["metrics"]
    yield from titled(
        "scores against outcomes",
        ("figure", "value", "95 %"),
        [
            (title, decimal(metrics[name]["value"], 4), interval(metrics[name]["interval"], 4))
            for name, title in HEADLINE
            if name in metrics
        ],
    )
    yield from titled(
        "deciles",
        ("decile", *_RATES, "of all buyers, summed"),
        [
            (*_rates(str(d["value"]), d), percent(d["cumulative_share_of_buyers"]))
            for d in bundle["deciles"]
        ],
    )
    yield from titled("bands", ("band", *_RATES), [_rates(b["value"], b) for b in bundle["bands"]])
    yield from titled(
        "segments",
        ("segment", *_RATES),
        [_rates(f"{s['value']} {s['name']}", s) for s in bundle["segments"]],
    )
    yield from _control_lines(bundle["control"])


_RATES = ("users", "said", "bought", "95 %", "lift")


def _rates(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    rows = found["rows"]
    return (
        name,
        count(rows),
        percent(found["mean_probability"]),
        percent(found["purchase_rate"]),
        percent_interval(found["interval"]),
        decimal(found["lift"], 2),
    )


def _control_lines(control: Mapping[str, Any]) -> Iterator[str]:
    yield from titled(
        "contacted against control group",
        ("segment", "band", "contacted", "bought", "control", "bought", "points", "95 %"),
        [
            (
                f"{c['segment_id']} {c['segment_name']}",
                c["band"],
                f"{c['contacted_rows']:,}",
                percent(c["contacted_rate"]),
                f"{c['control_rows']:,}",
                percent(c["control_rate"]),
                points(c["difference"]),
                _point_interval(c["interval"]),
            )
            for c in control["cells"]
        ],
    )
    yield (
        "cells that are not told, as a group in them is too small or would give a small one away: "
        f"{control['cells_not_told']}"
    )
    pooled = control["all_cells"]
    if pooled is not None:
        shown = [c for c in control["cells"] if c["shown"]]
        verdict = "an effect is shown" if pooled["shown"] else "no effect is shown"
        yield (
            f"all cells: {points(pooled['difference'])} points (95 % {_point_interval(pooled['interval'])}):"
            f" {verdict}; single cells that miss 0: {len(shown)} of {len(control['cells'])}"
        )
    yield from MEANING


def _point_interval(ends: Sequence[float]) -> str:
    return f"{points(ends[0])} to {points(ends[1])}"
