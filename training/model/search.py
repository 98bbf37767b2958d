"""The search for the trees that are cheapest to score among those as good as the best.

All trials use the same folds, so that they are compared user by user. One that is clearly worse in
the first folds stops there. The clock only decides how many trials start; the same number of trials
gives the same trees.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import lightgbm as lgb
import numpy as np

from engine.errors import SelfCheckError
from engine.model.threads import available_cores, in_order
from training.effort import Effort, TrialWatch, unwatched
from training.model.candidates import (
    SHALLOW,
    SIZES,
    UNRESTRICTED,
    Strongest,
    search_space,
    strongest_sets,
)
from training.model.shapley.effects import scoring_cost
from training.model.trees import FeatureSet, Sample, Settings, Trainer, plain_text, raw_scores
from training.model.validation import fold_losses, mean_loss

UNRACED = 2
"""The first trials are measured in all folds: what interactions gain is told from them."""

RACE_ERRORS = 3.0
"""A trial stops after a fold if it is this many standard errors worse than the best so far."""

STANDARD = 0
"""The number of the unrestricted trial, which is none of the candidates."""

LANES = 2
"""So many trials run at a time, on any machine: it decides which results a trial can race against.
LightGBM gains little from a second thread on so few users (decisions.md)."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Train and validation rows of one fold.

    Attributes:
        train: Features and labels.
        validation: Others, with category codes learned from the train rows only.
        users: A number for each user of the validation rows, int64 [rows].
    """

    train: Sample
    validation: Sample
    users: np.ndarray


@dataclass(frozen=True, slots=True)
class Pool:
    """The users that trees are chosen by and trained on.

    Attributes:
        sample: All of them.
        folds: Each row is in the validation rows of at most one.
        description: How the folds were made, for the manifest.
    """

    sample: Sample
    folds: tuple[Fold, ...]
    description: Mapping[str, object] = field(default_factory=dict)

    @property
    def validation(self) -> tuple[Sample, ...]:
        """The validation rows of each fold."""
        return tuple(fold.validation for fold in self.folds)

    @property
    def validation_users(self) -> np.ndarray:
        """The users of the validation rows, fold after fold, int64 [rows of all folds]."""
        return np.concatenate([fold.users for fold in self.folds])


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of some settings.

    Attributes:
        number: From 1, in the order of the start.
        settings: What was tried.
        rounds: Where the mean log-loss of the folds is least.
        scores: Raw scores of each fold's validation rows, float64 [rows]; of the first folds
            only where the trial stopped there.
        booster: The trees of the first fold.
        cost: An estimate of nanoseconds for a row; None if it cannot be exported.
    """

    number: int
    settings: Settings
    rounds: int
    scores: tuple[np.ndarray, ...]
    booster: lgb.Booster
    cost: float | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: All, in order.
        unrestricted: LightGBM with any number of features on a path, in the same folds; None where
            only one trial was asked for.
        strongest: Sets of features that work together, from all folds.
    """

    trials: tuple[Trial, ...]
    unrestricted: Trial | None
    strongest: Strongest


class Search:
    """Tries settings in the folds, and remembers which features work together."""

    def __init__(self, pool: Pool, names: tuple[str, ...], seed: int) -> None:
        self.validation = pool.validation
        threads = max(1, available_cores() // LANES)
        # LightGBM's data are not shared by trials that run at the same time.
        self._lanes = [
            [Trainer(fold.train, names, seed, threads) for fold in pool.folds] for _ in range(LANES)
        ]
        self._width = pool.sample.features.shape[1]
        nothing: Strongest = dict.fromkeys(SIZES, ())
        self._by_fold = [nothing for _ in pool.folds]
        self.strongest = nothing

    def try_all(
        self, numbered: Sequence[tuple[int, Settings]], rival: Trial | None
    ) -> tuple[Trial, ...]:
        """Try at most `LANES` settings at the same time; see `try_settings`."""

        def run(lane: int) -> Trial:
            number, settings = numbered[lane]
            return self.try_settings(number, settings, rival if number > UNRACED else None, lane)

        return tuple(in_order(run, range(len(numbered)), LANES))

    def try_settings(
        self, number: int, settings: Settings, rival: Trial | None = None, lane: int = 0
    ) -> Trial:
        """Train and validate settings in each fold, until they have lost against a rival."""
        curves: list[np.ndarray] = []
        boosters: list[lgb.Booster] = []
        raced: list[np.ndarray] = []
        for trainer, strongest, validation in zip(
            self._lanes[lane], self._by_fold, self.validation, strict=True
        ):
            sets = allowed_sets(settings, strongest)
            booster, curve = trainer.train_with_early_stopping(settings, sets, validation)
            boosters.append(booster)
            curves.append(curve)
            if rival is None or len(curves) == len(self.validation):
                continue
            raced.append(raw_scores(booster, validation.features, int(np.argmin(curve)) + 1))
            if self._lose(raced, rival):
                break
        rounds = best_rounds(curves)
        read = [lgb.Booster(model_str=plain_text(b, rounds)) for b in boosters]
        if settings == SHALLOW:
            self._by_fold = [strongest_sets([booster]) for booster in read]
            self.strongest = strongest_sets(read)
        scores = [raw_scores(b, j.features) for b, j in zip(read, self.validation, strict=False)]
        return Trial(number, settings, rounds, tuple(scores), read[0], _cost(read[0], self._width))

    def _lose(self, scores: Sequence[np.ndarray], best: Trial) -> bool:
        """Whether the scores of the first folds are clearly worse than those of the best trial."""
        folds = self.validation[: len(scores)]
        gap = fold_losses(scores, folds) - fold_losses(best.scores[: len(scores)], folds)
        return bool(gap.mean() > RACE_ERRORS * gap.std() / np.sqrt(len(gap)))


def allowed_sets(settings: Settings, strongest: Strongest) -> tuple[FeatureSet, ...] | None:
    """The sets of features that paths may combine; None if any may."""
    return None if settings.together is None else strongest[settings.together][: settings.sets]


def best_rounds(curves: Sequence[np.ndarray]) -> int:
    """Where the mean log-loss of the folds is least.

    A fold whose training ended early keeps its last loss, so that it does not end the others.
    """
    longest = max(map(len, curves))
    padded = [np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves]
    return int(np.argmin(np.mean(padded, axis=0))) + 1


def search(
    pool: Pool,
    names: tuple[str, ...],
    seed: int,
    effort: Effort,
    watch: TrialWatch = unwatched,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Try settings in order until the effort is spent, but at least one.

    Args:
        pool: The folds in which settings are compared.
        names: The feature names.
        seed: Makes the search repeatable.
        effort: How many trials, and for how long.
        watch: Follows the trials.
        clock: Seconds from any start.
    """
    running = Search(pool, names, seed)
    started = clock()
    space = _different(search_space(seed), running)
    watch(1, None)
    # The others need what the first finds, so the standard runs beside it.
    first = [(1, next(space)), (STANDARD, UNRESTRICTED)][: effort.trials]
    found, *standard = running.try_all(first, None)
    trials = [found]
    while len(trials) < effort.trials and not _late(effort, clock() - started):
        rival = min(
            (trial for trial in trials if len(trial.scores) == len(pool.folds)),
            key=lambda trial: mean_loss(trial.scores, running.validation),
        )
        watch(len(trials) + 1, mean_loss(rival.scores, running.validation))
        numbered = enumerate(islice(space, LANES), len(trials) + 1)
        trials += running.try_all(list(numbered)[: effort.trials - len(trials)], rival)
    return SearchResult(tuple(trials), standard[0] if standard else None, running.strongest)


def _late(effort: Effort, seconds: float) -> bool:
    return effort.minutes is not None and seconds >= 60 * effort.minutes


def _different(settings: Iterable[Settings], search: Search) -> Iterator[Settings]:
    """Settings limited to the sets that were found, without repeats."""
    seen: list[Settings] = []
    for wanted in settings:
        limited = wanted
        if wanted.together is not None:
            found = len(search.strongest[wanted.together])
            limited = replace(wanted, sets=min(wanted.sets or 0, found))
        unnamed = replace(limited, name="")
        if unnamed not in seen:
            seen.append(unnamed)
            yield limited


def _cost(booster: lgb.Booster, width: int) -> float | None:
    try:
        return scoring_cost(booster, width)
    except SelfCheckError:
        return None
