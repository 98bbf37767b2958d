"""LightGBM's trees as leaves: the value of each, and its conditions on each feature.

For every float32 value, each branch is the one that LightGBM takes in double precision.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np

from engine.errors import SelfCheckError

ZERO = np.float32(1e-35)
"""LightGBM treats values up to this size as 0."""

DUMPED_INFINITY = 1e300
"""How `dump_model` writes +inf, the threshold between missing values and all others."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """All leaves whose paths have the same features; a path's condition on one is `above < x <= up_to`.

    Attributes:
        features: The columns, rising.
        value: In log-odds, float64 [leaves].
        share: z, the share of the training rows that took this way at the feature's splits, float64
            [leaves, features].
        above: float32 values, as float64 [leaves, features]; NaN without such a limit.
        up_to: As `above`.
        missing: Whether a missing value takes this way, bool [leaves, features].
    """

    features: tuple[int, ...]
    value: np.ndarray
    share: np.ndarray
    above: np.ndarray
    up_to: np.ndarray
    missing: np.ndarray


class _Condition(NamedTuple):
    """What a path says of one feature; see `Leaves`."""

    share: float = 1.0
    above: float = np.nan
    up_to: float = np.nan
    missing: bool = True

    def narrowed(
        self, threshold: float, share: float, *, right: bool, missing: bool
    ) -> "_Condition":
        """After one more split."""
        above, up_to = self.above, self.up_to
        if right:
            above = threshold if isnan(above) else max(above, threshold)
        else:
            up_to = threshold if isnan(up_to) else min(up_to, threshold)
        return _Condition(self.share * share, above, up_to, self.missing and missing)


Node = Mapping[str, Any]
"""A tree or a node of `dump_model`."""


def read_leaves(booster: lgb.Booster) -> list[Leaves]:
    """All leaves of a model, by the features of their paths.

    Raises:
        SelfCheckError: A tree cannot be compiled; the message names it.
    """
    try:
        model = booster.dump_model()
    # NOTE: LightGBM writes an infinite value as `inf`, which is no JSON.
    except ValueError as error:
        raise SelfCheckError(
            "classifier: a leaf's value is not finite. Fit with min_sum_hessian_in_leaf above 0."
        ) from error
    if model["num_tree_per_iteration"] != 1 or model["average_output"]:
        raise SelfCheckError("classifier: only a boosted model with one score can be explained.")
    found: dict[tuple[int, ...], list[tuple[float, list[_Condition]]]] = defaultdict(list)
    for tree in model["tree_info"]:
        for value, path in _paths(
            tree["tree_structure"], f"classifier: tree {tree['tree_index']}", {}
        ):
            features = tuple(sorted(path))
            found[features].append((value, [path[feature] for feature in features]))
    return [_stacked(features, leaves) for features, leaves in found.items()]


def _stacked(features: tuple[int, ...], leaves: Sequence[tuple[float, list[_Condition]]]) -> Leaves:
    conditions = np.array([path for _, path in leaves], np.float64)
    share, above, up_to, missing = np.moveaxis(
        conditions.reshape(len(leaves), len(features), len(_Condition._fields)), -1, 0
    )
    value = np.array([value for value, _ in leaves], np.float64)
    return Leaves(features, value, share, above, up_to, missing.astype(bool))


def _paths(
    node: Node, tree: str, path: dict[int, _Condition]
) -> Iterator[tuple[float, dict[int, _Condition]]]:
    """The value of each leaf below a node, and the conditions of its whole path."""
    if "leaf_coeff" in node or "leaf_const" in node:
        raise SelfCheckError(f"{tree} has linear leaves. Fit with linear_tree=false.")
    if "split_feature" not in node:
        yield node["leaf_value"], path
        return
    feature, threshold, missing_right = _split(node, tree)
    before = path.get(feature, _Condition())
    for side, right in (("left_child", False), ("right_child", True)):
        child = node[side]
        share = _rows(child) / _rows(node) if _rows(node) else np.nan
        if not 0 <= share <= 1:
            raise SelfCheckError(f"{tree} lacks the row counts of its nodes. Fit it again.")
        step = before.narrowed(threshold, share, right=right, missing=missing_right == right)
        yield from _paths(child, tree, {**path, feature: step})


def _rows(node: Node) -> int:
    return int(node.get("internal_count", node.get("leaf_count", 0)))


def _split(node: Node, tree: str) -> tuple[int, float, bool]:
    """The feature, the exact threshold, and whether a missing value goes right."""
    if node["decision_type"] != "<=":
        raise SelfCheckError(f"{tree} has a categorical split. Encode categories as ordered codes.")
    if node["missing_type"] not in ("None", "NaN"):
        raise SelfCheckError(f"{tree} treats zero as missing. Fit with zero_as_missing=false.")
    # If training saw no missing value, LightGBM treats one as 0.
    right = not node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] < 0
    return node["split_feature"], exact_threshold(node["threshold"]), right


def exact_threshold(threshold: float) -> float:
    """The float32 t for which `x <= t` gives LightGBM's answer for every float32 x.

    NOTE: that is the largest float32 that is not above the threshold. The nearest float32 may be
    above it, and a value between the two would take another branch. LightGBM's `predict` also treats
    all values up to 1e-35 from zero as zero, so it has thresholds of exactly -1e-35 and 1e-35.
    """
    if -float(ZERO) <= threshold < 0:
        return float(np.nextafter(-ZERO, np.float32(-np.inf)))
    if 0 <= threshold <= float(ZERO):
        return float(ZERO)
    if threshold >= DUMPED_INFINITY:
        return np.inf
    with np.errstate(over="ignore"):
        nearest = np.float32(threshold)
    # As Python floats: numpy would compare in float32.
    above = float(nearest) > threshold
    return float(np.nextafter(nearest, np.float32(-np.inf)) if above else nearest)
