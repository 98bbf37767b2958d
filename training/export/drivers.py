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
    FEATURES,
    FLOAT,
    INT32,
    INT64,
    batch_of,
    checked_model,
    constant,
    node,
)
from training.model.shapley.effects import PATH_FEATURES, Effects, Table

MARGIN = "margin"
PROBABILITY = "probability"
IMPACTS = "impacts"
DRIVER_INDEX = "driver_index"
DRIVER_IMPACT = "driver_impact"


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
    total = _add_impacts(graph, columns, effects)
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


def _add_impacts(graph: GraphBuilder, columns: str, effects: Effects) -> str:
    """The impact of each feature, float32 [features, batch]: its own effect and its shares of joint ones."""
    bins = graph.add("Cast", _add_bins(graph, columns, effects.thresholds), to=INT32)
    total = _add_main_effects(graph, bins, effects)
    for size in range(2, PATH_FEATURES + 1):
        tables = [table for table in effects.tables if len(table.features) == size]
        if tables:
            values = _add_joint_effects(graph, bins, tables, effects.thresholds)
            shares = np.zeros((len(effects.thresholds), len(tables)), np.float32)
            for n, table in enumerate(tables):
                shares[table.features, n] = 1 / size
            total = graph.add("Gemm", graph.constant(shares, "shares"), values, total)
    return total


def _add_main_effects(graph: GraphBuilder, bins: str, effects: Effects) -> str:
    """The table of each feature, float32 [features, batch]; 0 where it has none."""
    width = max(map(len, effects.thresholds)) + 2
    filled = np.zeros((len(effects.thresholds), width), np.float32)
    for table in effects.tables:
        if len(table.features) == 1:
            filled[table.features[0], : table.values.size] = table.values
    # NOTE: ONNX Runtime's GatherElements takes 0.6 ns a value, its Gather 8 ns.
    return graph.add("GatherElements", graph.constant(filled, "main"), bins, axis=1)


def _add_joint_effects(
    graph: GraphBuilder, bins: str, tables: Sequence[Table], thresholds: Sequence[np.ndarray]
) -> str:
    """The cell of each table, float32 [tables, batch]; all have as many features.

    The tables lie one after another. A feature's bin, among all its thresholds, gives its part of a
    cell's position; the parts add up to it.
    """
    sizes = [table.values.size for table in tables]
    starts = np.cumsum([0, *sizes[:-1]])
    width = max(map(len, thresholds)) + 2
    cell = ""
    for place in range(len(tables[0].features)):
        parts = np.zeros((len(tables), width), np.int32)
        for n, (start, table) in enumerate(zip(starts, tables, strict=True)):
            stride = int(np.prod(table.values.shape[place + 1 :]))
            own = _own_bins(thresholds[table.features[place]], table.thresholds[place])
            parts[n, : len(own)] = stride * own + (start if place == 0 else 0)
        feature = graph.constant(np.array([table.features[place] for table in tables]))
        index = graph.add("Gather", bins, feature, axis=0)
        part = graph.add("GatherElements", graph.constant(parts, "part"), index, axis=1)
        cell = graph.add("Add", cell, part) if cell else part
    values = np.concatenate([table.values.ravel() for table in tables]).astype(np.float32)
    flat = graph.add("Reshape", cell, graph.constant(np.array([1, -1])))
    found = graph.add("GatherElements", graph.constant(values[None], "joint"), flat, axis=1)
    return graph.add("Reshape", found, graph.constant(np.array([len(tables), -1])))


def _own_bins(thresholds: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The bin among some of a feature's thresholds for each bin among all, int64 [bins of all]."""
    not_exceeded = np.cumsum([0, *np.isin(thresholds, own)[::-1]])
    return np.concatenate([[0], 1 + not_exceeded])


def _add_bins(graph: GraphBuilder, columns: str, thresholds: Sequence[np.ndarray]) -> str:
    """The bin of each value, float32 [features, batch]; see `Table`.

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


def _add_outputs(graph: GraphBuilder, total: str, base: float, feature_count: int) -> None:
    """From float32 [features, batch] to the outputs, a row for each user."""
    graph.add("Transpose", total, output=IMPACTS, perm=[1, 0])
    score = graph.add("ReduceSum", total, graph.constant(np.array([0])), keepdims=0)
    score = graph.add("Add", score, graph.constant(np.array(base, np.float32), "base_value"))
    graph.add("Unsqueeze", score, graph.constant(np.array([1])), output=MARGIN)
    # NOTE: float32 Sigmoid is 0.9 % off at -12 and 0 at -17, and some runtimes have no other.
    odds_against = graph.add("Exp", graph.add("Neg", MARGIN))
    one = graph.constant(np.ones(1, np.float32), "one")
    graph.add("Reciprocal", graph.add("Add", odds_against, one), output=PROBABILITY)
    size = graph.add("Abs", IMPACTS)
    count = graph.constant(np.array([min(DRIVERS, feature_count)]))
    graph.add("TopK", size, count, output=f"/{DRIVER_INDEX}/size", axis=1)
    graph.nodes[-1].output.append(DRIVER_INDEX)
    graph.add("GatherElements", IMPACTS, DRIVER_INDEX, output=DRIVER_IMPACT, axis=1)
