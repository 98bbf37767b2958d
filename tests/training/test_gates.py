import dataclasses
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

import training.pipeline
from engine.bundle import Calibration, Segment, open_bundle
from engine.errors import BundleError, InputError
from tests.fitting import SHOP, number, shop_users, trees
from tests.helpers import write_table
from training.fit.search import Budget
from training.fit.succession import Succession
from training.gates.holdout import open_contest
from training.gates.judge import judge
from training.gates.running import speed_gate
from training.pipeline import FitOptions, fit
from training.shapley.effects import model_effects

FIRST = date(2026, 1, 4)
TABLE = dataclasses.replace(SHOP, snapshot="day", horizon_days=7)


def users_of(week: int, rows: int, **columns) -> pl.DataFrame:
    """Users of a later week; other people than those of any other week."""
    frame = shop_users(rows, 100 + week)
    return frame.with_columns(day=pl.lit(FIRST + timedelta(days=7 * week)), **columns)


def fitted(folder, users, schema=TABLE, previous=None):
    write_table(users, folder / "users.parquet")
    options = FitOptions(schema, budget=Budget(trials=2), previous=previous)
    fit([str(folder / "users.parquet")], options, folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    def make(name):
        return tmp_path_factory.mktemp(name)

    return make


@pytest.fixture(scope="module")
def champion(place):
    return fitted(place("champion"), users_of(0, 5_000))


@pytest.fixture(scope="module")
def holdout(place):
    return write_table(users_of(3, 20_000), place("holdout") / "later.parquet")


def verdicts(candidate, champion, holdout):
    contest = open_contest(open_bundle(candidate), open_bundle(champion), [str(holdout)])
    return {gate.name: gate for gate in judge(contest)}


def refused(gates):
    return {name for name, gate in gates.items() if not gate.passed}


def test_a_good_candidate_passes_every_gate(place, champion, holdout):
    good = fitted(place("good"), users_of(1, 5_000), previous=champion)
    gates = verdicts(good, champion, holdout)
    for g in gates.values():
        print(g.passed, g.name, g.words)
    assert refused(gates) == set()
