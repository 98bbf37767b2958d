import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.fitting import SHOP, category, halved, number, schema_of
from training.model.baselines import fit_baselines, rate_by_value, regression, rfm_scores
from training.model.classifier import sigmoid
from training.model.trees import Sample
from training.model.validation import roc_auc

BUYERS = schema_of(
    number("days"),
    number("orders"),
    number("spend"),
    category("city", values=["rome", "oslo"]),
    rfm={"recency": "days", "frequency": "orders", "monetary": "spend"},
)


def buyers(rows=4_000, seed=0):
    """Days, orders, spend and a city; half of the users never bought."""
    rng = np.random.default_rng(seed)
    features = rng.lognormal(size=(rows, 4)).astype(np.float32)
    features[rng.random(rows) < 0.5, :1] = np.nan
    features[:, 3] = rng.integers(0, 2, rows)
    margin = np.where(np.isnan(features[:, 0]), -3.0, 1 - features[:, 0]) + features[:, 1] / 4
    return Sample(features, (rng.random(rows) < sigmoid(margin)).astype(np.int8))


@pytest.fixture(scope="module")
def pool():
    return halved(buyers())


@pytest.fixture(scope="module")
def found(pool):
    return {baseline.name: baseline.scores for baseline in fit_baselines(pool, BUYERS)}


def test_every_baseline_scores_every_validation_row(found, pool):
    assert list(found) == ["base rate", "recency alone", "RFM score", "logistic regression"]
    for scores in found.values():
        assert [len(s) for s in scores] == [len(validation.label) for validation in pool.validation]
        assert all(np.isfinite(s).all() for s in scores)


def test_more_knowledge_ranks_better(found, pool):
    auc = {name: roc_auc(scores, pool.validation) for name, scores in found.items()}
    assert auc["base rate"] == 0.5
    assert auc["RFM score"] > 0.5
    assert auc["RFM score"] < auc["recency alone"] < auc["logistic regression"]


@pytest.mark.parametrize("numeric", [[], [0, 1, 2, 3]])
def test_regression_takes_tables_of_one_kind(numeric):
    users = buyers(400)
    codes = Sample(np.nan_to_num(users.features).round(), users.label)
    assert np.isfinite(regression(codes, codes.features, numeric)).all()


def test_a_table_without_recency_has_two_baselines():
    features = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    features[:, 3:] = np.arange(400)[:, np.newaxis] % 3
    pool = halved(Sample(features, (features[:, 0] > 0).astype(np.int8)))
    names = [baseline.name for baseline in fit_baselines(pool, SHOP)]
    assert names == ["base rate", "logistic regression"]


def test_an_rfm_score_is_three_to_fifteen():
    best, worst = [1.0, 90.0, 900.0], [np.nan, 0.0, np.nan]
    known = np.random.default_rng(0).uniform(2, 80, (1_000, 3))
    assert rfm_scores(known, np.array([best, worst])).tolist() == [15, 3]


def test_regression_copes_with_what_trees_shrug_off():
    features = buyers(300).features
    features[:, 1] = np.nan
    features[:, 2] = 7
    label = (features[:, 3] > 0).astype(np.int8)
    asked = features.copy()
    asked[:, 3] = np.where(np.arange(300) < 5, 9, asked[:, 3])
    scores = regression(Sample(features, label), asked, [0, 1, 2])
    assert ((scores > 0) == label)[5:].all()
    assert np.isfinite(scores).all()


def test_the_rate_of_like_values_sees_any_shape():
    rng = np.random.default_rng(0)
    value = rng.normal(size=4_000).astype(np.float32)
    label = (np.abs(value) > 1).astype(np.int8)
    value[:500] = np.nan
    scores = rate_by_value(value[:2_000], label[:2_000], value[2_000:])
    assert roc_auc_score(label[2_000:], scores) > 0.99
    assert np.isnan(value[:2_000]).any()


def test_few_values_above_a_frequent_one_are_rated_on_their_own():
    value = np.zeros(4_000, np.float32)
    value[::200] = np.arange(1, 21)
    label = (value > 0).astype(np.int8)
    rate = rate_by_value(value, label, np.array([0, 0.5, 7], np.float32))
    assert rate[0] < label.mean() < rate[1] == rate[2]


def test_a_feature_without_values_tells_nothing():
    missing = np.full(100, np.nan, np.float32)
    label = (np.arange(100) % 2).astype(np.int8)
    assert set(rate_by_value(missing, label, missing)) == {0.5}
