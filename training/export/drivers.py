"""A purchase model to ONNX: the score, all impacts and the top drivers in one pass.

The graph works on `features` transposed: rows then lie side by side in memory, and each operator is
one vector loop. `training/model/shapley/effects.py` explains what it sums.
"""

import numpy as np
from onnx import ModelProto

from engine.bundle.manifest import DRIVERS
from training.export.bins import add_bins
from training.export.graph import (
    FEATURES,
    FLOAT,
    INT64,
    GraphBuilder,
    batch_of,
    checked_model,
)
from training.export.joint import JointEffects
from training.model.shapley.effects import Effects

MARGIN = "margin"
PROBABILITY = "probability"
IMPACTS = "impacts"
DRIVER_INDEX = "driver_index"
DRIVER_IMPACT = "driver_impact"


def drivers_graph(effects: Effects, feature_count: int) -> ModelProto:
    """`features` to margin, probability, impacts and drivers.

    `margin` and `probability` are float32 [batch, 1]; `impacts` float32 [batch, features];
    `driver_index` int64 and `driver_impact` float32 [batch, drivers], largest size first, of equal
    sizes the feature with the larger effects in general.

    Args:
        effects: The model with its calibration.
        feature_count: The width of `features`.
    """
    graph = GraphBuilder()
    columns = graph.add("Transpose", FEATURES, perm=[1, 0])
    rows = _by_importance(effects)
    total = _add_impacts(graph, columns, effects, rows)
    _add_outputs(graph, total, effects.base, rows)
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


def _by_importance(effects: Effects) -> np.ndarray:
    """The features, those with the largest effects first: TopK then seldom changes its mind."""
    sizes = np.zeros(len(effects.thresholds))
    for table in effects.tables:
        sizes[list(table.features)] += np.abs(table.values).mean() / len(table.features)
    return np.argsort(-sizes, kind="stable")


def _add_impacts(graph: GraphBuilder, columns: str, effects: Effects, rows: np.ndarray) -> str:
    """The impact of each feature, float32 [features, batch]: its own effect and its shares of joint ones."""
    bins = add_bins(graph, columns, effects.thresholds, rows)
    total = _add_main_effects(graph, bins, effects, rows)
    return JointEffects(graph, bins, effects, rows).add_to(total)


def _add_main_effects(graph: GraphBuilder, bins: str, effects: Effects, rows: np.ndarray) -> str:
    """The table of each feature, float32 [features, batch]; 0 where it has none."""
    width = max(map(len, effects.thresholds)) + 2
    filled = np.zeros((len(rows), width), np.float32)
    for table in effects.tables:
        if len(table.features) == 1:
            filled[table.features[0], : table.values.size] = table.values
    # NOTE: ONNX Runtime's GatherElements takes 0.6 ns a value, its Gather 8 ns.
    return graph.add("GatherElements", graph.constant(filled[rows], "main"), bins, axis=1)


def _add_outputs(graph: GraphBuilder, total: str, base: float, rows: np.ndarray) -> None:
    """From float32 [features, batch], `rows` naming the feature of each, to the outputs by user."""
    natural = graph.add("Gather", total, graph.constant(np.argsort(rows)), axis=0)
    graph.add("Transpose", natural, output=IMPACTS, perm=[1, 0])
    score = graph.add("ReduceSum", total, graph.constant(np.array([0])), keepdims=0)
    score = graph.add("Add", score, graph.constant(np.array(base, np.float32), "base_value"))
    column = graph.constant(np.array([1]))
    graph.add("Unsqueeze", score, column, output=MARGIN)
    # NOTE: float32 Sigmoid is 0.9 % off at -12 and 0 at -17, and some runtimes have no other.
    one = graph.constant(np.array(1, np.float32), "one")
    odds_against = graph.add("Exp", graph.add("Neg", score))
    probability = graph.add("Reciprocal", graph.add("Add", odds_against, one))
    graph.add("Unsqueeze", probability, column, output=PROBABILITY)
    _add_drivers(graph, total, rows)


def _add_drivers(graph: GraphBuilder, total: str, rows: np.ndarray) -> None:
    drivers = min(DRIVERS, len(rows))
    largest = graph.add(
        "TopK",
        graph.add("Abs", total),
        graph.constant(np.array([drivers])),
        output=f"/{DRIVER_INDEX}/size",
        axis=0,
    )
    place = f"/{DRIVER_INDEX}/place"
    graph.nodes[-1].output[:] = [largest, place]
    features = graph.constant(np.tile(rows, (drivers, 1)), "features")
    for source, axis, output in ((features, 1, DRIVER_INDEX), (total, 0, DRIVER_IMPACT)):
        found = graph.add("GatherElements", source, place, axis=axis)
        graph.add("Transpose", found, output=output, perm=[1, 0])
