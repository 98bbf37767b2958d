import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, precision_recall_curve

from engine.bundle.manifest import Calibration
from tests.fitting import halved
from training.effort import Effort
from training.model.classifier import (
    best_f1_threshold,
    calibrated,
    fit_classifier,
    fit_platt,
    gap_below,
    quantile_cuts,
    sigmoid,
)
from training.model.search import Fold, Pool
from training.model.trees import Sample, model_names

BANDS = (0.5, 0.8, 0.95)
NAMES = ("a", "b", "c")


def sample(rows, seed, effect, base=0.0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, len(NAMES))).astype(np.float32)
    label = (rng.random(rows) < sigmoid(base + effect * features[:, 0])).astype(np.int8)
    return Sample(features, label)


def fit(effect, seed=0):
    pool = halved(sample(3_000, seed, effect))
    return fit_classifier(pool, sample(2_000, seed + 1, effect), NAMES, 1, Effort(trials=4), BANDS)


def test_a_real_effect_gives_a_usable_model():
    found = fit(effect=2.0)
    assert found.unusable == ()
    assert found.calibration.slope == pytest.approx(1, abs=0.3)
    assert sorted(found.decile_cuts) == list(found.decile_cuts)
    assert len(found.decile_cuts) == 9
    assert found.band_cuts[0] == found.decile_cuts[4]


@pytest.mark.parametrize("users", [400, 3_000])
def test_scores_out_of_fold_calibrate_where_no_other_users_do(users):
    pool, unseen = halved(sample(users, 0, 2.0, base=-2.0)), sample(20_000, 1, 2.0, base=-2.0)
    found = fit_classifier(pool, None, NAMES, 1, Effort(trials=1), BANDS)
    assert found.unusable == ()
    label = np.concatenate([fold.validation.label for fold in pool.folds])
    assert log_loss(label, sigmoid(found.calibration_margin)) < 0.9 * entropy(label)
    probability = calibrated(found.booster, found.calibration, unseen.features)
    assert probability.mean() == pytest.approx(unseen.label.mean(), abs=0.05)
    best = max(f1_score(unseen.label, probability >= t) for t in np.linspace(0.05, 0.6, 56))
    assert f1_score(unseen.label, probability >= found.threshold) > best - 0.02


def entropy(label):
    return log_loss(label, np.full(len(label), label.mean()))


def test_folds_with_more_buyers_than_the_pool_do_not_raise_the_probability():
    whole, other = sample(4_000, 0, 2.0, base=-2.0), sample(2_000, 1, 2.0, base=-2.0)
    buyers = np.flatnonzero(other.label)
    rows = np.concatenate([buyers, np.flatnonzero(other.label == 0)[: len(buyers)]])
    pool = Pool(whole, (Fold(whole, other.subset(rows), rows),))
    found = fit_classifier(pool, None, NAMES, 1, Effort(trials=1), BANDS)
    probability = calibrated(found.booster, found.calibration, whole.features)
    assert probability.mean() == pytest.approx(whole.label.mean(), abs=0.03)


def test_constants_are_unusable_for_one_reason_though_folds_buy_at_other_rates():
    label = (np.arange(300) % np.where(np.arange(300) % 2, 3, 5) == 0).astype(np.int8)
    flat = Sample(np.zeros((300, 3), np.float32), label)
    assert len({fold.train.label.mean() for fold in halved(flat).folds}) == 2
    found = fit_classifier(halved(flat), None, NAMES, 1, Effort(trials=1), BANDS)
    assert found.unusable == ("the trees found nothing: every user gets the same probability",)


def test_bands_are_cut_where_asked():
    pool, users = halved(sample(600, 0, 2.0)), sample(500, 1, 2.0)
    found = fit_classifier(pool, users, NAMES, 1, Effort(trials=1), band_shares=(0.1, 0.2, 0.9))
    assert found.band_cuts[2] == found.decile_cuts[8]
    assert found.band_cuts[:2] == found.decile_cuts[:2]


@pytest.mark.parametrize("seed", range(4))
def test_noise_gives_an_unusable_or_a_flat_model(seed):
    found = fit(effect=0.0, seed=10 * seed)
    if found.calibration.slope == 0:
        assert found.unusable
    unseen = sample(2_000, 99, 0.0).features
    assert calibrated(found.booster, found.calibration, unseen).std() < 0.05


def test_a_score_that_points_the_wrong_way_is_unusable():
    users = sample(500, 1, effect=2.0)
    found, problem = fit_platt(-users.features[:, 0].astype(float), users.label)
    assert found.slope == 0
    assert sigmoid(np.array(found.intercept)) == pytest.approx(users.label.mean())
    assert "slope −" in problem


def test_constant_features_give_an_unusable_model():
    label = np.tile(np.array([0, 0, 1], np.int8), 100)
    flat = Sample(np.zeros((300, 3), np.float32), label)
    found = fit_classifier(halved(flat), flat, NAMES, 1, Effort(), BANDS)
    assert found.unusable == ("the trees found nothing: every user gets the same probability",)
    assert found.calibration.slope == 0
    assert set(found.decile_cuts) == {found.threshold} == {float(np.float32(1 / 3))}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_platt_finds_slope_and_intercept_at_every_scale(scale):
    rng = np.random.default_rng(0)
    raw = rng.normal(size=50_000)
    label = (rng.random(len(raw)) < sigmoid(0.8 * raw - 1)).astype(np.int8)
    found, problem = fit_platt(raw * scale, label)
    assert not problem
    assert found.slope * scale == pytest.approx(0.8, abs=0.05)
    assert found.intercept == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize("users", [4, 30, 200])
def test_users_who_happen_to_be_separable_give_no_endless_slope(users):
    raw = np.linspace(-2, 2, users)
    label = (raw > 0).astype(np.int8)
    found, _ = fit_platt(raw, label)
    assert 1 < found.slope < 3
    assert found.intercept == pytest.approx(0, abs=1e-6)


def test_equal_scores_give_the_base_rate():
    users = sample(100, 1, effect=1.0)
    found, problem = fit_platt(np.full(100, 3.0), users.label)
    assert (found.slope, problem) == (0.0, "")


@pytest.mark.parametrize(
    ("probability", "expected"),
    [([0.1, 0.2, 0.6, 0.8], 0.4), ([0.6, 0.1, 0.6, 0.8], 0.35), ([0.3, 0.3], 0.3)],
)
def test_threshold_has_the_best_f1_to_expect(probability, expected):
    assert best_f1_threshold(np.array(probability)) == float(np.float32(expected))


def test_labels_drawn_from_the_probabilities_have_nearly_no_better_threshold():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2, 100_000)
    label = rng.random(len(p)) < p
    precision, recall, _ = precision_recall_curve(label, p)
    best = (2 * precision * recall / (precision + recall)).max()
    found = f1_score(label, p >= best_f1_threshold(p))
    assert best - found < 0.002


def test_cuts_lie_in_the_middle_of_gaps():
    p = np.arange(1, 11) / 16
    assert quantile_cuts(p, (0.5, 0.9)) == (5.5 / 16, 9.5 / 16)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50, unique=True), st.integers(0, 49))
def test_a_cut_separates_what_it_cuts(values, position):
    distinct = np.array(sorted(values))
    value = distinct[position % len(distinct)]
    cut = gap_below(distinct, value)
    assert cut == np.float32(cut)
    lower = distinct[distinct < value]
    assert np.float32(value) >= np.float32(cut)
    assert not len(lower) or np.float32(lower.max()) <= np.float32(cut)


def test_sigmoid_keeps_its_tails():
    assert sigmoid(np.array([-745.0, 0.0, 745.0])).tolist() == [5e-324, 0.5, 1.0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("a.b", "c_1"), ["a.b", "c_1"]), (("ä", "b:c"), ["feature_0", "feature_1"])],
)
def test_names_that_lightgbm_cannot_hold_are_numbered(names, expected):
    assert model_names(names) == expected


def test_calibration_is_a_plain_value():
    assert fit(effect=1.0).calibration == fit(effect=1.0).calibration != Calibration(1.0, 0.0)
