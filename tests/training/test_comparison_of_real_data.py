"""Score and segments on the Online Shoppers data, where its folder is known."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.schema import load_schema
from tests.helpers import ROOT
from training.fit.search import Budget
from training.pipeline import FitOptions, fit

pytestmark = pytest.mark.skipif(
    "REAL_DATA" not in os.environ,
    reason="REAL_DATA does not name the folder of online_shoppers_intention.csv",
)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    schema = load_schema(ROOT / "benchmarks" / "online_shoppers.toml")
    without = tuple(replace(f, use=f.name != "PageValues") for f in schema.features)
    data = Path(os.environ["REAL_DATA"]) / "online_shoppers_intention.csv"
    out = tmp_path_factory.mktemp("shoppers") / "bundle"
    options = FitOptions(replace(schema, features=without), budget=Budget(1))
    return fit([str(data)], options, out).comparison


def test_the_model_ranks_real_sessions_better_than_segments(comparison):
    model, rate, *_ = comparison["scores"]
    gap, error = rate["difference"]["roc_auc"], rate["standard_error"]["roc_auc"]
    assert gap < -1.96 * error
    assert comparison["answer"][0]["tool"] == "the purchase model"
    assert f"{model['roc_auc']:.3f} by the model" in comparison["answer"][0]["why"]


def test_data_without_dates_says_so(comparison):
    assert "no dates" in comparison["stability"]["words"]
