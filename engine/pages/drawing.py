"""Charts of Vega-Lite as SVG: vl-convert draws, CSS variables give the colours.

Charts are plain dictionaries: to build them with altair takes longer than to draw them.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from engine.pages.format import THIN

WIDTH = 440
HEIGHT = 300
FONT = "system-ui, sans-serif"

# Placeholder colours, replaced by variables of the style sheet once the picture is drawn.
_VARIABLES = {
    "#000001": "var(--ink)",
    "#000002": "var(--muted)",
    "#000003": "var(--line)",
    "#000004": "var(--cool)",
    "#000005": "var(--warm)",
}
INK, MUTED, LINE, COOL, WARM = _VARIABLES

Rows = list[dict[str, Any]]
Layer = dict[str, Any]
"""Marks of one kind: their look, their rows, and which channel shows what of a row."""


def layer(kind: str, rows: Rows, look: dict[str, Any], **channels: object) -> Layer:
    """Marks of this kind, one for each row or a line through all."""
    return {"mark": {"type": kind, **look}, "data": {"values": rows}, "encoding": channels}


def number(field: str, **more: object) -> dict[str, Any]:
    """A channel of numbers."""
    return {"field": field, "type": "quantitative", **more}


def text(field: str, **more: object) -> dict[str, Any]:
    """A channel of texts."""
    return {"field": field, "type": "nominal", **more}


def end(field: str) -> dict[str, Any]:
    """Where a mark that began in another channel ends."""
    return {"field": field}


def bare_axis(**more: object) -> dict[str, Any]:
    """An axis of labels alone: no ticks, no line."""
    return {"ticks": False, "domain": False, "labelAngle": 0, **more}


def share_channel(field: str, title: str = "", top: float = 1.0) -> dict[str, Any]:
    """A channel of shares from 0; a title belongs to the horizontal one."""
    decimals = 0 if top > 0.05 else 1
    label = f"format(100 * datum.value, '.{decimals}f') + '{THIN}%'"
    axis = bare_axis(labelExpr=label, tickCount=5, title=title or None)
    return number(field, scale={"domain": [0, top]}, axis=axis)


def text_marks(rows: Rows, color: str, **more: object) -> Layer:
    """The `text` of every row at its `x` and `y`."""
    look = {"color": color, "baseline": "middle", **more}
    return layer("text", rows, look, x=number("x"), y=number("y"), text=text("text"))


def drawn(
    layers: Sequence[Layer],
    name: str,
    title: str,
    words: str,
    height: int = HEIGHT,
    width: int = WIDTH,
    *,
    margins: bool = True,
) -> str:
    """The layers as SVG with a text alternative, their colours left to the style sheet."""
    import vl_convert

    left, top, right, bottom = (46, 12, 16, 44) if margins else (0, 0, 0, 0)
    chart = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.1.0.json",
        "layer": list(layers),
        "width": width,
        "height": height,
        "autosize": {"type": "none", "contains": "padding"},
        "padding": {"left": left, "top": top, "right": right, "bottom": bottom},
        "config": _configuration(),
    }
    svg = vl_convert.vegalite_to_svg(chart)
    return _accessible(svg, name, title, words, f"0 0 {width} {height}")


def _configuration() -> dict[str, Any]:
    return {
        "font": FONT,
        "background": "transparent",
        "aria": False,
        "view": {"stroke": None},
        "text": {"fontSize": 12},
        "axis": {
            "gridColor": LINE,
            "labelColor": MUTED,
            "titleColor": MUTED,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 400,
            "labelPadding": 8,
            "labelBound": False,
            "labelOverlap": False,
            "minExtent": 22,
            "maxExtent": 22,
        },
    }


def _accessible(svg: str, name: str, title: str, words: str, box: str) -> str:
    """One picture to a screen reader, named and described; colours as variables."""
    body = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    for sentinel, variable in _VARIABLES.items():
        body = body.replace(sentinel, variable)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="{box}" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-words">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-words">{escape(words)}</desc>'
        # Without this a screen reader reads every mark, a meaningless list of numbers.
        f'<g aria-hidden="true">{body}</g></svg>'
    )
