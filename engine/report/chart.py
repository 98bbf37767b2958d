"""The histogram of a night's scores against the run before."""

import numpy as np

from engine.pages.bins import BELOW_TOP, BINS, FINEST_BINS, WIDTHS, bin_width
from engine.pages.drawing import (
    COOL,
    WARM,
    Rows,
    bare_axis,
    drawn,
    end,
    layer,
    number,
    share_channel,
)


def shares_by_bin(finest: np.ndarray, width: float, fewest: int) -> list[float]:
    """The share of the users in each bin; bins of few users join the next lower one.

    Args:
        finest: Users by probability in `FINEST_BINS`, int64.
        width: Of the bins.
        fewest: The fewest users that a bin may show.

    Returns:
        One for each of `BINS`; the lowest bin joins the next if it has too few users.
    """
    place = np.minimum(np.arange(FINEST_BINS) // round(width / WIDTHS[0]), BINS - 1)
    counts = np.bincount(place, finest, minlength=BINS)
    for n in range(BINS - 1, 0, -1):
        if counts[n] < fewest:
            counts[n - 1 : n + 1] = counts[n - 1] + counts[n], 0
    if counts[0] < fewest:
        filled = int(np.argmax(counts >= fewest))
        counts[[0, filled]] = 0, counts[0] + counts[filled]
    return [float(share) for share in counts / finest.sum()]


def width_of(finest: np.ndarray) -> float:
    """The width of the bins that fits these scores; `finest` as in `shares_by_bin`."""
    reached = np.searchsorted(np.cumsum(finest), BELOW_TOP * finest.sum()) + 1
    return bin_width(float(reached) * WIDTHS[0])


def histogram_chart(now: list[float], before: list[float] | None, width: float, name: str) -> str:
    """Bars for this run, a line for the run before.

    Args:
        now: Shares by bin.
        before: Those of the run before, if there is one.
        width: Of the bins.
        name: Of the picture.
    """
    bars: Rows = [
        {"x": n * width, "end": (n + 0.9) * width, "y": share, "zero": 0.0}
        for n, share in enumerate(now)
    ]
    line: Rows = [
        {"x": (n + step) * width, "y": share}
        for n, share in enumerate(before or [])
        for step in (0, 0.9)
    ]
    top = 1.05 * max([*now, *(before or [])])
    x = number(
        "x",
        scale={"domain": [0, width * BINS]},
        axis=bare_axis(grid=False, tickCount=5, format=".0%", title="purchase probability"),
    )
    y = share_channel("y", top=top)
    parts = [layer("rect", bars, {"color": COOL}, x=x, x2=end("end"), y=y, y2=end("zero"))]
    if before:
        parts.append(layer("line", line, {"color": WARM, "strokeWidth": 2}, x=x, y=y))
    words = f"{100 * sum(now[BINS // 2 :]):.0f} % of the users are above {width * BINS / 2:.0%}."
    title = "Users by purchase probability"
    return drawn(parts, name, title, words)
