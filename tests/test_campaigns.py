"""The study of campaigns, on few users."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from benchmarks.campaigns import (
    COSTS,
    drawn,
    false_claims,
    known,
    learned,
    policies,
    profit_of,
    study,
    users_of,
    without_effect,
)
from training.backtest.policy import cell_effects
from training.simulate import SimulateOptions, simulate


@pytest.fixture(scope="module")
def population(scorer):
    return users_of(pl.concat(simulate(SimulateOptions(rows=20_000, seed=9, truth=True))), scorer)


def test_who_knows_the_truth_earns_most(population):
    profits = {name: profit_of(population, arm) for name, arm in policies(population).items()}
    *others, by_cell, by_user = profits.values()
    assert by_user > by_cell > max(others)
    assert profits["nobody"] == 0


def test_clear_effects_are_learned(population):
    arms = np.arange(population.cells) % len(COSTS)
    truth = 0.2 + 0.4 * (np.arange(len(COSTS))[:, np.newaxis] == arms[population.cell])
    clear = replace(population, truth=truth)
    effects = cell_effects(drawn(np.random.default_rng(1), clear, 0.3), "purchase")
    size = np.bincount(clear.cell, minlength=clear.cells)
    assert (learned(effects, worth=20.0) == arms)[size > 500].all()
    assert (size > 500).sum() >= 8
    assert (known(clear, worth=20.0) == arms)[size > 0].all()


def test_arms_are_drawn_in_their_shares(population):
    units = drawn(np.random.default_rng(1), population, 0.1)
    shares = np.bincount(units.arm) / len(units.arm)
    assert shares == pytest.approx([0.1, 0.45, 0.45], abs=0.015)
    bought = units.outcomes["purchase"].mean()
    assert bought == pytest.approx(population.truth.mean(axis=1) @ shares, abs=0.012)


def test_intervals_hold_the_truth_and_tests_of_nothing_show_nothing(population):
    found = study(population, population, 0.1, repetitions=40)
    assert found.coverage == pytest.approx(0.95, abs=0.02)
    assert found.profits.max() <= profit_of(population, [*policies(population).values()][-2])
    plain, corrected = false_claims(without_effect(population), 0.1, repetitions=100)
    assert plain > 0.8
    assert corrected <= 0.12  # 5 % of 100 and three standard errors
