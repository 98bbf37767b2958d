"""The bin of each value: how many of its feature's thresholds it does not exceed; see `Table`.

A feature of few thresholds is compared with all of them. For one of many, a grid of equal cells
leaves one to compare with: the value is scaled and rounded to its cell, and the cell gives the
threshold within it and the bin above that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.export.graph import FLOAT, INT32, UINT8, GraphBuilder

FEW_THRESHOLDS = 8
"""So many comparisons cost no more than a grid."""

CELLS = 256
_WIDTHS = (250, 240, 225, 200, 170, 140, 110)
"""So many cells lie between the first threshold and the last, which needs a cell above it, too."""

_SHIFTS = (0.0, 0.125, 0.25, 0.375)
_EDGE = 0.01
"""How far a threshold must lie from the edge of its cell, in cells. Runtimes round differently, but by
less; so each finds the same cell for a threshold, and values beyond it are in no cell before."""

_MAX_OFFSET = 4_096.0
"""With a larger offset, rounding would move a value by more than a small part of a cell."""

_SCALES = (1e-30, 1e30)


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of one feature: round(scale * x + offset), from 0 to 255.

    Attributes:
        scale: Positive, float32.
        offset: float32.
        threshold: The one within each cell, or +inf, float32 [cells].
        above: The bin of the values of a cell beyond its threshold, float32 [cells]; that of the
            others is the next.
    """

    scale: np.float32
    offset: np.float32
    threshold: np.ndarray
    above: np.ndarray


def add_bins(
    graph: GraphBuilder, columns: str, thresholds: Sequence[np.ndarray], rows: np.ndarray
) -> str:
    """The bin of each value, int32 [features, batch]; a missing value alone has bin 0.

    Args:
        graph: The graph to add to.
        columns: float32 [features, batch].
        thresholds: Of each feature, rising, float32.
        rows: The feature of each row of the result.
    """
    grids = {
        feature: grid
        for feature, values in enumerate(thresholds)
        if len(values) > FEW_THRESHOLDS and (grid := find_grid(values)) is not None
    }
    others = {n: len(values) + 1 for n, values in enumerate(thresholds) if n not in grids}
    groups = _groups_of_size(others)
    parts = [_add_counts(graph, columns, members, thresholds) for members in groups]
    if grids:
        groups.append(list(grids))
        parts.append(_add_grids(graph, columns, grids))
    order = np.argsort([feature for members in groups for feature in members])[rows]
    bins = graph.add("Concat", *parts, axis=0)
    return graph.add("Gather", bins, graph.constant(order), axis=0)


def _add_counts(
    graph: GraphBuilder, columns: str, members: Sequence[int], thresholds: Sequence[np.ndarray]
) -> str:
    """`x <= t`, counted over a feature's thresholds and +inf; a missing value satisfies none."""
    width = max(len(thresholds[f]) + 1 for f in members)
    # No value is below NaN, so NaN pads the shorter lists.
    limits = np.full((len(members), width, 1), np.nan, np.float32)
    for n, feature in enumerate(members):
        limits[n, : len(thresholds[feature]) + 1, 0] = [*thresholds[feature], np.inf]
    values = graph.add("Gather", columns, graph.constant(np.array(members)[:, None]), axis=0)
    below = graph.add("LessOrEqual", values, graph.constant(limits, "thresholds"))
    # NOTE: a product of bytes takes half the time of a sum of floats.
    ones = graph.constant(np.ones((len(members), 1, width), np.uint8), "ones")
    counts = graph.add("MatMulInteger", ones, graph.add("Cast", below, to=UINT8))
    return graph.add("Reshape", counts, graph.constant(np.array([len(members), -1])))


def _add_grids(graph: GraphBuilder, columns: str, grids: dict[int, Grid]) -> str:
    found = list(grids.values())
    values = graph.add("Gather", columns, graph.constant(np.array(list(grids))), axis=0)
    scale, offset = (
        graph.constant(np.array([[getattr(grid, name)] for grid in found], np.float32), name)
        for name in ("scale", "offset")
    )
    scaled = graph.add("Add", graph.add("Mul", values, scale), offset)
    one, zero = graph.constant(np.array(1, np.float32)), graph.constant(np.array(0, np.uint8))
    # NOTE: a byte is a cell whatever a runtime makes of a missing value.
    cell = graph.add("Cast", graph.add("QuantizeLinear", scaled, one, zero), to=INT32)
    threshold, above = (
        graph.add(
            "GatherElements",
            graph.constant(np.stack([getattr(grid, name) for grid in found]), name),
            cell,
            axis=1,
        )
        for name in ("threshold", "above")
    )
    # NOTE: a truth becomes a float in half the time that it takes to become a whole number.
    up_to = graph.add("Cast", graph.add("LessOrEqual", values, threshold), to=FLOAT)
    infinity = graph.constant(np.array(np.inf, np.float32), "infinity")
    known = graph.add("Cast", graph.add("LessOrEqual", values, infinity), to=FLOAT)
    bins = graph.add("Mul", graph.add("Add", above, up_to), known)
    return graph.add("Cast", bins, to=INT32)


def find_grid(thresholds: np.ndarray) -> Grid | None:
    """A grid with at most one threshold in each cell; None if they are too uneven.

    Args:
        thresholds: Rising, at least two, float32.
    """
    values = thresholds.astype(np.float64)
    if not np.isfinite(values).all():
        return None
    for width in _WIDTHS:
        scale = width / (values[-1] - values[0])
        if not _SCALES[0] <= scale <= _SCALES[1] or abs(values[0]) * scale > _MAX_OFFSET:
            continue
        for shift in _SHIFTS:
            # In float32, as a runtime computes it.
            factor = np.float32(scale)
            offset = np.float32(1 + shift - values[0] * float(factor))
            place = thresholds * factor + offset
            cells = np.rint(place).astype(int)
            in_its_cell = (0.5 - np.abs(place - cells) > _EDGE).all()
            if in_its_cell and (np.diff(cells) > 0).all():
                return _filled(factor, offset, thresholds, cells)
    return None


def _filled(
    scale: np.float32, offset: np.float32, thresholds: np.ndarray, cells: np.ndarray
) -> Grid:
    limit = np.full(CELLS, np.inf, np.float32)
    limit[cells] = thresholds
    # How many thresholds lie in later cells.
    above = len(cells) - np.searchsorted(cells, np.arange(CELLS), side="right")
    above = above + np.isin(np.arange(CELLS), cells)
    return Grid(scale, offset, limit, above.astype(np.float32))


def _groups_of_size(sizes: dict[int, int]) -> list[list[int]]:
    """Keys in groups of nearly equal size, so that little padding is needed."""
    groups: list[list[int]] = []
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        largest = sizes[groups[-1][0]] if groups else 0
        if groups and largest - sizes[key] <= max(1, largest // 4):
            groups[-1].append(key)
        else:
            groups.append([key])
    return groups
