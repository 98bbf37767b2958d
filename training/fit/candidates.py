"""Which trees: the cheapest to score and explain among those that are as good as the best.

Trees whose paths hold at most two features become small tables of effects. So free trees are grown
first; they show which pairs of features work together, and others are then grown from the strongest
pairs only.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from engine.bundle import Calibration
from engine.errors import SelfCheckError
from training.fit.trees import LIMITED_RATE, PARAMETERS, PATIENCE_ROUNDS, Grower, Sample, raw_scores
from training.shapley.effects import model_effects

PAIRS = (0, 8, 16, 24)
"""So many of the strongest pairs of features are allowed to work together."""

DECIMALS = 8

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """How good a candidate is, and what it costs.

    Attributes:
        name: `free`, or how many pairs of features may work together.
        trees: How many there are.
        log_loss: The mean over the validation part.
        difference: The mean over users of its log-loss less that of the best candidate.
        standard_error: Of that mean.
        cost: Comparisons, lookups and products for a row; None where it cannot be exported.
    """

    name: str
    trees: int
    log_loss: float
    difference: float
    standard_error: float
    cost: int | None


def choose_trees(
    train: Sample, validation: Sample, names: tuple[str, ...], seed: int
) -> tuple[lgb.Booster, dict[str, Any]]:
    """The cheapest trees within one standard error of the best, and the figures of all.

    Raises:
        SelfCheckError: No candidate can be exported.
    """
    candidates = dict(_candidates(Grower(train, validation, names, seed), len(names)))
    figures = measure_candidates(candidates, validation, len(names))
    chosen = cheapest(figures)
    report = {
        "parameters": {k: v for k, v in PARAMETERS.items() if k != "verbose"},
        "learning_rate_with_pairs": LIMITED_RATE,
        "patience_rounds": PATIENCE_ROUNDS,
        "trees": candidates[chosen].num_trees(),
        "chosen": chosen,
        "candidates": [asdict(f) for f in figures],
    }
    return candidates[chosen], report


def _candidates(grower: Grower, width: int) -> Iterator[tuple[str, lgb.Booster]]:
    free = grower.grow()
    yield "free", free
    pairs = strongest_pairs(free)
    # Without pairs, the free trees are what any limit would give.
    for count in sorted({min(n, len(pairs)) for n in PAIRS}) if pairs else ():
        singles = [(feature,) for feature in range(width)]
        yield f"{count} pairs", grower.grow([*pairs[:count], *singles])


def strongest_pairs(booster: lgb.Booster) -> list[Pair]:
    """Pairs of features that follow one another on a path, by the gain of the later split."""
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
    return sorted(gains, key=lambda pair: (-gains[pair], pair))


def measure_candidates(
    candidates: dict[str, lgb.Booster], validation: Sample, width: int
) -> list[Figures]:
    """The figures of each candidate, in the order given; the best is one that can be exported.

    Raises:
        SelfCheckError: None can be exported.
    """
    losses = {name: log_losses(booster, validation) for name, booster in candidates.items()}
    costs = {name: _cost(booster, width) for name, booster in candidates.items()}
    eligible = [name for name, cost in costs.items() if cost is not None]
    if not eligible:
        # The first one says why.
        model_effects(next(iter(candidates.values())), Calibration(1.0, 0.0), width)
    best = min(eligible, key=lambda name: float(losses[name].mean()))
    found = []
    for name, booster in candidates.items():
        gap = losses[name] - losses[best]
        loss, difference, error = (
            round(float(value), DECIMALS)
            for value in (losses[name].mean(), gap.mean(), gap.std() / np.sqrt(len(gap)))
        )
        found.append(Figures(name, booster.num_trees(), loss, difference, error, costs[name]))
    return found


def cheapest(figures: list[Figures]) -> str:
    """The name of the candidate with the least cost within one standard error of the best."""
    good = [f for f in figures if f.cost is not None and f.difference <= f.standard_error]
    return min(good, key=lambda f: (f.cost, f.log_loss)).name


def log_losses(booster: lgb.Booster, sample: Sample) -> np.ndarray:
    """The log-loss of each user, float64 [rows]."""
    raw = raw_scores(booster, sample.features)
    return np.logaddexp(0.0, raw) - sample.label * raw


def _cost(booster: lgb.Booster, width: int) -> int | None:
    try:
        return model_effects(booster, Calibration(1.0, 0.0), width).cost
    except SelfCheckError:
        return None
