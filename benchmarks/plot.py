"""A bar chart on a log axis as an SVG, readable on light and on dark pages."""

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 760, 220, 70
ROW, GAP, TOP, BOTTOM = 17, 36, 50, 28
LEGEND = {
    "drivers": "score, all impacts and top 3",
    "impacts": "all impacts",
    "score": "score only",
}
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .quiet { fill: #59636e } .head { font-weight: 600 }
.axis { stroke: #d1d9e0 } .drivers { fill: #0969da } .impacts { fill: #bc4c00 } .score { fill: #9198a1 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .page { fill: #0d1117 } .quiet { fill: #9198a1 }
  .axis { stroke: #3d444d } .drivers { fill: #4493f8 } .impacts { fill: #db6d28 } .score { fill: #656c76 }
}
"""


def bars(models: Mapping[str, Mapping[str, tuple[float, str]]]) -> str:
    """Groups of bars.

    Args:
        models: For each model, for each contender its rows a second and a key of `LEGEND`.
    """
    rates = [rate for contenders in models.values() for rate, _ in contenders.values()]
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    height = TOP + sum(GAP + ROW * len(contenders) for contenders in models.values()) + BOTTOM

    def x(rate: float) -> float:
        return LEFT + scale * (math.log10(rate) - low)

    parts = [f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>']
    for number, (kind, words) in enumerate(LEGEND.items()):
        left = 20 + 210 * number
        parts.append(f'<rect class="{kind}" x="{left}" y="18" width="12" height="12" rx="2"/>')
        parts.append(_text(left + 18, 28, words))
    for power in range(low, high + 1):
        at = x(10**power)
        parts.append(
            f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        )
        parts.append(_text(at, height - 10, _short(10**power), "middle", "quiet"))
    parts.append(_text(20, height - 10, "users a second, log scale", kind="quiet"))
    y = TOP
    for title, contenders in models.items():
        parts.append(_text(20, y + 24, title, kind="head"))
        y += GAP
        for contender, (rate, kind) in contenders.items():
            name = contender.replace("`", "")
            parts.append(_text(LEFT - 8, y + 11, name, "end"))
            parts.append(
                f'<rect class="{kind}" x="{LEFT}" y="{y + 1}" width="{x(rate) - LEFT:.1f}" '
                f'height="{ROW - 4}" rx="2"/>'
            )
            parts.append(_text(x(rate) + 6, y + 11, _short(rate), kind="quiet"))
            y += ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        'role="img" aria-label="Users a second by model and library">\n'
        f"<style>\n{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "plain") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _short(rate: float) -> str:
    """1,234,567 as 1.2 M."""
    if rate >= 1e6:
        return f"{rate / 1e6:.3g} M"
    return f"{rate / 1e3:.3g} k" if rate >= 1e3 else f"{rate:.0f}"
