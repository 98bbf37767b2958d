"""The committed bundle on users of a seed that nothing else uses."""

import pytest

from tests.helpers import BUNDLE
from training.evaluate.evaluation import evaluate_bundle
from training.simulate import SimulateOptions
from training.simulate.write import write_users

ROWS = 60_000
SEED = 4_815


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("acceptance") / "users.parquet"
    write_users(SimulateOptions(rows=ROWS, seed=SEED, truth=True), path)
    return evaluate_bundle(BUNDLE, [str(path)])


def test_buyers_are_told_apart_nearly_as_well_as_can_be(report):
    assert report.metrics["rows"] == ROWS
    assert report.metrics["roc_auc"] >= 0.82
    assert report.metrics["share_of_best_auc"] >= 0.996


def test_buyers_are_found_at_the_threshold(report):
    assert report.metrics["f1"] >= 0.55


def test_segments_are_few_apart_and_none_is_tiny(report):
    shares = report.segments["shares"].values()
    assert report.segments["silhouette"] >= 0.20
    assert 3 <= len(shares) <= 8
    assert min(shares) >= 0.03
    assert sum(shares) == pytest.approx(1, abs=1e-5)
