"""LightGBM's trees as leaves: the value of each, and its conditions on each feature.

For every float32 value, each branch is the one that LightGBM takes in double precision.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from engine.errors import SelfCheckError

MAX_LEAVES = 8

ZERO = np.float32(1e-35)
"""LightGBM treats values up to this size as 0."""

DUMPED_INFINITY = 1e300
"""How `dump_model` writes +inf, the threshold between missing values and all others."""


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """`x > threshold`, and the answer for a missing x; the threshold is a float32."""

    feature: int
    threshold: float
    missing: bool

    def __and__(self, other: "Condition") -> "Condition":
        """Both conditions, on the same feature."""
        threshold = max(self.threshold, other.threshold)
        return Condition(self.feature, threshold, self.missing and other.missing)

    def __or__(self, other: "Condition") -> "Condition":
        """Either condition, on the same feature."""
        threshold = min(self.threshold, other.threshold)
        return Condition(self.feature, threshold, self.missing or other.missing)


@dataclass(frozen=True, slots=True)
class Factor:
    """A leaf's condition on one feature, o = sum of weight * condition; None is always true.

    Attributes:
        feature: The column.
        share: z, the share of the training rows that took this way at the feature's splits.
        terms: Conditions with their weights.
    """

    feature: int
    share: float
    terms: tuple[tuple[Condition | None, float], ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf's value, in log-odds, and its condition on each feature of its path."""

    value: float
    factors: tuple[Factor, ...]


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
        for leaf in _leaves_of(tree["tree_structure"], _tree_name(tree), ())
    ]


def _tree_name(tree: Node) -> str:
    name = f"classifier: tree {tree['tree_index']}"
    if tree["num_leaves"] > MAX_LEAVES:
        raise SelfCheckError(
            f"{name} has {tree['num_leaves']} leaves; at most {MAX_LEAVES} can be "
            "explained exactly. Fit with num_leaves=8."
        )
    return name


Step = tuple[Condition, bool, float]
"""A condition on the way to a leaf, whether it must hold, and the share of rows that go this way."""


def _leaves_of(node: Node, tree: str, path: tuple[Step, ...]) -> Iterator[Leaf]:
    if "leaf_coeff" in node or "leaf_const" in node:
        raise SelfCheckError(f"{tree} has linear leaves. Fit with linear_tree=false.")
    if "split_feature" not in node:
        yield Leaf(node["leaf_value"], _factors(path))
        return
    condition = _condition(node, tree)
    for side, above in (("left_child", False), ("right_child", True)):
        child = node[side]
        share = _rows(child) / _rows(node) if _rows(node) else np.nan
        if not 0 <= share <= 1:
            raise SelfCheckError(f"{tree} lacks the row counts of its nodes. Fit it again.")
        yield from _leaves_of(child, tree, (*path, (condition, above, share)))


def _rows(node: Node) -> int:
    return int(node.get("internal_count", node.get("leaf_count", 0)))


def _condition(node: Node, tree: str) -> Condition:
    if node["decision_type"] != "<=":
        raise SelfCheckError(f"{tree} has a categorical split. Encode categories as ordered codes.")
    if node["missing_type"] not in ("None", "NaN"):
        raise SelfCheckError(f"{tree} treats zero as missing. Fit with zero_as_missing=false.")
    # If training saw no missing value, LightGBM treats one as 0.
    above = not node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] < 0
    return Condition(node["split_feature"], exact_threshold(node["threshold"]), above)


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


def _factors(path: Sequence[Step]) -> tuple[Factor, ...]:
    """A path's condition on each feature: one condition holds (`low`) and another does not (`high`)."""
    low: dict[int, Condition] = {}
    high: dict[int, Condition] = {}
    share: dict[int, float] = defaultdict(lambda: 1.0)
    for condition, above, part in path:
        feature = condition.feature
        share[feature] *= part
        if above:
            low[feature] = low.get(feature, condition) & condition
        else:
            high[feature] = high.get(feature, condition) | condition
    return tuple(Factor(f, share[f], _terms(low.get(f), high.get(f))) for f in sorted(share))


def _terms(
    low: Condition | None, high: Condition | None
) -> tuple[tuple[Condition | None, float], ...]:
    """`low and not high` = low - (low and high)."""
    if high is None:
        return ((low, 1.0),)
    both = high if low is None else low & high
    return () if low == both else ((low, 1.0), (both, -1.0))
