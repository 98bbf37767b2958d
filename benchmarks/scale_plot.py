"""Curves over the number of users as an SVG, one panel each, readable on light and on dark pages."""

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 260
PANEL, LEFT, TOP, BOTTOM = 300, 50, 44, 44
STEP = 380
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .quiet { fill: #59636e } .head { font-weight: 600 }
.axis { stroke: #d1d9e0 } .line { stroke: #0969da; stroke-width: 2; fill: none } .dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .page { fill: #0d1117 } .quiet { fill: #9198a1 }
  .axis { stroke: #3d444d } .line { stroke: #4493f8 } .dot { fill: #4493f8 }
}
"""


def curves(series: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Panels side by side, users on a log axis, every other axis from 0.

    Args:
        series: By title, points of users and a figure, users rising.
    """
    parts = [f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>']
    for number, (title, points) in enumerate(series.items()):
        parts += _panel(title, points, LEFT + STEP * number)
    words = "; ".join(
        f"{title}: " + ", ".join(f"{figure:.3g} at {users:,} users" for users, figure in points)
        for title, points in series.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'role="img" aria-label="{escape(words)}">\n'
        f"<style>\n{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(title: str, points: Sequence[tuple[int, float]], left: int) -> list[str]:
    """One curve, every point with its figure."""
    low, high = (math.log10(users) for users in (points[0][0], points[-1][0]))
    top = 1.25 * max(figure for _, figure in points)
    floor = HEIGHT - BOTTOM

    def place(users: int, figure: float) -> tuple[float, float]:
        along = (math.log10(users) - low) / max(high - low, 1e-9)
        return left + PANEL * along, floor - (floor - TOP) * figure / top

    places = [place(*point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [
        _text(left, TOP - 16, title, kind="head"),
        f'<line class="axis" x1="{left}" x2="{left + PANEL}" y1="{floor}" y2="{floor}"/>',
        f'<polyline class="line" points="{path}"/>',
    ]
    for (x, y), (users, figure) in zip(places, points, strict=True):
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(_text(x, y - 10, f"{figure:.3g}", "middle"))
        parts.append(_text(x, floor + 18, _short(users), "middle", "quiet"))
    parts.append(_text(left + PANEL / 2, floor + 36, "users, log scale", "middle", "quiet"))
    return parts


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "plain") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _short(users: int) -> str:
    return f"{users / 1e6:g} M" if users >= 1e6 else f"{users / 1e3:g} k"
