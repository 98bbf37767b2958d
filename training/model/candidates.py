"""The search space of trees: a fixed design first, then random draws.

A path with at most three features becomes a cell of a small table, cheap to score and to explain. So
the first trial trains trees of depth 3, which show which features work together; most others may
only combine the strongest pairs or triples, and then grow as deep as they like.

Two families suit different tables: shallow trees with a large penalty, whose effects are smooth, and
deep ones with fine bins.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np

from training.model.trees import FeatureSet, Settings

SIZES = (2, 3)
"""How many features may work together."""

SHALLOW = Settings("depth 3")
DEEP = Settings(
    "deep",
    depth=None,
    leaves=15,
    learning_rate=0.05,
    leaf_share=1 / 1_000,
    lambda_l2=5.0,
    feature_fraction=0.5,
    bins=63,
)
UNRESTRICTED = replace(DEEP, name="unrestricted LightGBM", leaves=31, lambda_l2=1.0, bins=255)
"""What may combine any features, and so has no exact impacts: the standard of the others."""

Strongest = Mapping[int, tuple[FeatureSet, ...]]
"""By their size, the sets of features that work together, the strongest first."""

DRAWN_SETS = {2: (32, 96), 3: (24, 512)}
TRIPLES_CHANCE = 0.5
SHALLOW_CHANCE = 0.4
FRACTIONS = (0.3, 0.5, 0.8, 1.0)
BINS = (24, 63, 255)
SHALLOW_RATES, SHALLOW_PENALTIES, SHALLOW_SHARES = (0.05, 0.2), (5.0, 100.0), (1 / 2_000, 1 / 100)
RATES, PENALTIES, SHARES, LEAVES = (0.02, 0.1), (0.1, 50.0), (1 / 5_000, 1 / 200), (6, 63)

DESIGN = (
    SHALLOW,
    Settings("stumps", depth=1, leaves=2, learning_rate=0.2),
    replace(SHALLOW, name="32 pairs", together=2, sets=32),
    replace(DEEP, name="128 triples, deep", together=3, sets=128),
    replace(SHALLOW, name="64 pairs", lambda_l2=100.0, feature_fraction=0.5, together=2, sets=64),
    replace(DEEP, name="32 pairs, deep", together=2, sets=32),
    replace(DEEP, name="256 triples, deep", leaves=31, lambda_l2=1.0, together=3, sets=256),
)
"""Fewer than 32 pairs save little, and which ones are found is then chance. Stumps lose little by a larger
learning rate, and need half the trees."""


def search_space(seed: int) -> Iterator[Settings]:
    """The design, then endless draws; the n-th depends on the seed and n only."""
    yield from DESIGN
    number = len(DESIGN)
    while True:
        number += 1
        yield draw(np.random.default_rng([seed, number]), f"draw {number - len(DESIGN)}")


def draw(rng: np.random.Generator, name: str) -> Settings:
    """Random settings; numbers are drawn log-uniformly between their bounds."""
    together = 3 if rng.random() < TRIPLES_CHANCE else 2
    sets = round(_between(rng, DRAWN_SETS[together]))
    fraction = float(rng.choice(FRACTIONS))
    if rng.random() < SHALLOW_CHANCE:
        return replace(
            SHALLOW,
            name=name,
            learning_rate=_between(rng, SHALLOW_RATES),
            together=together,
            sets=sets,
            leaf_share=_between(rng, SHALLOW_SHARES),
            lambda_l2=_between(rng, SHALLOW_PENALTIES),
            feature_fraction=fraction,
        )
    return replace(
        DEEP,
        name=name,
        leaves=round(_between(rng, LEAVES)),
        learning_rate=_between(rng, RATES),
        together=together,
        sets=sets,
        leaf_share=_between(rng, SHARES),
        lambda_l2=_between(rng, PENALTIES),
        feature_fraction=fraction,
        bins=int(rng.choice(BINS)),
    )


def _between(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(f"{np.exp(rng.uniform(*np.log(bounds))):.2g}")


def strongest_sets(boosters: Iterable[lgb.Booster]) -> Strongest:
    """Sets of features by their gain in all boosters together."""
    total: dict[FeatureSet, float] = defaultdict(float)
    for booster in boosters:
        for features, gain in _gains(booster):
            total[features] += gain
    ranked = sorted(total, key=lambda features: (-total[features], features))
    return {size: tuple(s for s in ranked if len(s) == size) for size in SIZES}


def _gains(booster: lgb.Booster) -> Iterator[tuple[FeatureSet, float]]:
    """Gains of splits: of a pair where one directly follows the other, of a triple by its path.

    NOTE: counting all pairs of a path finds worse pairs (docs/internals/decisions.md).
    """
    waiting: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        (tree["tree_structure"], ()) for tree in booster.dump_model()["tree_info"]
    ]
    while waiting:
        node, above = waiting.pop()
        if "split_feature" not in node:
            continue
        feature = node["split_feature"]
        path = (*above, feature)
        if len(set(path[-2:])) == 2:
            yield tuple(sorted(path[-2:])), node["split_gain"]
        if len(set(path)) == 3:
            yield tuple(sorted(set(path))), node["split_gain"]
        waiting += [(node["left_child"], path), (node["right_child"], path)]
