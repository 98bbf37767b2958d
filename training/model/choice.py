"""Chooses a trial, trains its trees on the whole pool, and reports why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.special import logit  # type: ignore[import-untyped]

from engine.errors import SelfCheckError, UsageError, pluralize
from training.effort import Effort, TrialWatch, unwatched
from training.metrics.intervals import mean_and_error
from training.metrics.metrics import rounded
from training.model.baselines import Baseline
from training.model.search import Pool, SearchResult, Trial, allowed_sets, search
from training.model.shapley.effects import (
    FEATURE_NS,
    UNCALIBRATED,
    Effects,
    model_effects,
    scoring_cost,
)
from training.model.trees import MAX_ROUNDS, PARAMETERS, TrainConfig, Trainer
from training.model.validation import fold_losses, roc_auc, roc_auc_gain

GROWTH = 1 / 3
"""Rounds scale with about this power of the number of users, measured from 31,000 to 187,000."""

MAX_COST = 3_000
"""The most nanoseconds a user that trees may take unless another limit is given, beside what each
feature takes: 0.7 s for 240,000 users."""

SMALL_ROWS, SMALL_TREES = 10_000, 2_500
"""Trees for fewer users are the mean of several fits, with up to so many trees in all. A mean varies
less than one fit, but each tree takes time to compile and to compare."""

TOLERANCE = 0.5
"""A model within so many standard errors of the best counts as equally good."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The figures of a trial that was validated in all folds.

    Attributes:
        trial: The trial.
        log_loss: The mean.
        difference: The mean over rows of its log-loss minus that of the best trial.
        standard_error: Of that mean, by user.
    """

    trial: Trial
    log_loss: float
    difference: float
    standard_error: float
    roc_auc: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen trees.

    Attributes:
        booster: Trained on the whole pool.
        effects: Before calibration.
        out_of_fold: Raw scores of the validation rows of each fold, by trees that have not seen them.
        config: How to train the trees again.
        report: All figures.
    """

    booster: lgb.Booster
    effects: Effects
    out_of_fold: np.ndarray
    config: TrainConfig
    report: dict[str, Any]


def choose_trees(
    pool: Pool,
    names: tuple[str, ...],
    seed: int,
    effort: Effort,
    baselines: Sequence[Baseline] = (),
    watch: TrialWatch = unwatched,
    max_cost: float | None = None,
) -> Choice:
    """The cheapest trees within half a standard error of the best, trained on the whole pool.

    Args:
        pool: The users that trees are chosen by and trained on.
        names: The feature names, for the text of the model.
        seed: Makes the search repeatable.
        effort: When the search ends.
        baselines: Validated in the same folds, for the report.
        watch: Follows the trials.
        max_cost: The most nanoseconds a user that the model may take, by `scoring_cost`; None for
            `MAX_COST` and `FEATURE_NS` of each feature.

    Raises:
        SelfCheckError: No trial can be exported.
        UsageError: No trial is cheap enough.
    """
    found = search(pool, names, seed, effort, watch)
    limit = max_cost or MAX_COST + FEATURE_NS * len(names)
    table = standings(found, pool, limit)
    figures = {standing.trial.number: standing for standing in table}
    configs = {t.number: _refit_config(t, found, pool, effort.fits) for t in found.trials}
    chosen, config, booster, effects = _refitted(
        table, configs, Trainer(pool.sample, names, seed), len(names), limit
    )
    report = {
        "parameters": {k: v for k, v in PARAMETERS.items() if k != "verbose"},
        "chosen": config.settings.name,
        "refit": {
            "rows": len(pool.sample.label),
            "rounds": config.rounds,
            "fits": config.fits,
            "trees": booster.num_trees(),
        },
        "trials": [_row(t, figures.get(t.number), chosen=t is chosen) for t in found.trials],
        "unrestricted": _standard(found.unrestricted, chosen, pool),
        "baselines": [_beside(baseline, chosen, pool) for baseline in baselines],
        "validation": dict(pool.description),
        "budget": {"trials": len(found.trials)},
        "depth_gain": depth_gain(table, pool),
    }
    return Choice(booster, effects, out_of_fold(chosen, pool), config, report)


def out_of_fold(trial: Trial, pool: Pool) -> np.ndarray:
    """Raw scores of the validation rows, fold after fold, float64 [rows of all folds].

    Trees start from the rate of their train rows. Where that is low, a fold's validation rows buy more
    often; so each fold is brought to the rate of the whole pool.
    """
    level = logit(pool.sample.label.mean())
    folds = zip(trial.scores, pool.folds, strict=True)
    return np.concatenate([raw + level - logit(fold.train.label.mean()) for raw, fold in folds])


def standings(found: SearchResult, pool: Pool, max_cost: float = np.inf) -> list[Standing]:
    """The figures of each trial that was validated in all folds, in order.

    The best is the best of those that cost no more than `max_cost`, where there are any.
    """
    finished = [t for t in found.trials if len(t.scores) == len(pool.folds)]
    losses = {t.number: fold_losses(t.scores, pool.validation) for t in finished}
    able = [t for t in finished if t.cost is not None and t.cost <= max_cost] or finished
    best = losses[min(able, key=lambda t: float(losses[t.number].mean())).number]
    users = pool.validation_users
    table = []
    for trial in finished:
        own = losses[trial.number]
        gap, error = mean_and_error(own - best, users)
        auc = roc_auc(trial.scores, pool.validation)
        table.append(Standing(trial, float(own.mean()), gap, error, auc))
    return table


def cheapest(table: Sequence[Standing], width: int, max_cost: float = np.inf) -> Standing:
    """The standing with the least cost within `TOLERANCE` of the best.

    Raises:
        SelfCheckError: None can be exported.
        UsageError: None is cheap enough.
    """
    able = [s for s in table if s.trial.cost is not None]
    if not able:
        # Raises the error of the first trial.
        scoring_cost(table[0].trial.booster, width)
    eligible = [s for s in able if (s.trial.cost or 0) <= max_cost]
    if not eligible:
        least = min(s.trial.cost or 0 for s in able)
        raise UsageError(
            f"--max-cost {max_cost:g}: the cheapest of {pluralize(len(able), 'model')} tried takes "
            f"{least:.0f} ns a user. Allow more."
        )
    least = min(s.difference for s in eligible)
    good = [s for s in eligible if s.difference - least <= TOLERANCE * s.standard_error]
    return min(good, key=lambda s: (s.trial.cost or 0, s.log_loss))


def _refitted(
    table: Sequence[Standing],
    configs: Mapping[int, TrainConfig],
    trainer: Trainer,
    width: int,
    max_cost: float,
) -> tuple[Trial, TrainConfig, lgb.Booster, Effects]:
    """The cheapest good trial, trained on the whole pool.

    On all users, and as a mean of fits, tables have more cells than in a fold: where a graph grows too
    large, the next best follows.
    """
    trial = cheapest(table, width, max_cost).trial
    config = configs[trial.number]
    booster = trainer.train(config)
    try:
        return trial, config, booster, model_effects(booster, UNCALIBRATED, width)
    except SelfCheckError:
        others = [standing for standing in table if standing.trial is not trial]
        if not others:
            raise
        return _refitted(others, configs, trainer, width, max_cost)


def _refit_config(trial: Trial, found: SearchResult, pool: Pool, most_fits: int) -> TrainConfig:
    """How a trial is trained on the whole pool."""
    rounds = scaled_rounds(trial.rounds, pool)
    sets = allowed_sets(trial.settings, found.strongest)
    fits = fits_for(len(pool.sample.label), rounds, most_fits)
    return TrainConfig(trial.settings, sets, rounds, fits)


def scaled_rounds(rounds: int, pool: Pool) -> int:
    """The rounds for the whole pool, scaled from those that suit one fold."""
    trained = np.mean([len(fold.train.label) for fold in pool.folds])
    return int(np.clip(round(rounds * (len(pool.sample.label) / trained) ** GROWTH), 1, MAX_ROUNDS))


def fits_for(rows: int, rounds: int, most: int) -> int:
    """How many fits the chosen trees are the mean of."""
    return 1 if rows >= SMALL_ROWS else int(np.clip(SMALL_TREES // rounds, 1, most))


def depth_gain(table: Sequence[Standing], pool: Pool) -> dict[str, Any] | None:
    """What interactions gain over stumps; None unless both were tried.

    Compares the best of each by log-loss, user by user.
    """
    stumps = [s for s in table if s.trial.settings.depth == 1]
    deeper = [s for s in table if s.trial.settings.depth != 1]
    if not stumps or not deeper:
        return None
    plain, deep = (min(group, key=lambda s: s.log_loss).trial for group in (stumps, deeper))
    users = pool.validation_users
    losses = fold_losses(plain.scores, pool.validation) - fold_losses(deep.scores, pool.validation)
    loss, loss_error = mean_and_error(losses, users)
    auc, auc_error = roc_auc_gain(deep.scores, plain.scores, pool.validation, users)
    return {
        "stumps": plain.settings.name,
        "deeper": deep.settings.name,
        "log_loss": rounded(loss),
        "log_loss_standard_error": rounded(loss_error),
        "roc_auc": rounded(auc),
        "roc_auc_standard_error": rounded(auc_error),
    }


def _beside(baseline: Baseline, chosen: Trial, pool: Pool) -> dict[str, Any]:
    """The figures of a baseline, and how much worse it is than the chosen trial, user by user."""
    users = pool.validation_users
    own = fold_losses(baseline.scores, pool.validation)
    gap, error = mean_and_error(own - fold_losses(chosen.scores, pool.validation), users)
    return {
        "name": baseline.name,
        "log_loss": rounded(float(own.mean())),
        "difference": rounded(gap),
        "standard_error": rounded(error),
        "roc_auc": rounded(roc_auc(baseline.scores, pool.validation)),
    }


def _standard(unrestricted: Trial | None, chosen: Trial, pool: Pool) -> dict[str, Any] | None:
    """What exact impacts cost in worth: LightGBM without limits, beside the chosen trial."""
    if unrestricted is None:
        return None
    baseline = Baseline(unrestricted.settings.name, unrestricted.scores)
    return {
        **_beside(baseline, chosen, pool),
        "trees": unrestricted.booster.num_trees(),
        "parameters": _parameters(unrestricted),
    }


def _parameters(trial: Trial) -> dict[str, Any]:
    return {k: v for k, v in asdict(trial.settings).items() if k != "name"}


def _row(trial: Trial, standing: Standing | None, *, chosen: bool) -> dict[str, Any]:
    """A trial that stopped before the last fold has no comparable figures."""
    figures = ("log_loss", "difference", "standard_error", "roc_auc")
    return {
        "number": trial.number,
        "name": trial.settings.name,
        "parameters": _parameters(trial),
        "rounds": trial.rounds,
        "trees": trial.booster.num_trees(),
        "folds": len(trial.scores),
        **{name: rounded(getattr(standing, name, None)) for name in figures},
        "cost": None if trial.cost is None else round(trial.cost),
        "chosen": chosen,
    }
