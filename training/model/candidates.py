"""The search space of trees: a fixed design first, then random draws.

Trees with at most two features per path become small lookup tables, cheap to score and to explain.
So unrestricted trees are trained first; they show which pairs of features interact, and later trials
are restricted to the strongest pairs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import lightgbm as lgb
import numpy as np

from training.model.trees import Settings

FREE = Settings("free")
STUMPS = Settings("stumps", depth=1, learning_rate=0.2)
DESIGN = (
    FREE,
    STUMPS,
    Settings("depth 2", depth=2),
    Settings("8 pairs", learning_rate=0.2, pairs=8),
    Settings("16 pairs", learning_rate=0.2, pairs=16),
    Settings("24 pairs", learning_rate=0.2, pairs=24),
    Settings("32 pairs, few features a tree", pairs=32, feature_fraction=0.3),
)
"""With few interactions, a larger learning rate loses little and needs half the trees."""

DRAWN_DEPTHS = (1, 2, 3)
DEPTH_CHANCES = (0.1, 0.2, 0.7)
DRAWN_PAIRS = (12, 16, 24, 32, 40)
DRAWN_FRACTIONS = (0.2, 0.3, 0.5, 0.8, 1.0)
RATES = (0.08, 0.2)
PENALTIES = (2.0, 100.0)
LEAF_SHARES = (1 / 2_000, 1 / 200)

Pair = tuple[int, int]


def search_space(seed: int) -> Iterator[Settings]:
    """The design, then endless draws; the n-th depends on the seed and n only."""
    yield from DESIGN
    number = len(DESIGN)
    while True:
        number += 1
        yield draw(np.random.default_rng([seed, number]), f"draw {number - len(DESIGN)}")


def draw(rng: np.random.Generator, name: str) -> Settings:
    """Random settings; numbers are drawn log-uniformly between their bounds."""
    depth = int(rng.choice(DRAWN_DEPTHS, p=DEPTH_CHANCES))
    pairs = int(rng.choice(DRAWN_PAIRS))
    return Settings(
        name,
        depth=depth,
        learning_rate=_between(rng, RATES),
        pairs=None if depth == 1 else pairs,
        leaf_share=_between(rng, LEAF_SHARES),
        lambda_l2=_between(rng, PENALTIES),
        feature_fraction=float(rng.choice(DRAWN_FRACTIONS)),
    )


def _between(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(f"{np.exp(rng.uniform(*np.log(bounds))):.2g}")


def pair_gains(booster: lgb.Booster) -> dict[Pair, float]:
    """The gain of splits that follow a split on another feature, by pair of features."""
    gains: dict[Pair, float] = defaultdict(float)
    waiting = [(tree["tree_structure"], -1) for tree in booster.dump_model()["tree_info"]]
    while waiting:
        node, parent = waiting.pop()
        if "split_feature" not in node:
            continue
        feature = node["split_feature"]
        if parent not in (-1, feature):
            gains[min(parent, feature), max(parent, feature)] += node["split_gain"]
        waiting += [(node["left_child"], feature), (node["right_child"], feature)]
    return dict(gains)


def strongest_pairs(boosters: Iterable[lgb.Booster]) -> list[Pair]:
    """Pairs of features by their gain in all boosters together, the strongest first."""
    total: dict[Pair, float] = defaultdict(float)
    for booster in boosters:
        for pair, gain in pair_gains(booster).items():
            total[pair] += gain
    return sorted(total, key=lambda pair: (-total[pair], pair))
