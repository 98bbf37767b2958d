"""The effect of each arm of a campaign, on all users and by segment, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.format import short
from engine.pages.drawing import (
    COOL,
    INK,
    MUTED,
    WIDTH,
    Rows,
    bare_axis,
    drawn,
    end,
    layer,
    number,
    text,
)
from engine.pages.format import shown, signed

UNITS = {"purchase": "points of the purchase rate", "value": "of value a user"}
"""What an effect on an outcome is measured in."""

STEP = 44
LONGEST_NAME = 34


def effects_chart(outcome: str, arms: Sequence[Mapping[str, Any]], name: str) -> str:
    """A point for each effect and a line for its 95 % interval; those on all users are bold.

    Args:
        outcome: `purchase` or `value`.
        arms: The effects of each arm on it, as in `campaigns.campaign_figures`.
        name: Of the picture.
    """
    rows = [
        {"n": STEP * (n + 0.75), **row}
        for n, row in enumerate(row for arm in arms for row in _rows(outcome, arm))
    ]
    whole, parts = ([row for row in rows if row["whole"] is wanted] for wanted in (True, False))
    ends = [0.0, *(row[side] for row in rows for side in ("low", "high"))]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    domain = [min(ends) - room, max(ends) + room]
    label = "datum.value ? format(datum.value, '+~g') : '0'"
    axis = bare_axis(tickCount=6, labelExpr=label, title=UNITS[outcome])
    x = number("low", scale={"domain": domain}, axis=axis)
    y = number("n", axis=None, scale=None)
    none = layer(
        "rule", [{"low": 0.0}], {"color": MUTED, "strokeDash": [4, 4], "strokeWidth": 1}, x=x
    )
    title = f"Effect on {outcome} with 95 % intervals: {UNITS[outcome]}"
    words = "; ".join(f"{row['name']}: {row['words']}" for row in rows) + "."
    layers = [none, *_marks(parts, x, y, bold=False), *_marks(whole, x, y, bold=True)]
    return drawn(layers, name, title, words, STEP * len(rows) + 12 + 56)


def _rows(outcome: str, arm: Mapping[str, Any]) -> Rows:
    """The effect of an arm on all users, then by segment if there are several."""
    segments = arm["segments"]["rows"]
    parts = [(" or ".join(row["segment_names"]), row) for row in segments]
    found = [("all users", arm), *(parts if len(parts) > 1 else [])]
    return [_row(outcome, arm["arm"], part, effect) for part, effect in found]


def _row(outcome: str, arm: str, part: str, effect: Mapping[str, Any]) -> dict[str, Any]:
    scale = 100 if outcome == "purchase" else 1
    middle = scale * effect["difference"]
    low, high = (scale * side for side in effect["interval"] or [effect["difference"]] * 2)
    reach = f" ({signed(low, 2)} to {signed(high, 2)})" if effect["interval"] else ""
    return {
        "whole": part == "all users",
        "name": short(shown(f"{arm}, {part}"), LONGEST_NAME),
        "low": low,
        "middle": middle,
        "high": high,
        "words": f"{signed(middle, 2)}{reach}",
    }


def _marks(rows: Rows, x: dict[str, Any], y: dict[str, Any], *, bold: bool) -> list[dict[str, Any]]:
    """Intervals, points, names to the left and figures to the right."""
    line = {"color": COOL, "strokeWidth": 6 if bold else 3, "opacity": 0.5}
    point = {"color": COOL, "filled": True, "size": 90 if bold else 45, "opacity": 1}
    name = {"color": INK, "align": "left", "dy": -15, "fontWeight": 650 if bold else 400}
    figure = {"color": MUTED, "align": "right", "dy": -15, "fontSize": 11}
    return [
        layer("rule", rows, line, y=y, x=x, x2=end("high")),
        layer("point", rows, point, y=y, x=number("middle")),
        layer("text", rows, name, y=y, x={"value": 0}, text=text("name")),
        layer("text", rows, figure, y=y, x={"value": WIDTH - 62}, text=text("words")),
    ]
