"""How the impact of each feature runs along its values."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from engine.format import short
from engine.pages.drawing import (
    COOL,
    INK,
    MUTED,
    WARM,
    Layer,
    Rows,
    drawn,
    end,
    layer,
    number,
    text,
)
from engine.pages.format import odds, plain, shown

PANEL_WIDTH = 205
_HEIGHT, _BAR_HEIGHT = 132, 58
_TITLE_LETTERS, _TITLE_LINES, _LINE_HEIGHT = 26, 2, 16
_BARS_TOP = 20 + _TITLE_LINES * _LINE_HEIGHT + 4
_SHOWN_BARS = 30
_PLACE = {name: number(name, scale=None, axis=None) for name in ("x", "y")}
_TEXT_LOOKS = ((INK, "left", 12, 600), (MUTED, "left", 11, 400), (MUTED, "right", 11, 400))


def dependence_chart(feature: Mapping[str, Any], titles: Mapping[str, str], name: str) -> str:
    """A small picture of how the impact of a feature runs along its values."""
    parts = _largest(feature["dependence"])
    title = shown(titles.get(feature["name"], feature["name"]))
    bars = _bars(parts)
    zeros: Rows = [{"x": 0, "x2": PANEL_WIDTH, "y": _BARS_TOP + _zero(parts)}]
    texts = _texts(parts, title)
    layers = [
        *(
            layer(
                "rect",
                [bar for bar in bars if bar["color"] == color],
                {"color": color},
                **_PLACE,
                x2=end("x2"),
                y2=end("y2"),
            )
            for color in (COOL, WARM, MUTED)
        ),
        layer("rule", zeros, {"color": MUTED, "strokeWidth": 1}, **_PLACE, x2=end("x2")),
        *(_text_marks(texts, *look) for look in _TEXT_LOOKS),
    ]
    words = _dependence_words(parts)
    return drawn(
        layers, name, f"{title}: odds along its values", words, _HEIGHT, PANEL_WIDTH, margins=False
    )


def _text_marks(texts: Rows, color: str, align: str, size: float, weight: int) -> Layer:
    found = [part for part in texts if (part["color"], part["align"]) == (color, align)]
    look = {"baseline": "top", "color": color, "align": align, "fontSize": size}
    return layer("text", found, {**look, "fontWeight": weight}, **_PLACE, text=text("text"))


def _largest(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Numbers in their order; categories by impact, only the most frequent ones if there are many.

    Users without a value come last.
    """
    known = [part for part in parts if part["mean_impact"] is not None]
    if any("low" in part for part in known) or len(known) <= 3:
        return known
    kept = sorted(known, key=lambda part: (-part["rows"], str(part["value"])))[:_SHOWN_BARS]
    return sorted(
        kept, key=lambda part: (part["value"] is None, part["mean_impact"], str(part["value"]))
    )


def _limits(parts: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    impacts = [part["mean_impact"] for part in parts]
    return min([0.0, *impacts]), max([0.0, *impacts])


def _zero(parts: Sequence[Mapping[str, Any]]) -> float:
    """Where, from the top, the line of no impact lies."""
    low, high = _limits(parts)
    return _BAR_HEIGHT * high / (high - low) if high > low else _BAR_HEIGHT / 2


def _bars(parts: Sequence[Mapping[str, Any]]) -> Rows:
    low, high = _limits(parts)
    step = PANEL_WIDTH / max(len(parts), 1)
    zero = _BARS_TOP + _zero(parts)
    return [
        {
            "x": step * n + 1,
            "x2": step * (n + 1) - 1,
            "y": zero,
            "y2": zero - _BAR_HEIGHT * part["mean_impact"] / ((high - low) or 1),
            "color": MUTED
            if part.get("value", "") is None
            else COOL
            if part["mean_impact"] >= 0
            else WARM,
        }
        for n, part in enumerate(parts)
    ]


def _texts(parts: Sequence[Mapping[str, Any]], title: str) -> Rows:
    lines = _title_lines(title)
    texts: Rows = [
        {"x": 0, "y": 2 + n * _LINE_HEIGHT, "text": line, "color": INK, "align": "left"}
        for n, line in enumerate(lines)
    ]
    if not parts:
        return texts
    low, high = (f(p["mean_impact"] for p in parts) for f in (min, max))
    texts.append(
        {
            "x": 0,
            "y": 4 + len(lines) * _LINE_HEIGHT,
            "text": f"odds {odds(low)} to {odds(high)}",
            "color": MUTED,
            "align": "left",
        }
    )
    numbers = [part for part in parts if part.get("value", "") is not None]
    if not numbers:
        return texts
    bottom = _BARS_TOP + _BAR_HEIGHT + 5
    ends = [(numbers[0], 0.0, "left")]
    if len(numbers) > 1:
        # The last bar is for users without a value, so the numbers end before it.
        ends.append((numbers[-1], PANEL_WIDTH * len(numbers) / len(parts), "right"))
    texts += [
        {"x": x, "y": bottom, "text": short(place(part), 14), "color": MUTED, "align": align}
        for part, x, align in ends
    ]
    return texts


def _title_lines(title: str) -> list[str]:
    """A title on at most two lines, the cut marked."""
    lines = textwrap.wrap(title, _TITLE_LETTERS) or [""]
    kept = lines[:_TITLE_LINES]
    if len(lines) > _TITLE_LINES:
        kept[-1] = short(f"{kept[-1]} {lines[_TITLE_LINES]}", _TITLE_LETTERS)
    return kept


def place(part: Mapping[str, Any]) -> str:
    """The values of a bin or category, in words."""
    if "value" in part:
        return "not known" if part["value"] is None else shown(part["value"])
    low, high = part["low"], part["high"]
    if low is None:
        return "all values" if high is None else f"under {plain(high)}"
    return f"from {plain(low)}" if high is None else f"{plain(low)} to {plain(high)}"


def _dependence_words(parts: Sequence[Mapping[str, Any]]) -> str:
    if not parts:
        return "no part has enough users."
    lowest, highest = (f(parts, key=lambda part: part["mean_impact"]) for f in (min, max))
    return (
        f"lowest at {place(lowest)} (odds {odds(lowest['mean_impact'])}), "
        f"highest at {place(highest)} (odds {odds(highest['mean_impact'])})."
    )
