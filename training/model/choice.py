"""Chooses a trial, trains its trees on the whole pool, and reports why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from training.effort import Effort, TrialWatch, unwatched
from training.metrics.intervals import mean_and_error
from training.metrics.metrics import rounded
from training.model.baselines import Baseline
from training.model.search import Pool, SearchResult, Trial, search
from training.model.shapley.effects import scoring_cost
from training.model.trees import MAX_ROUNDS, PARAMETERS, PATIENCE_ROUNDS, TrainConfig, Trainer
from training.model.validation import fold_losses, roc_auc, roc_auc_gain

GROWTH = 1 / 3
"""Rounds scale with about this power of the number of users, measured from 31,000 to 187,000."""

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
    """The chosen trees, how to train them again, and the figures of all trials."""

    booster: lgb.Booster
    config: TrainConfig
    report: dict[str, Any]


def choose_trees(
    pool: Pool,
    names: tuple[str, ...],
    seed: int,
    effort: Effort,
    baselines: Sequence[Baseline] = (),
    watch: TrialWatch = unwatched,
) -> Choice:
    """The cheapest trees within half a standard error of the best, trained on the whole pool.

    Args:
        pool: The users that trees are chosen by and trained on.
        names: The feature names, for the text of the model.
        seed: Makes the search repeatable.
        effort: When the search ends.
        baselines: Validated in the same folds, for the report.
        watch: Follows the trials.

    Raises:
        SelfCheckError: No trial can be exported.
    """
    found = search(pool, names, seed, effort, watch)
    table = standings(found, pool)
    figures = {standing.trial.number: standing for standing in table}
    chosen = cheapest(table, pool.sample.features.shape[1])
    rounds = scaled_rounds(chosen.trial.rounds, pool)
    config = TrainConfig(chosen.trial.settings, found.pairs, rounds)
    booster = Trainer(pool.sample, names, seed).train(config)
    report = {
        "parameters": {k: v for k, v in PARAMETERS.items() if k != "verbose"},
        "chosen": chosen.trial.settings.name,
        "refit": {"rows": len(pool.sample.label), "rounds": rounds, "trees": booster.num_trees()},
        "trials": [_row(t, figures.get(t.number), chosen=t is chosen.trial) for t in found.trials],
        "baselines": [_beside(baseline, chosen.trial, pool) for baseline in baselines],
        "validation": dict(pool.description),
        "budget": {"trials": len(found.trials), "patience_rounds": PATIENCE_ROUNDS},
        "depth_gain": depth_gain(table, pool),
    }
    return Choice(booster, config, report)


def standings(found: SearchResult, pool: Pool) -> list[Standing]:
    """The figures of each trial that was validated in all folds, in order.

    Raises:
        SelfCheckError: No trial can be exported.
    """
    finished = [t for t in found.trials if len(t.scores) == len(pool.folds)]
    losses = {t.number: fold_losses(t.scores, pool.validation) for t in finished}
    able = [t for t in finished if t.cost is not None] or finished
    best = losses[min(able, key=lambda t: float(losses[t.number].mean())).number]
    users = pool.validation_users
    table = []
    for trial in finished:
        own = losses[trial.number]
        gap, error = mean_and_error(own - best, users)
        auc = roc_auc(trial.scores, pool.validation)
        table.append(Standing(trial, float(own.mean()), gap, error, auc))
    return table


def cheapest(table: Sequence[Standing], width: int) -> Standing:
    """The standing with the least cost within `TOLERANCE` of the best.

    Raises:
        SelfCheckError: None can be exported.
    """
    eligible = [s for s in table if s.trial.cost is not None]
    if not eligible:
        # Raises the error of the first trial.
        scoring_cost(table[0].trial.booster, width)
    good = [s for s in eligible if s.difference <= TOLERANCE * s.standard_error]
    return min(good, key=lambda s: (s.trial.cost or 0, s.log_loss))


def scaled_rounds(rounds: int, pool: Pool) -> int:
    """The rounds for the whole pool, scaled from those that suit one fold."""
    trained = np.mean([len(fold.train.label) for fold in pool.folds])
    return int(np.clip(round(rounds * (len(pool.sample.label) / trained) ** GROWTH), 1, MAX_ROUNDS))


def depth_gain(table: Sequence[Standing], pool: Pool) -> dict[str, Any] | None:
    """What interactions gain over stumps; None unless both were tried.

    Compares the best of each by log-loss, user by user.
    """
    stumps = [s for s in table if s.trial.settings.depth == 1]
    deeper = [s for s in table if s.trial.settings.depth > 1]
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
        "depth": deep.settings.depth,
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


def _row(trial: Trial, standing: Standing | None, *, chosen: bool) -> dict[str, Any]:
    """A trial that stopped after the first fold has no comparable figures."""
    parameters = {k: v for k, v in asdict(trial.settings).items() if k != "name"}
    figures = ("log_loss", "difference", "standard_error", "roc_auc")
    return {
        "number": trial.number,
        "name": trial.settings.name,
        "parameters": parameters,
        "rounds": trial.rounds,
        "trees": trial.booster.num_trees(),
        "folds": len(trial.scores),
        **{name: rounded(getattr(standing, name, None)) for name in figures},
        "cost": trial.cost,
        "chosen": chosen,
    }
