"""Exact SHAP values of a tree ensemble as a few lookup tables.

The values are those of LightGBM's path-dependent TreeSHAP (`pred_contrib`). For a leaf of value w,
o_j is 1 if a row satisfies the path's conditions on feature j, else 0, and z_j is the share of
training rows that did. The leaf adds w * prod(o_j) to the score. Since o_j = (o_j - z_j) + z_j, that
product is a sum over all sets T of the path's features:

    M_T = sum over leaves of w * prod_{j in T}(o_j - z_j) * prod_{j not in T} z_j

M_T is one table, the joint effect of the features of T, and its Shapley values share it equally among
them. With at most three features on a path, however many splits it has, a model is its main effects
and the interactions of pairs and triples (the functional ANOVA form of GA²M, Lou et al. 2013). A row
finds its cell by counting the thresholds of each feature. A table has a bin only where one of its own
leaves splits, so few tables have more than some thousand cells.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

import lightgbm as lgb
import numpy as np

from engine.bundle.manifest import Calibration
from engine.errors import SelfCheckError, pluralize
from training.model.shapley.leaves import Factor, Leaf, read_leaves

MAX_GRAPH_BYTES = 8_000_000
PATH_FEATURES = 3
"""The most features on a path: a table of four would have tens of thousands of cells."""

COMPARISON_NS, LOOKUP_NS = 0.25, 1.0
"""What a threshold and a lookup cost a row, measured by benchmarks/test_drivers.py."""

UNCALIBRATED = Calibration(1.0, 0.0)

BLOCK_CELLS = 5_000_000
"""Leaves are summed in blocks of about so many products."""


@dataclass(frozen=True, slots=True)
class Table:
    """The joint effect of one to three features, by the bins of each.

    Bin 0 is for a missing value; bin 1 + n for a value that does not exceed n thresholds.

    Attributes:
        features: The columns, rising.
        thresholds: Of each feature, rising, float32: where leaves of this table split.
        values: float64 [bins of the first feature, bins of the second, ...].
    """

    features: tuple[int, ...]
    thresholds: tuple[np.ndarray, ...]
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Effects:
    """A whole model: margin = base + the value of each table.

    Attributes:
        base: The margin of the mean training row, as TreeSHAP defines it.
        thresholds: All thresholds of each feature, rising, float32.
        tables: By number of features, then by features; each set of features has one at most.
    """

    base: float
    thresholds: tuple[np.ndarray, ...]
    tables: tuple[Table, ...]

    def calibrated(self, calibration: Calibration) -> "Effects":
        """The same model with a slope on every impact, and an intercept in its base value."""
        slope = calibration.slope
        tables = tuple(replace(table, values=slope * table.values) for table in self.tables)
        return Effects(calibration.intercept + slope * self.base, self.thresholds, tables)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A table before its values are summed.

    Attributes:
        features: The columns, rising.
        thresholds: Of each feature.
        leaves: All whose paths have these features.
    """

    features: tuple[int, ...]
    thresholds: tuple[np.ndarray, ...]
    leaves: tuple[Leaf, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The bins of each feature."""
        return tuple(len(values) + 2 for values in self.thresholds)


def model_effects(booster: lgb.Booster, calibration: Calibration, feature_count: int) -> Effects:
    """The impacts and the base value of a model, on the scale of the calibrated margin.

    Args:
        booster: A binary model, or any other with one score.
        calibration: Its slope multiplies every impact; its intercept goes into the base.
        feature_count: The width of `features`.

    Raises:
        SelfCheckError: The model cannot be compiled exactly, or needs too large a graph.
    """
    leaves = _checked_leaves(booster)
    plans = _plans(leaves)
    tables = tuple(Table(plan.features, plan.thresholds, _summed(plan)) for plan in plans)
    mean = sum(leaf.value * prod(f.share for f in leaf.factors) for leaf in leaves)
    thresholds = _all_thresholds(plans, feature_count)
    return Effects(mean, thresholds, tables).calibrated(calibration)


def scoring_cost(booster: lgb.Booster, feature_count: int) -> float:
    """An estimate of the graph's nanoseconds for one row on one core.

    Raises:
        SelfCheckError: See `model_effects`.
    """
    plans = _plans(_checked_leaves(booster))
    thresholds = sum(len(values) + 1 for values in _all_thresholds(plans, feature_count))
    lookups = sum(len(plan.features) + 1 for plan in plans)
    return COMPARISON_NS * thresholds + LOOKUP_NS * lookups


def _checked_leaves(booster: lgb.Booster) -> list[Leaf]:
    leaves = read_leaves(booster)
    most = max((len(leaf.factors) for leaf in leaves), default=0)
    if most > PATH_FEATURES:
        raise SelfCheckError(
            f"classifier: a path of its trees has {most} features; at most {PATH_FEATURES} can be "
            f"explained exactly. Fit with max_depth={PATH_FEATURES} or interaction_constraints."
        )
    return leaves


def _plans(leaves: Sequence[Leaf]) -> list[_Plan]:
    """For each set of features that some path has, its table; by size, then by features."""
    members: dict[tuple[int, ...], list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        names = [factor.feature for factor in leaf.factors]
        for size in range(1, len(names) + 1):
            for features in combinations(names, size):
                members[features].append(leaf)
    plans = [
        _Plan(features, tuple(_thresholds(name, some) for name in features), tuple(some))
        for features, some in sorted(members.items(), key=lambda m: (len(m[0]), m[0]))
    ]
    _check_size(plans)
    return plans


def _all_thresholds(plans: Sequence[_Plan], feature_count: int) -> tuple[np.ndarray, ...]:
    # The table of one feature has all leaves that split it.
    single = {p.features[0]: p.thresholds[0] for p in plans if len(p.features) == 1}
    return tuple(single.get(n, np.zeros(0, np.float32)) for n in range(feature_count))


def _summed(plan: _Plan) -> np.ndarray:
    """M_T in double precision, float64 [bins of each feature]."""
    rows = max(1, BLOCK_CELLS // prod(plan.shape[:-1]))
    blocks = (plan.leaves[n : n + rows] for n in range(0, len(plan.leaves), rows))
    return np.sum([_summed_block(plan, block) for block in blocks], axis=0)


def _summed_block(plan: _Plan, leaves: Sequence[Leaf]) -> np.ndarray:
    effects = [
        _by_bin([leaf.factor(name) for leaf in leaves], thresholds)
        for name, thresholds in zip(plan.features, plan.thresholds, strict=True)
    ]
    joint = np.array([[_weight(leaf, plan.features)] for leaf in leaves])
    for effect in effects[:-1]:
        joint = (joint[:, :, None] * effect[:, None, :]).reshape(len(leaves), -1)
    return (joint.T @ effects[-1]).reshape(plan.shape)


def _weight(leaf: Leaf, features: tuple[int, ...]) -> float:
    """A leaf's value for the mean of the features that are not in the table."""
    return leaf.value * prod(f.share for f in leaf.factors if f.feature not in features)


def _thresholds(feature: int, leaves: Iterable[Leaf]) -> np.ndarray:
    factors = [leaf.factor(feature) for leaf in leaves]
    limits = {limit for factor in factors for limit in (factor.above, factor.up_to)}
    return np.array(sorted(limit for limit in limits if limit is not None), np.float32)


def _by_bin(factors: Sequence[Factor], thresholds: np.ndarray) -> np.ndarray:
    """o_j - z_j of each leaf in each bin of the feature, float64 [leaves, bins]."""
    # The last bin whose values exceed a threshold.
    last = {float(limit): len(thresholds) - n for n, limit in enumerate(thresholds)}
    bins = np.arange(len(thresholds) + 2)
    holds = np.array(
        [
            (bins <= (len(bins) if factor.above is None else last[factor.above]))
            & (bins > (0 if factor.up_to is None else last[factor.up_to]))
            for factor in factors
        ]
    )
    holds[:, 0] = [factor.missing for factor in factors]
    return holds - np.array([[factor.share] for factor in factors])


def _check_size(plans: Sequence[_Plan]) -> None:
    size = 4 * sum(prod(plan.shape) for plan in plans)
    if size > MAX_GRAPH_BYTES:
        raise SelfCheckError(
            f"classifier: its exact impacts need {pluralize(len(plans), 'table')} of {size / 1e6:.1f} "
            f"MB; at most {MAX_GRAPH_BYTES / 1e6:.0f} MB are allowed. Fit with a smaller max_bin, "
            "fewer interaction_constraints or fewer trees."
        )
