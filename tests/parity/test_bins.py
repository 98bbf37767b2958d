"""The bins of the graph against counting thresholds in NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fitting import session
from training.export.bins import CELLS, FEW_THRESHOLDS, add_bins, find_grid
from training.export.graph import FLOAT, INT32, GraphBuilder, batch_of, checked_model

HUGE = np.finfo(np.float32).max
MANY = 2 * FEW_THRESHOLDS


def graph_of(thresholds, rows):
    graph = GraphBuilder()
    columns = graph.add("Transpose", "features", perm=[1, 0])
    bins = graph.add(
        "Transpose", add_bins(graph, columns, thresholds, rows), output="bins", perm=[1, 0]
    )
    entry, result = (batch_of(n, e, len(rows)) for n, e in (("features", FLOAT), (bins, INT32)))
    return session(checked_model("bins", graph.nodes, [entry], [result], graph.constants))


def around(thresholds):
    with np.errstate(over="ignore"):
        beside = [np.nextafter(thresholds, sign * np.float32(np.inf)) for sign in (-1, 1)]
    odd = [np.nan, np.inf, -np.inf, HUGE, -HUGE, 0.0, -0.0, 1e-45, -1e-45]
    return np.concatenate([thresholds, *beside, np.array(odd, np.float32)])


def check(*thresholds):
    rows = np.random.default_rng(1).permutation(len(thresholds))
    values = [around(limits) for limits in thresholds]
    features = np.full((max(map(len, values)), len(values)), np.nan, np.float32)
    for n, column in enumerate(values):
        features[: len(column), n] = column
    found = graph_of(thresholds, rows).run(["bins"], {"features": features})[0]
    for place, feature in enumerate(rows):
        column = features[:, feature]
        not_exceeded = (column[:, None] <= thresholds[feature]).sum(axis=1) + 1
        np.testing.assert_array_equal(found[:, place], np.where(np.isnan(column), 0, not_exceeded))


def drawn(seed, count, spread, start):
    """Rising float32 thresholds, evenly or very unevenly apart."""
    rng = np.random.default_rng(seed)
    steps = np.exp(spread * rng.normal(size=count))
    return np.unique((start + np.cumsum(steps)).astype(np.float32))


@given(
    st.integers(0, 2**31),
    st.integers(1, 80),
    st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    st.sampled_from([0.0, -50.0, 1e4, 1e9, -1e-3]),
)
def test_any_thresholds(seed, count, spread, start):
    check(
        drawn(seed, count, spread, start),
        drawn(seed + 1, MANY, 0.3, start),
        np.zeros(0, np.float32),
    )


@pytest.mark.parametrize("scale", [1e-44, 1e-36, 1e-20, 1.0, 1e20, 1e36])
def test_any_scale(scale):
    check((np.arange(-MANY, MANY) * scale).astype(np.float32))


@pytest.mark.parametrize("last", [np.inf, HUGE])
def test_thresholds_beyond_all_numbers(last):
    check(np.array([-last, *range(MANY), last], np.float32))


def test_even_thresholds_have_a_grid_and_uneven_ones_none():
    even = np.arange(MANY, dtype=np.float32)
    assert find_grid(even) is not None
    assert find_grid(np.array([*range(MANY), 1e6], np.float32)) is None
    assert find_grid(np.array([0, 1e-4, *range(1, MANY)], np.float32)) is None
    assert find_grid(1e7 + even) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_runtime_that_rounds_otherwise_finds_the_same_cells(seed):
    thresholds = drawn(seed, 40, 0.2, 20 * seed)
    grid = find_grid(thresholds)
    expected = np.flatnonzero(np.isfinite(grid.threshold))
    exact = thresholds.astype(np.float64) * float(grid.scale) + float(grid.offset)
    for slip in (-1e-3, 0.0, 1e-3):
        np.testing.assert_array_equal(np.rint(exact + slip), expected)
    assert len(grid.threshold) == len(grid.above) == CELLS
