"""Shallow LightGBM trees, grown until the validation part says stop."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

MAX_ROUNDS = 2_000
PATIENCE_ROUNDS = 50
PARAMETERS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.1,
    "max_depth": 3,
    "num_leaves": 8,
    "lambda_l2": 20.0,
    "max_bin": 31,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}
"""Few bins make small tables of effects; finer ones gained nothing in a study."""

LIMITED_RATE = 0.2
"""Where few features may work together, larger steps lose nothing and need half the trees."""

LEAF_ROWS = (20, 200)
LEAF_SHARE = 1 / 500
"""A leaf has at least this share of the train part, within these bounds."""

SMALL_VALUES = 2_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Users of one part: `features` float32 [rows, features], `label` int8 [rows]."""

    features: np.ndarray
    label: np.ndarray


class Grower:
    """Binned users of both parts, from which several models can be grown."""

    def __init__(
        self, train: Sample, validation: Sample, names: tuple[str, ...], seed: int
    ) -> None:
        leaf_rows = int(np.clip(LEAF_SHARE * len(train.label), *LEAF_ROWS))
        self._parameters: dict[str, Any] = {
            **PARAMETERS,
            "min_data_in_leaf": leaf_rows,
            "seed": seed,
            "num_threads": _threads(train.features),
        }
        self._train = lgb.Dataset(
            train.features,
            train.label,
            feature_name=model_names(names),
            params=self._parameters,
            free_raw_data=False,
        )
        self._validation = self._train.create_valid(validation.features, validation.label)

    def grow(self, together: Sequence[tuple[int, ...]] | None = None) -> lgb.Booster:
        """Trees up to the round with the least log-loss of the validation part.

        Args:
            together: Sets of features, one of which holds all features of a path; None allows all.
        """
        limits: dict[str, Any] = {}
        if together is not None:
            limits = {
                "learning_rate": LIMITED_RATE,
                "interaction_constraints": [*map(list, together)],
            }
        booster = lgb.train(
            self._parameters | limits,
            self._train,
            MAX_ROUNDS,
            valid_sets=[self._validation],
            callbacks=[lgb.early_stopping(PATIENCE_ROUNDS, verbose=False)],
        )
        # Read back from the text that goes into the bundle: what is exported is what is audited.
        return lgb.Booster(model_str=_plain_text(booster))


def _plain_text(booster: lgb.Booster) -> str:
    """The trees up to the best round; without the number of threads, which changes nothing."""
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    return re.sub(r"\[num_threads: \d+\]\n", "", text)


def raw_scores(booster: lgb.Booster, features: np.ndarray) -> np.ndarray:
    """LightGBM's sum of leaves, float64 [rows]."""
    threads = _threads(features)
    raw = booster.predict(features, raw_score=True, num_threads=threads)
    return np.asarray(raw, dtype=np.float64)


def _threads(features: np.ndarray) -> int:
    """One for small tables, where waiting for another costs more than it does; 0 means all."""
    return 1 if features.size < SMALL_VALUES else 0


def model_names(names: tuple[str, ...]) -> list[str]:
    """Names that LightGBM's text format can hold, numbers if any name cannot stand in it."""
    if all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in names):
        return list(names)
    return [f"feature_{position}" for position in range(len(names))]
