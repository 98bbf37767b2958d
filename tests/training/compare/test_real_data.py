"""Score and segments on the Online Shoppers data, where its folder is known."""

import pytest

from benchmarks.online_shoppers import schema_of
from tests.fitted import SMALL
from tests.foreign import online_shoppers
from training.pipeline import FitOptions, fit


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    out = tmp_path_factory.mktemp("shoppers") / "bundle"
    options = FitOptions(schema_of(page_values=False), effort=SMALL)
    return fit([str(online_shoppers())], options, out).evaluation.comparison


def test_the_model_ranks_real_sessions_better_than_segments(comparison):
    model, rate, *_ = comparison["scores"]
    gap, error = rate["difference"]["roc_auc"], rate["standard_error"]["roc_auc"]
    assert gap < -1.96 * error
    assert comparison["answer"][0]["tool"] == "the purchase model"
    assert f"{model['roc_auc']:.3f} by the model" in comparison["answer"][0]["why"]


def test_data_without_dates_says_so(comparison):
    assert "no dates" in comparison["stability"]["words"]
