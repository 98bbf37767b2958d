"""A purchase model to ONNX: the score, all impacts and the top drivers in one pass.

The graph works on `features` transposed: rows then lie side by side in memory, and each operator is
one vector loop. `training/model/shapley/effects.py` explains what it sums.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from engine.bundle.manifest import DRIVERS
from training.export.graph import (
    DOUBLE,
    FEATURES,
    FLOAT,
    INT32,
    INT64,
    batch_of,
    checked_model,
    constant,
    node,
)
from training.model.shapley.effects import Effects, Products, Tables
from training.model.shapley.leaves import Condition

MARGIN = "margin"
PROBABILITY = "probability"
IMPACTS = "impacts"
DRIVER_INDEX = "driver_index"
DRIVER_IMPACT = "driver_impact"

BLOCK_PRODUCTS = 256
"""So many products are weighted at a time: as float32 they take four times the memory of bool."""


def drivers_graph(effects: Effects, feature_count: int) -> ModelProto:
    """`features` to margin, probability, impacts and drivers.

    `margin` and `probability` are float32 [batch, 1]; `impacts` float32 [batch, features];
    `driver_index` int64 and `driver_impact` float32 [batch, drivers], largest size first, of equal
    sizes the first feature.

    Args:
        effects: The model with its calibration.
        feature_count: The width of `features`.
    """
    graph = GraphBuilder()
    columns = graph.add("Transpose", FEATURES, perm=[1, 0])
    total = _add_tables(graph, columns, effects.tables, effects.constant)
    total = _add_products(graph, columns, effects.products, total)
    _add_outputs(graph, total, effects.base, feature_count)
    drivers = min(DRIVERS, feature_count)
    outputs = [
        batch_of(MARGIN, FLOAT, 1),
        batch_of(PROBABILITY, FLOAT, 1),
        batch_of(IMPACTS, FLOAT, feature_count),
        batch_of(DRIVER_INDEX, INT64, drivers),
        batch_of(DRIVER_IMPACT, FLOAT, drivers),
    ]
    entry = batch_of(FEATURES, FLOAT, feature_count)
    return checked_model("classifier", graph.nodes, [entry], outputs, graph.constants)


class GraphBuilder:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: np.ndarray, name: str = "constant") -> str:
        """Add a constant and give its name."""
        full = f"/drivers/{name}_{len(self.constants)}"
        self.constants.append(constant(full, values))
        return full

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node and give the name of its output."""
        output = output or f"/drivers/{kind}_{len(self.nodes)}"
        self.nodes.append(node(kind, inputs, output, **attributes))
        return output


def _add_tables(graph: GraphBuilder, columns: str, tables: Tables, constant: np.ndarray) -> str:
    """Impacts of leaves in tables, float32 [features, batch]."""
    bins = _add_bins(graph, columns, tables.thresholds)
    single = [table + offset for table, offset in zip(tables.single, constant, strict=True)]
    total = _add_lookup(graph, single, bins)
    if not tables.pair:
        return total
    first, second = np.array(list(tables.pair), np.int64).T
    width = np.array([[table.shape[1]] for table in tables.pair.values()], np.float32)
    row = graph.add("Gather", bins, graph.constant(first), axis=0)
    column = graph.add("Gather", bins, graph.constant(second), axis=0)
    cell = graph.add("Add", graph.add("Mul", row, graph.constant(width)), column)
    effects = _add_lookup(graph, [table.ravel() for table in tables.pair.values()], cell)
    halves = np.zeros((len(tables.single), len(tables.pair)), np.float32)
    halves[first, np.arange(len(first))] = halves[second, np.arange(len(first))] = 0.5
    return graph.add("Gemm", graph.constant(halves, "halves"), effects, total)


def _add_bins(graph: GraphBuilder, columns: str, thresholds: Sequence[np.ndarray]) -> str:
    """The bin of each value, float32 [features, batch]; see `Tables`.

    `x <= t` is counted over a feature's thresholds and +inf. A missing value satisfies none, so it
    alone has bin 0.
    """
    groups = _groups_of_size([len(values) + 1 for values in thresholds])
    counts = []
    for members in groups:
        width = max(len(thresholds[f]) + 1 for f in members)
        # No value is below NaN, so NaN pads the shorter lists.
        limits = np.full((len(members), width, 1), np.nan, np.float32)
        for n, feature in enumerate(members):
            limits[n, : len(thresholds[feature]) + 1, 0] = [*thresholds[feature], np.inf]
        values = graph.add("Gather", columns, graph.constant(np.array(members)[:, None]), axis=0)
        below = graph.add("LessOrEqual", values, graph.constant(limits, "thresholds"))
        ones = graph.add("Cast", below, to=FLOAT)
        counts.append(graph.add("ReduceSum", ones, graph.constant(np.array([1])), keepdims=0))
    order = np.argsort([feature for members in groups for feature in members])
    return graph.add("Gather", graph.add("Concat", *counts, axis=0), graph.constant(order), axis=0)


def _groups_of_size(sizes: Sequence[int]) -> list[list[int]]:
    """Positions in groups of nearly equal size, so that little padding is needed."""
    groups: list[list[int]] = []
    for position in sorted(range(len(sizes)), key=lambda p: (-sizes[p], p)):
        largest = sizes[groups[-1][0]] if groups else 0
        if groups and largest - sizes[position] <= max(1, largest // 4):
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def _add_lookup(graph: GraphBuilder, tables: Sequence[np.ndarray], cells: str) -> str:
    """The cell of each table, float32 [tables, batch].

    NOTE: ONNX Runtime's GatherElements takes 0.6 ns a value, its Gather 8 ns.
    """
    filled = np.zeros((len(tables), max(map(len, tables))), np.float32)
    for row, table in zip(filled, tables, strict=True):
        row[: len(table)] = table
    index = graph.add("Cast", cells, to=INT32)
    return graph.add("GatherElements", graph.constant(filled, "table"), index, axis=1)


def _add_products(graph: GraphBuilder, columns: str, products: Products, total: str) -> str:
    """Impacts of leaves in products, added to those of the tables."""
    if not products:
        return total
    conditions = sorted({c for key in products for c in key}, key=lambda c: (c.missing, c))
    single = held = _add_conditions(graph, columns, conditions)
    position = {condition: n for n, condition in enumerate(conditions)}
    keys: list[tuple[Condition, ...]] = [(condition,) for condition in conditions]
    while keys:
        total = _add_weighed(graph, held, keys, products, total)
        longer = sorted({key[: len(keys[0]) + 1] for key in products if len(key) > len(keys[0])})
        if longer:
            before = {key: n for n, key in enumerate(keys)}
            rest = graph.constant(np.array([before[key[:-1]] for key in longer]))
            last = graph.constant(np.array([position[key[-1]] for key in longer]))
            rest, last = graph.add("Gather", held, rest), graph.add("Gather", single, last)
            held = graph.add("And", rest, last)
        keys = longer
    return total


def _add_conditions(graph: GraphBuilder, columns: str, conditions: Sequence[Condition]) -> str:
    """Whether each condition holds, bool [conditions, batch]."""
    parts = []
    for missing in (False, True):
        some = [c for c in conditions if c.missing == missing]
        if some:
            values = graph.add(
                "Gather", columns, graph.constant(np.array([c.feature for c in some]))
            )
            limits = graph.constant(np.array([[c.threshold] for c in some], np.float32))
            # Every comparison with NaN is false, so its negation is true.
            parts.append(
                graph.add("Not", graph.add("LessOrEqual", values, limits))
                if missing
                else graph.add("Greater", values, limits)
            )
    return graph.add("Concat", *parts, axis=0)


def _add_weighed(
    graph: GraphBuilder,
    held: str,
    keys: Sequence[tuple[Condition, ...]],
    products: Products,
    total: str,
) -> str:
    """The total, and the weights of the products that hold, float32 [features, batch]."""
    zero = np.zeros(len(next(iter(products.values()))))
    weights = np.array([products.get(key, zero) for key in keys], np.float32)
    for start in range(0, len(keys), BLOCK_PRODUCTS):
        block = weights[start : start + BLOCK_PRODUCTS]
        bounds = [graph.constant(np.array([n])) for n in (start, start + len(block), 0)]
        ones = graph.add("Cast", graph.add("Slice", held, *bounds), to=FLOAT)
        total = graph.add("Gemm", graph.constant(block.T, "weights"), ones, total)
    return total


def _add_outputs(graph: GraphBuilder, total: str, base: float, feature_count: int) -> None:
    """From float32 [features, batch] to the outputs, a row for each user."""
    graph.add("Transpose", total, output=IMPACTS, perm=[1, 0])
    score = graph.add("ReduceSum", total, graph.constant(np.array([0])), keepdims=0)
    score = graph.add("Add", score, graph.constant(np.array(base, np.float32), "base_value"))
    graph.add("Unsqueeze", score, graph.constant(np.array([1])), output=MARGIN)
    # NOTE: float32 Sigmoid is 0.9 % off at -12 and 0 at -17.
    exact = graph.add("Sigmoid", graph.add("Cast", MARGIN, to=DOUBLE))
    graph.add("Cast", exact, to=FLOAT, output=PROBABILITY)
    size = graph.add("Abs", IMPACTS)
    count = graph.constant(np.array([min(DRIVERS, feature_count)]))
    graph.add("TopK", size, count, output=f"/{DRIVER_INDEX}/size", axis=1)
    graph.nodes[-1].output.append(DRIVER_INDEX)
    graph.add("GatherElements", IMPACTS, DRIVER_INDEX, output=DRIVER_IMPACT, axis=1)
