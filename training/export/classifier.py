"""LightGBM's trees to ONNX, branch for branch, with the calibration folded in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from onnx import ModelProto

from engine.bundle import Calibration
from engine.errors import SelfCheckError
from training.export.graph import (
    DOUBLE,
    FEATURES,
    FLOAT,
    batch_of,
    checked_model,
    floor32,
    ml_node,
    node,
)

MARGIN = "margin"
PROBABILITY = "probability"


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A split, or a leaf where `mode` is LEAF; `true` and `false` are node numbers of the tree."""

    tree: int
    number: int
    mode: str
    feature: int = 0
    threshold: float = 0.0
    true: int = 0
    false: int = 0
    missing_is_true: bool = False
    weight: float = 0.0


def classifier_graph(
    booster: lgb.Booster, calibration: Calibration, feature_count: int
) -> ModelProto:
    """`features` to `margin` and `probability`, both float32 [batch, 1].

    margin = slope x raw score + intercept: the slope is in the leaves, the intercept in the base
    value. The sigmoid is taken in double precision: in float32 it loses the tail.

    Args:
        booster: A binary model with numeric splits.
        calibration: Platt's slope and intercept.
        feature_count: The width of `features`.

    Raises:
        SelfCheckError: The model has a kind of tree that ONNX cannot hold exactly.
    """
    trees = list(tree_nodes(booster.dump_model()))
    attributes = _attributes(trees or [TreeNode(0, 0, "LEAF")], calibration)
    nodes = [
        ml_node("TreeEnsembleRegressor", [FEATURES], MARGIN, **attributes),
        node("Cast", [MARGIN], "/margin/double", to=DOUBLE),
        node("Sigmoid", ["/margin/double"], "/probability/double"),
        node("Cast", ["/probability/double"], PROBABILITY, to=FLOAT),
    ]
    return checked_model(
        "classifier",
        nodes,
        [batch_of(FEATURES, FLOAT, feature_count)],
        [batch_of(MARGIN, FLOAT, 1), batch_of(PROBABILITY, FLOAT, 1)],
    )


def tree_nodes(dump: dict[str, Any]) -> Iterator[TreeNode]:
    """All nodes of all trees of `Booster.dump_model()`, parents before their children.

    Raises:
        SelfCheckError: A tree is of a kind that ONNX cannot hold exactly.
    """
    if dump["num_tree_per_iteration"] != 1 or dump["average_output"]:
        raise SelfCheckError("classifier: not a plain binary boosting model; it cannot be exported")
    for number, tree in enumerate(dump["tree_info"]):
        yield from _one_tree(number, tree["tree_structure"])


def _one_tree(tree: int, root: dict[str, Any]) -> Iterator[TreeNode]:
    waiting, taken = [(0, root)], 1
    while waiting:
        number, raw = waiting.pop()
        if "split_index" not in raw:
            _check_leaf(tree, raw)
            yield TreeNode(tree, number, "LEAF", weight=float(raw["leaf_value"]))
            continue
        _check_split(tree, raw)
        threshold = float(raw["threshold"])
        yield TreeNode(
            tree,
            number,
            "BRANCH_LEQ",
            feature=int(raw["split_feature"]),
            threshold=threshold,
            true=taken,
            false=taken + 1,
            missing_is_true=_missing_goes_left(raw, threshold),
        )
        waiting += [(taken + 1, raw["right_child"]), (taken, raw["left_child"])]
        taken += 2


def _missing_goes_left(raw: dict[str, Any], threshold: float) -> bool:
    # NOTE: a feature that was never missing in training has missing_type None: NaN counts as 0.
    # https://github.com/microsoft/LightGBM/blob/v4.6.0/include/LightGBM/tree.h (NumericalDecision)
    return bool(raw["default_left"]) if raw["missing_type"] == "NaN" else threshold >= 0


def _check_split(tree: int, raw: dict[str, Any]) -> None:
    if raw["decision_type"] != "<=":
        raise SelfCheckError(
            f"classifier: tree {tree} has a categorical split ({raw['decision_type']}); expected "
            "only '<='. Give categories ordered codes, without categorical_feature."
        )
    if raw["missing_type"] not in ("NaN", "None"):
        raise SelfCheckError(
            f"classifier: tree {tree} takes {raw['missing_type']} as missing; expected NaN. "
            "Train without zero_as_missing."
        )


def _check_leaf(tree: int, raw: dict[str, Any]) -> None:
    if "leaf_coeff" in raw:
        raise SelfCheckError(
            f"classifier: tree {tree} has linear leaves; expected constants. "
            "Train without linear_tree."
        )


def _thresholds(values: np.ndarray) -> np.ndarray:
    """Thresholds that split float32 as LightGBM splits doubles, float32 [nodes]."""
    # NOTE: LightGBM reads a value of at most 1e-35 in size as 0.
    # https://github.com/microsoft/LightGBM/blob/v4.6.0/src/c_api.cpp (RowPairFunctionFromDenseMatric)
    zero = np.float32(1e-35)
    rounded = np.where((values >= 0) & (values < zero), zero, floor32(values))
    below_zero = np.nextafter(-zero, np.float32(-np.inf))
    return np.where((values < 0) & (values >= -zero), below_zero, rounded)


def _attributes(trees: list[TreeNode], calibration: Calibration) -> dict[str, Any]:
    """The attributes of TreeEnsembleRegressor, ai.onnx.ml 3."""
    leaves = [n for n in trees if n.mode == "LEAF"]
    return {
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "base_values": [calibration.intercept],
        "nodes_treeids": [n.tree for n in trees],
        "nodes_nodeids": [n.number for n in trees],
        "nodes_modes": [n.mode for n in trees],
        "nodes_featureids": [n.feature for n in trees],
        # NOTE: rounded down, no float32 takes another branch than in LightGBM's doubles.
        "nodes_values": _thresholds(np.array([n.threshold for n in trees])).tolist(),
        "nodes_truenodeids": [n.true for n in trees],
        "nodes_falsenodeids": [n.false for n in trees],
        # NaN fails every comparison: only those that go to the true branch need to be marked.
        "nodes_missing_value_tracks_true": [int(n.missing_is_true) for n in trees],
        "target_treeids": [n.tree for n in leaves],
        "target_nodeids": [n.number for n in leaves],
        "target_ids": [0] * len(leaves),
        "target_weights": [calibration.slope * n.weight for n in leaves],
    }
