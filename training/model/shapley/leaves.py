"""LightGBM's trees as leaves: the value of each, and its conditions on each feature.

For every float32 value, each branch is the one that LightGBM takes in double precision.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import lightgbm as lgb
import numpy as np

from engine.errors import SelfCheckError

ZERO = np.float32(1e-35)
"""LightGBM treats values up to this size as 0."""

DUMPED_INFINITY = 1e300
"""How `dump_model` writes +inf, the threshold between missing values and all others."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A path's condition on one feature: `above < x <= up_to`, and the answer for a missing x.

    Attributes:
        feature: The column.
        share: z, the share of the training rows that took this way at the feature's splits.
        above: A float32; None without such a limit.
        up_to: A float32; None without such a limit.
        missing: Whether a missing value takes this way.
    """

    feature: int
    share: float
    above: float | None
    up_to: float | None
    missing: bool


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf's value, in log-odds, and the conditions of its path, by rising feature."""

    value: float
    factors: tuple[Factor, ...]

    def factor(self, feature: int) -> Factor:
        """The condition on a feature of the path."""
        return next(factor for factor in self.factors if factor.feature == feature)


Node = Mapping[str, Any]
"""A tree or a node of `dump_model`."""


def read_leaves(booster: lgb.Booster) -> list[Leaf]:
    """All leaves of a model.

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
    return [
        leaf
        for tree in model["tree_info"]
        for leaf in _leaves_of(tree["tree_structure"], f"classifier: tree {tree['tree_index']}", ())
    ]


@dataclass(frozen=True, slots=True)
class _Step:
    """A split on the way to a leaf.

    Attributes:
        feature: The column.
        threshold: A float32.
        right: Whether the way is that of larger values.
        missing: Whether a missing value goes this way.
        share: The share of rows that go this way.
    """

    feature: int
    threshold: float
    right: bool
    missing: bool
    share: float


def _leaves_of(node: Node, tree: str, path: tuple[_Step, ...]) -> Iterator[Leaf]:
    if "leaf_coeff" in node or "leaf_const" in node:
        raise SelfCheckError(f"{tree} has linear leaves. Fit with linear_tree=false.")
    if "split_feature" not in node:
        yield Leaf(node["leaf_value"], _factors(path))
        return
    feature, threshold, missing_right = _split(node, tree)
    for side, right in (("left_child", False), ("right_child", True)):
        child = node[side]
        share = _rows(child) / _rows(node) if _rows(node) else np.nan
        if not 0 <= share <= 1:
            raise SelfCheckError(f"{tree} lacks the row counts of its nodes. Fit it again.")
        step = _Step(feature, threshold, right, missing_right == right, share)
        yield from _leaves_of(child, tree, (*path, step))


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


def _factors(path: Sequence[_Step]) -> tuple[Factor, ...]:
    """The steps of a path, put together by feature."""
    by_feature: dict[int, list[_Step]] = defaultdict(list)
    for step in path:
        by_feature[step.feature].append(step)
    return tuple(
        Factor(
            feature,
            prod(step.share for step in steps),
            max((step.threshold for step in steps if step.right), default=None),
            min((step.threshold for step in steps if not step.right), default=None),
            all(step.missing for step in steps),
        )
        for feature, steps in sorted(by_feature.items())
    )
