"""Past scores against outcomes, by bundle: ranking, calibration, lift and the control group."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import pluralize
from engine.pages.blocks import Block, Bullets, Section, Text, table
from engine.pages.format import (
    BAND_WORDS,
    bands_words,
    count,
    decimal,
    interval,
    percent,
    percent_interval,
    points,
    span,
)
from training.metrics.disclosure import MIN_USERS
from training.report.sections.campaigns import campaign_sections
from training.report.sections.figures import HEADLINE

MEANING = (
    "The control group is drawn by id alone, so without contacts both groups differ by chance only. "
    "The difference is the effect of the contacts, provided the sender contacted everyone else and "
    "left the control group out. Where nobody was contacted it shows chance.",
    "It does not show the effect on a single user, nor what another action would have done. An "
    "interval that includes 0 shows no effect, which is not proof of none; 1 cell in 20 excludes 0 "
    "by chance.",
)

CONTACTED = Text(
    "These users include the contacted ones, so no correction of probabilities is given: it would count "
    "what contacts did as an error of the scores."
)


def backtest_sections(report: Mapping[str, Any]) -> list[Section]:
    """The document of `figures.backtest` as sections: summary, campaigns, bundles."""
    contacted = "campaigns" in report
    return [
        Section("outcomes", "Scores and outcomes", [Bullets(tuple(_counts(report)))]),
        *campaign_sections(report),
        *(
            Section(
                f"bundle-{n}",
                f"Bundle {bundle['bundle_id']}",
                # Who was contacted is known from the logs, not from the control group alone.
                [*_bundle(bundle), *([CONTACTED] if contacted else _control(bundle["control"]))],
            )
            for n, bundle in enumerate(report["bundles"], start=1)
        ),
    ]


def _counts(report: Mapping[str, Any]) -> list[str]:
    dates = report["snapshots"]
    items = [
        f"{report['with_outcome']:,} of {report['scored']:,} scores have an outcome"
        + (f", snapshots {', '.join(dates)}." if dates else "."),
        f"{report['without_outcome']:,} scores have no outcome, and {report['without_score']:,} "
        "outcomes have no score.",
    ]
    unusable = sum(report["outcomes_left_out"].values())
    if unusable:
        items.append(f"Outcomes left out because their key cannot be used: {unusable:,}.")
    few = report["with_outcome"] - sum(bundle["rows"] for bundle in report["bundles"])
    if few:
        items.append(
            f"Scores left out because their bundle scored fewer than {MIN_USERS} users: {few:,}."
        )
    return items


def _bundle(bundle: Mapping[str, Any]) -> list[Block]:
    return [
        Text(
            f"{count(bundle['users'])} users, {count(bundle['rows'])} rows: "
            f"{percent(bundle['mean_probability'])} predicted to buy, "
            f"{percent(bundle['purchase_rate'])} bought.",
            strong=True,
        ),
        *_shift(bundle["shift"]),
        *_metrics(bundle["metrics"]),
        *_rates_tables(bundle),
    ]


def _shift(shift: Mapping[str, Any] | None) -> list[Block]:
    """By how much to correct probabilities until the next fit."""
    if shift is None:
        return []
    low, high = shift["interval"]
    if low <= 0 <= high:
        return [Text("The difference is within chance: probabilities need no correction.")]
    factor, least, most = (decimal(math.exp(by), 2) for by in (shift["log_odds"], low, high))
    return [
        Text(
            f"The difference is more than chance. Until the next fit, multiply the odds p / (1 - p) by "
            f"{factor} (95\u202f% interval {least} to {most}). Ranking, deciles and bands stay as they are."
        )
    ]


def _metrics(metrics: Mapping[str, Any]) -> list[Block]:
    if not metrics:
        return [Text("All users bought, or none did: the ranking cannot be measured.")]
    rows = [
        (title, decimal(metrics[name]["value"], 4), interval(metrics[name]["interval"], 4))
        for name, title in HEADLINE
        if name in metrics
    ]
    return [table("Scores against outcomes", ("Figure", "Value", "95\u202f% interval"), rows)]


_RATES = ("Users", "Predicted", "Bought", "95\u202f% interval", "Lift")


def _rates_tables(bundle: Mapping[str, Any]) -> list[Block]:
    deciles = [
        (span(d["values"]), *_rates(d), percent(d["cumulative_share_of_buyers"]))
        for d in bundle["deciles"]
    ]
    bands = [(bands_words(b["values"]), *_rates(b)) for b in bundle["bands"]]
    segments = [(s["name"], *_rates(s)) for s in bundle["segments"]]
    return [
        table("By decile", ("Decile", *_RATES, "Buyers, cumulative"), deciles),
        table("By band", ("Band", *_RATES), bands),
        table("By segment", ("Segment", *_RATES), segments),
    ]


def _rates(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        count(found["rows"]),
        percent(found["mean_probability"]),
        percent(found["purchase_rate"]),
        percent_interval(found["interval"]),
        decimal(found["lift"], 2),
    )


def _control(control: Mapping[str, Any]) -> list[Block]:
    cells, pooled = control["cells"], control["all_cells"]
    blocks: list[Block] = []
    if cells:
        blocks.append(
            table(
                "Contacted users against the control group",
                (
                    *("Segment", "Band", "Contacted", "Bought", "Control", "Bought"),
                    *("Difference, points", "95\u202f% interval"),
                ),
                [_cell(cell) for cell in cells],
                words=(0, 1),
            )
        )
    if control["cells_left_out"]:
        blocks.append(
            Text(
                f"Left out: {pluralize(control['cells_left_out'], 'cell')} with fewer than "
                f"{MIN_USERS} users in either group, or that would tell such a cell."
            )
        )
    if pooled is not None:
        shown = [cell for cell in cells if cell["shown"]]
        verdict = "an effect is shown" if pooled["shown"] else "no effect is shown"
        blocks.append(
            Text(
                f"All cells: {points(pooled['difference'])} points "
                f"(95\u202f% {_point_interval(pooled['interval'])}): {verdict}. Single cells whose "
                f"interval excludes 0: {len(shown)} of {len(cells)}.",
                strong=True,
            )
        )
    return [*blocks, *(Text(words) for words in MEANING)]


def _cell(cell: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        cell["segment_name"],
        BAND_WORDS[cell["band"]],
        count(cell["contacted_rows"]),
        percent(cell["contacted_rate"]),
        count(cell["control_rows"]),
        percent(cell["control_rate"]),
        points(cell["difference"]),
        _point_interval(cell["interval"]),
    )


def _point_interval(ends: Sequence[float]) -> str:
    return f"{points(ends[0])} to {points(ends[1])}"
