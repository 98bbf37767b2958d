"""Exact SHAP values of a tree ensemble as a few lookup tables and products.

The values are those of LightGBM's path-dependent TreeSHAP (`pred_contrib`). With at most two features
per path, the model is a GA²M: main effects and pairwise interactions, one table each. For a leaf of
value w, o_j is 1 if a row satisfies the path's conditions on feature j, else 0, and z_j is the share
of training rows that did. The leaf adds w * prod(o_j) to the score. The Shapley values of that product
are polynomials in the o_j, so all leaves of a model add up to few terms:

* Leaves of one or two features become one table for each feature and each pair of features,
  M_T = sum over leaves of w * prod_{j in T}(o_j - z_j) * prod_{j not in T} z_j, and M_T is shared
  equally by the features of T. A row finds its cell by counting the thresholds of each feature.
* Other leaves become products of conditions with one weight for each feature: with d features on
  the path, a product over q of them is worth w * prod_{other} z_j times (q-1)! (d-q)! / d! to its
  features, and -q! (d-q-1)! / d! to the other features of the path.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import factorial, prod

import lightgbm as lgb
import numpy as np

from engine.bundle.manifest import Calibration
from engine.errors import SelfCheckError
from training.model.shapley.leaves import Condition, Factor, Leaf, read_leaves

MAX_GRAPH_BYTES = 8_000_000
TABLE_FEATURES = 2
"""Leaves of so many features go into tables; a table of three would have thousands of cells."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Effects of features and pairs of features by bin.

    Bin 0 is for a missing value; bin 1 + n for a value that does not exceed n thresholds.

    Attributes:
        thresholds: Of each feature, rising, float32.
        single: Of each feature, float64 [bins].
        pair: Of each pair of features, float64 [bins of the first, bins of the second].
    """

    thresholds: tuple[np.ndarray, ...]
    single: tuple[np.ndarray, ...]
    pair: Mapping[tuple[int, int], np.ndarray]


Products = Mapping[tuple[Condition, ...], np.ndarray]
"""For a product of conditions on different features: its weight for each feature, float64."""


@dataclass(frozen=True, slots=True)
class Effects:
    """A whole model: margin = base + sum of all impacts.

    Attributes:
        base: The margin of the mean training row, as TreeSHAP defines it.
        tables: Effects of leaves with one or two features.
        products: Effects of all other leaves.
        constant: What is added to each impact, float64 [features].
    """

    base: float
    tables: Tables
    products: Products
    constant: np.ndarray

    @property
    def cost(self) -> int:
        """Comparisons, lookups and products for one row."""
        thresholds = sum(len(values) + 1 for values in self.tables.thresholds)
        return thresholds + len(self.tables.single) + len(self.tables.pair) + len(self.products)


def model_effects(booster: lgb.Booster, calibration: Calibration, feature_count: int) -> Effects:
    """The impacts and the base value of a model, on the scale of the calibrated margin.

    Args:
        booster: A binary model, or any other with one score.
        calibration: Its slope multiplies every impact; its intercept goes into the base.
        feature_count: The width of `features`.

    Raises:
        SelfCheckError: The model cannot be compiled exactly, or needs too large a graph.
    """
    slope = calibration.slope
    leaves = [Leaf(slope * leaf.value, leaf.factors) for leaf in read_leaves(booster)]
    mean = sum(leaf.value * prod(f.share for f in leaf.factors) for leaf in leaves)
    small = [leaf for leaf in leaves if len(leaf.factors) <= TABLE_FEATURES]
    large = [leaf for leaf in leaves if len(leaf.factors) > TABLE_FEATURES]
    products, constant = products_of(large, feature_count)
    effects = Effects(
        calibration.intercept + mean, effect_tables(small, feature_count), products, constant
    )
    _check_size(effects.tables, products)
    return effects


def effect_tables(leaves: Sequence[Leaf], features: int) -> Tables:
    """Tables of leaves with one or two features, summed in double precision."""
    used: list[set[float]] = [set() for _ in range(features)]
    for leaf in leaves:
        for factor in leaf.factors:
            used[factor.feature] |= {c.threshold for c, _ in factor.terms if c is not None}
    thresholds = tuple(np.array(sorted(values), np.float32) for values in used)
    single = tuple(np.zeros(len(values) + 2) for values in thresholds)
    pair: dict[tuple[int, int], np.ndarray] = {}
    for leaf in leaves:
        effects = [_by_bin(f, thresholds[f.feature]) - f.share for f in leaf.factors]
        for n, factor in enumerate(leaf.factors):
            others = prod(f.share for f in leaf.factors if f is not factor)
            single[factor.feature][:] += leaf.value * others * effects[n]
        if len(leaf.factors) == TABLE_FEATURES:
            key = (leaf.factors[0].feature, leaf.factors[1].feature)
            pair[key] = pair.get(key, 0.0) + leaf.value * np.outer(*effects)
    return Tables(thresholds, single, dict(sorted(pair.items())))


def _by_bin(factor: Factor, thresholds: np.ndarray) -> np.ndarray:
    """The value of a factor in each bin of its feature, float64 [bins]."""
    result = np.zeros(len(thresholds) + 2)
    for condition, weight in factor.terms:
        if condition is None:
            result += weight
        else:
            result[0] += weight * condition.missing
            # Bin 1 + n is for values that do not exceed n thresholds, counted from the highest.
            above = len(thresholds) - int(np.searchsorted(thresholds, condition.threshold))
            result[1 : above + 1] += weight
    return result


def products_of(leaves: Sequence[Leaf], features: int) -> tuple[Products, np.ndarray]:
    """Products of leaves with many features, and the constant part of each impact."""
    weights: dict[tuple[Condition, ...], np.ndarray] = defaultdict(lambda: np.zeros(features))
    for leaf in leaves:
        count = len(leaf.factors)
        for size in range(count + 1):
            for chosen in combinations(leaf.factors, size):
                worth = leaf.value * _worth(leaf.factors, chosen, features)
                for terms in product(*(factor.terms for factor in chosen)):
                    conditions = tuple(c for c, _ in terms if c is not None)
                    weights[conditions] += prod(weight for _, weight in terms) * worth
    constant = weights.pop((), np.zeros(features))
    return dict(sorted(weights.items())), constant


def _worth(factors: Sequence[Factor], chosen: Sequence[Factor], features: int) -> np.ndarray:
    """Shapley's values of a product over the chosen factors, for a leaf of value 1."""
    d, q = len(factors), len(chosen)
    others = [factor for factor in factors if factor not in chosen]
    worth = np.zeros(features)
    if q:
        worth[[f.feature for f in chosen]] = factorial(q - 1) * factorial(d - q) / factorial(d)
    if others:
        worth[[f.feature for f in others]] = -factorial(q) * factorial(d - q - 1) / factorial(d)
    return worth * prod(factor.share for factor in others)


def _check_size(tables: Tables, products: Products) -> None:
    # As the graph stores them: every table is as long as the longest.
    cells = len(tables.pair) * max((t.size for t in tables.pair.values()), default=0)
    size = 4 * (cells + len(products) * (len(tables.single) + 4))
    if size > MAX_GRAPH_BYTES:
        raise SelfCheckError(
            f"classifier: its exact impacts need {size / 1e6:.1f} MB of tables; at "
            f"most {MAX_GRAPH_BYTES / 1e6:.0f} MB are allowed. Fit with a smaller "
            "max_bin, fewer pairs of features or fewer trees."
        )
