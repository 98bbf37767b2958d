"""LightGBM trees, trained with early stopping or for a number of rounds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

MAX_ROUNDS = 5_000
PATIENCE = 5.0
"""Training stops after so many rounds without gain, divided by the learning rate."""

LEAST_GAIN = 1e-5
"""The log-loss that counts as a gain; a longer tail gained nothing."""

PARAMETERS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "feature_pre_filter": False,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}

BAGGING = {"bagging_fraction": 0.8, "bagging_freq": 1}
"""How fits of one model differ, besides their seeds."""

LEAF_ROWS = (3, 2_000)
"""The bounds of `min_data_in_leaf`."""

TREE_FEATURES = 6
"""A tree that may use fewer features misses what they do together."""

SMALL_VALUES = 2_000_000

FeatureSet = tuple[int, ...]
"""Features that may be on one path, by position, rising."""


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
        depth: The most splits on a path; None sets no limit.
        leaves: The most leaves of a tree.
        learning_rate: The share of a tree's correction that is applied.
        together: How many features a path may combine, those of one of the strongest sets of that
            size; None sets no limit.
        sets: How many sets are allowed.
        leaf_share: A leaf has at least this share of the users, within `LEAF_ROWS`.
        lambda_l2: Penalty on the square of a leaf's value.
        feature_fraction: The share of features that each tree may use, `TREE_FEATURES` at least.
        bins: The most that a feature's values are divided into.
    """

    name: str
    depth: int | None = 3
    leaves: int = 8
    learning_rate: float = 0.1
    together: int | None = None
    sets: int | None = None
    leaf_share: float = 1 / 500
    lambda_l2: float = 20.0
    feature_fraction: float = 1.0
    bins: int = 24

    @property
    def patience(self) -> int:
        """Training stops after so many rounds without gain."""
        return round(PATIENCE / self.learning_rate)

    def parameters(self, rows: int, width: int) -> dict[str, Any]:
        """LightGBM's parameters for so many users and features."""
        return {
            "max_depth": self.depth or -1,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": int(np.clip(self.leaf_share * rows, *LEAF_ROWS)),
            "lambda_l2": self.lambda_l2,
            "feature_fraction": min(1.0, max(self.feature_fraction, TREE_FEATURES / width)),
        }


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that trees need to be trained again, besides the users.

    Attributes:
        settings: Hyperparameters.
        sets: Sets of features; all features of a path are in one of them. None sets no limit.
        rounds: At least 1.
        fits: The model is the mean of so many, each trained on a share of the users.
    """

    settings: Settings
    sets: tuple[FeatureSet, ...] | None
    rounds: int
    fits: int = 1


class Trainer:
    """Users on whom several models can be trained."""

    def __init__(
        self, sample: Sample, names: tuple[str, ...], seed: int, most_threads: int = 0
    ) -> None:
        threads = threads_for(sample.features) or most_threads
        self._shared: dict[str, Any] = {**PARAMETERS, "seed": seed, "num_threads": threads}
        self._sample, self._names = sample, model_names(names)
        self._binned: dict[int, lgb.Dataset] = {}

    def train(self, config: TrainConfig) -> lgb.Booster:
        """Trees for a fixed number of rounds."""
        parameters = self._parameters(config.settings, config.sets)
        seed, data = self._shared["seed"], self._data(config.settings.bins)
        drawn = BAGGING if config.fits > 1 else {}
        texts = [
            plain_text(
                lgb.train({**parameters, **drawn, "seed": n}, data, config.rounds), config.rounds
            )
            for n in range(seed, seed + config.fits)
        ]
        # Read back from the text that goes into the bundle, so that what is exported is what was checked.
        return lgb.Booster(model_str=mean_text(texts))

    def train_with_early_stopping(
        self, settings: Settings, sets: Sequence[FeatureSet] | None, validation: Sample
    ) -> tuple[lgb.Booster, np.ndarray]:
        """Trees until the validation loss stops falling, and that loss by round, float64 [rounds]."""
        data = self._data(settings.bins)
        curves: dict[str, dict[str, list[float]]] = {}
        booster = lgb.train(
            self._parameters(settings, sets),
            data,
            MAX_ROUNDS,
            valid_sets=[data.create_valid(validation.features, validation.label)],
            callbacks=[
                lgb.early_stopping(settings.patience, verbose=False, min_delta=LEAST_GAIN),
                lgb.record_evaluation(curves),
            ],
        )
        return booster, np.array(curves["valid_0"]["binary_logloss"])

    def _data(self, bins: int) -> lgb.Dataset:
        if bins not in self._binned:
            self._binned[bins] = lgb.Dataset(
                self._sample.features,
                self._sample.label,
                feature_name=self._names,
                params={**self._shared, "max_bin": bins},
                free_raw_data=False,
            )
        return self._binned[bins]

    def _parameters(self, settings: Settings, sets: Sequence[FeatureSet] | None) -> dict[str, Any]:
        rows, width = self._sample.features.shape
        limits: dict[str, Any] = {"max_bin": settings.bins}
        if sets is not None:
            allowed = [*sets, *((feature,) for feature in range(width))]
            limits["interaction_constraints"] = [list(features) for features in allowed]
        return self._shared | settings.parameters(rows, width) | limits


def plain_text(booster: lgb.Booster, rounds: int) -> str:
    """The trees of the first rounds; without the number of threads, which changes nothing."""
    text = booster.model_to_string(num_iteration=rounds)
    return re.sub(r"\[num_threads: \d+\]\n", "", text)


def mean_text(texts: Sequence[str]) -> str:
    """The model whose raw score is the mean of those of some models, in LightGBM's text format."""
    if len(texts) == 1:
        return texts[0]
    head, _, end = _parts(texts[0])
    trees = [_scaled(tree, 1 / len(texts)) for text in texts for tree in _parts(text)[1]]
    numbered = (re.sub(r"^\d+", str(n), tree) for n, tree in enumerate(trees))
    # The sizes of the trees' texts are optional, and others now.
    head = re.sub(r"tree_sizes=.*\n", "", head)
    return head + "".join(f"Tree={tree}" for tree in numbered) + end


def _parts(text: str) -> tuple[str, list[str], str]:
    """What stands before the trees, each tree from its number on, and what follows them."""
    body, mark, after = text.partition("end of trees")
    head, *trees = body.split("Tree=")
    return head, trees, mark + after


def _scaled(tree: str, factor: float) -> str:
    """A tree's text with its values times a factor."""

    def scaled(line: re.Match[str]) -> str:
        return line[1] + " ".join(repr(factor * float(value)) for value in line[2].split())

    return re.sub(r"^((?:leaf|internal)_value=)(.*)$", scaled, tree, flags=re.MULTILINE)


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
