"""Shallow LightGBM trees, trained with early stopping or for a number of rounds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

MAX_ROUNDS = 2_000
PATIENCE_ROUNDS = 50
LEAST_GAIN = 1e-5
"""The log-loss that `PATIENCE_ROUNDS` rounds must gain; a longer tail gained nothing."""

PARAMETERS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "num_leaves": 8,
    "max_bin": 24,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}
"""Few bins make small lookup tables; more gain nothing (docs/internals/decisions.md)."""

LEAF_ROWS = (20, 500)
"""The bounds of `min_data_in_leaf`."""

SMALL_VALUES = 2_000_000

Together = Sequence[Sequence[int]]
"""Sets of features; all features of a path are in one of them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Users of one part: `features` float32 [rows, features], `label` int8 [rows]."""

    features: np.ndarray
    label: np.ndarray

    def subset(self, rows: np.ndarray) -> "Sample":
        """Some of the users."""
        return Sample(self.features[rows], self.label[rows])


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyperparameters.

    Attributes:
        name: For the table of trials.
        depth: Of a tree, 1 to 3.
        learning_rate: The share of a tree's correction that is applied.
        pairs: So many of the strongest pairs of features may interact; None sets no limit.
        leaf_share: A leaf has at least this share of the users, within `LEAF_ROWS`.
        lambda_l2: Penalty on the square of a leaf's value.
        feature_fraction: The share of features that each tree may use.
    """

    name: str
    depth: int = 3
    learning_rate: float = 0.1
    pairs: int | None = None
    leaf_share: float = 1 / 500
    lambda_l2: float = 20.0
    feature_fraction: float = 1.0

    def parameters(self, rows: int) -> dict[str, Any]:
        """LightGBM's parameters for so many users."""
        return {
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": int(np.clip(self.leaf_share * rows, *LEAF_ROWS)),
            "lambda_l2": self.lambda_l2,
            "feature_fraction": self.feature_fraction,
        }


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that trees need to be trained again, besides the users.

    Attributes:
        settings: Hyperparameters.
        pairs: The strongest pairs of features, of which `settings.pairs` are allowed.
        rounds: At least 1.
    """

    settings: Settings
    pairs: Together
    rounds: int


class Trainer:
    """Binned users, on whom several models can be trained."""

    def __init__(self, sample: Sample, names: tuple[str, ...], seed: int) -> None:
        self._shared: dict[str, Any] = {**PARAMETERS, "seed": seed}
        self._rows, self._width = sample.features.shape
        self._threads = threads_for(sample.features)
        self._data = lgb.Dataset(
            sample.features,
            sample.label,
            feature_name=model_names(names),
            params={**self._shared, "num_threads": self._threads},
            free_raw_data=False,
        )

    def train(self, config: TrainConfig) -> lgb.Booster:
        """Trees for a fixed number of rounds."""
        parameters = self._parameters(config.settings, config.pairs)
        booster = lgb.train(parameters, self._data, config.rounds)
        # Read back from the text that goes into the bundle, so that what is exported is what was checked.
        return lgb.Booster(model_str=plain_text(booster, config.rounds))

    def train_with_early_stopping(
        self, settings: Settings, pairs: Together, validation: Sample
    ) -> tuple[lgb.Booster, np.ndarray]:
        """Trees until the validation loss stops falling, and that loss by round, float64 [rounds]."""
        seen = self._data.create_valid(validation.features, validation.label)
        curves: dict[str, dict[str, list[float]]] = {}
        booster = lgb.train(
            self._parameters(settings, pairs),
            self._data,
            MAX_ROUNDS,
            valid_sets=[seen],
            callbacks=[
                lgb.early_stopping(PATIENCE_ROUNDS, verbose=False, min_delta=LEAST_GAIN),
                lgb.record_evaluation(curves),
            ],
        )
        return booster, np.array(curves["valid_0"]["binary_logloss"])

    def _parameters(self, settings: Settings, pairs: Together) -> dict[str, Any]:
        limits: dict[str, Any] = {}
        if settings.pairs is not None:
            allowed = [list(pair) for pair in pairs[: settings.pairs]]
            singles = [[feature] for feature in range(self._width)]
            limits = {"interaction_constraints": [*allowed, *singles]}
        threads = {"num_threads": self._threads}
        return self._shared | threads | settings.parameters(self._rows) | limits


def plain_text(booster: lgb.Booster, rounds: int) -> str:
    """The trees of the first rounds; without the number of threads, which changes nothing."""
    text = booster.model_to_string(num_iteration=rounds)
    return re.sub(r"\[num_threads: \d+\]\n", "", text)


def raw_scores(booster: lgb.Booster, features: np.ndarray, rounds: int = -1) -> np.ndarray:
    """LightGBM's sum of leaves over the first rounds, all if -1, float64 [rows]."""
    raw = booster.predict(
        features, raw_score=True, num_iteration=rounds, num_threads=threads_for(features)
    )
    return np.asarray(raw, dtype=np.float64)


def threads_for(features: np.ndarray) -> int:
    """1 for small tables, which threads do not speed up; 0 for all others, which means all threads."""
    return 1 if features.size < SMALL_VALUES else 0


def model_names(names: tuple[str, ...]) -> list[str]:
    """The names, or numbered ones if LightGBM's text format cannot hold one of them."""
    if all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in names):
        return list(names)
    return [f"feature_{position}" for position in range(len(names))]
