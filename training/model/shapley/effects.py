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
from training.model.shapley.leaves import Leaves, read_leaves

MAX_GRAPH_BYTES = 8_000_000
PATH_FEATURES = 3
"""The most features on a path: a table of four would have tens of thousands of cells."""

FEATURE_NS, COMPARISON_NS, LOOKUP_NS = 6.0, 0.25, 1.0
"""What a feature (its impact, and the search for the largest), a threshold and a lookup cost a row:
benchmarks/test_drivers.py measures the sum."""

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
        leaves: All whose paths have these features, and perhaps more.
    """

    features: tuple[int, ...]
    thresholds: tuple[np.ndarray, ...]
    leaves: tuple[Leaves, ...]

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
    mean = sum(float(some.value @ some.share.prod(axis=1)) for some in leaves)
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
    return FEATURE_NS * feature_count + COMPARISON_NS * thresholds + LOOKUP_NS * lookups


def _checked_leaves(booster: lgb.Booster) -> list[Leaves]:
    leaves = read_leaves(booster)
    most = max((len(some.features) for some in leaves), default=0)
    if most > PATH_FEATURES:
        raise SelfCheckError(
            f"classifier: a path of its trees has {most} features; at most {PATH_FEATURES} can be "
            f"explained exactly. Fit with max_depth={PATH_FEATURES} or interaction_constraints."
        )
    return leaves


def _plans(leaves: Sequence[Leaves]) -> list[_Plan]:
    """For each set of features that some path has, its table; by size, then by features."""
    members: dict[tuple[int, ...], list[Leaves]] = defaultdict(list)
    for some in leaves:
        for size in range(1, len(some.features) + 1):
            for features in combinations(some.features, size):
                members[features].append(some)
    plans = [
        _Plan(features, tuple(_thresholds(name, found) for name in features), tuple(found))
        for features, found in sorted(members.items(), key=lambda m: (len(m[0]), m[0]))
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
    total = np.zeros(plan.shape)
    for leaves in plan.leaves:
        for start in range(0, len(leaves.value), rows):
            total += _summed_block(plan, leaves, slice(start, start + rows))
    return total


def _summed_block(plan: _Plan, leaves: Leaves, rows: slice) -> np.ndarray:
    columns = [leaves.features.index(feature) for feature in plan.features]
    others = np.delete(leaves.share[rows], columns, axis=1)
    # A leaf's value for the mean of the features that are not in the table.
    joint = (leaves.value[rows] * others.prod(axis=1))[:, None]
    *effects, last = (
        _by_bin(leaves, column, rows, thresholds)
        for column, thresholds in zip(columns, plan.thresholds, strict=True)
    )
    for effect in effects:
        joint = (joint[:, :, None] * effect[:, None, :]).reshape(len(joint), -1)
    return (joint.T @ last).reshape(plan.shape)


def _thresholds(feature: int, leaves: Iterable[Leaves]) -> np.ndarray:
    limits = [
        values[:, some.features.index(feature)]
        for some in leaves
        for values in (some.above, some.up_to)
    ]
    found = np.unique(np.concatenate(limits))
    return found[~np.isnan(found)].astype(np.float32)


def _by_bin(leaves: Leaves, column: int, rows: slice, thresholds: np.ndarray) -> np.ndarray:
    """o_j - z_j of each leaf in each bin of the feature, float64 [leaves, bins]."""
    bins = np.arange(len(thresholds) + 2)
    above, up_to = leaves.above[rows, column], leaves.up_to[rows, column]
    # The last bins whose values exceed the limits.
    first, last = (len(thresholds) - np.searchsorted(thresholds, v) for v in (up_to, above))
    first = np.where(np.isnan(up_to), 0, first)
    last = np.where(np.isnan(above), len(bins), last)
    holds = (bins > first[:, None]) & (bins <= last[:, None])
    holds[:, 0] = leaves.missing[rows, column]
    return holds - leaves.share[rows, column, None]


def _check_size(plans: Sequence[_Plan]) -> None:
    size = 4 * sum(prod(plan.shape) for plan in plans)
    if size > MAX_GRAPH_BYTES:
        raise SelfCheckError(
            f"classifier: its exact impacts need {pluralize(len(plans), 'table')} of {size / 1e6:.1f} "
            f"MB; at most {MAX_GRAPH_BYTES / 1e6:.0f} MB are allowed. Fit with a smaller max_bin, "
            "fewer interaction_constraints or fewer trees."
        )
