import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from engine.bundle.manifest import Calibration
from engine.model.session import Predictions
from training.compare.strategies import (
    MODEL,
    SEGMENT_RATE,
    TOGETHER,
    SegmentFigures,
    figures_from_json,
    figures_to_json,
    fit_segment_figures,
    lasting_strategies,
    purchase_rates,
    segment_feature_strategy,
)
from training.data.split import Split
from training.metrics.metrics import segment_places
from training.model.classifier import sigmoid
from training.model.pooling import segment_calibrations
from training.model.trees import Sample, Settings, TrainConfig


def predictions(margin, segment):
    """What an engine would say of users of one feature."""
    margin = margin.astype(np.float32)
    one = margin.reshape(-1, 1)
    index = np.zeros((len(margin), 1), np.int64)
    return Predictions(
        margin, sigmoid(margin).astype(np.float32), one, index, one, np.asarray(segment, np.int64)
    )


def users(rows, shifts, seed=0, slope=1.0):
    """Margins, places and labels where each segment's log-odds are shifted."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, len(shifts), rows)
    margin = rng.normal(-1, 1, rows)
    label = rng.random(rows) < sigmoid(slope * margin + np.array(shifts)[place])
    return margin, place, label.astype(np.int8)


def test_places_hold_for_ids_in_any_order():
    assert segment_places([7, 2, 11], np.array([2, 11, 7, 7])).tolist() == [1, 2, 0, 0]


def test_a_rate_is_never_certain():
    place, label = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1], np.int8)
    assert purchase_rates(place, label, 3) == pytest.approx([0.5 / 3, 2.5 / 3, 0.5])


def test_rates_of_many_users_are_their_share_of_buyers():
    _, place, label = users(60_000, [0.0, 1.0, 2.0])
    shares = [label[place == n].mean() for n in range(3)]
    assert purchase_rates(place, label, 3) == pytest.approx(shares, abs=1e-4)


@pytest.mark.parametrize("segments", [1, 4])
def test_where_segments_say_nothing_the_model_is_hardly_touched(segments):
    margin, place, label = users(20_000, [0.0] * segments)
    slopes, intercepts = segment_calibrations(place, margin, label, segments)
    assert slopes == pytest.approx(np.ones(segments), abs=0.06)
    assert intercepts == pytest.approx(np.zeros(segments), abs=0.06)


def test_a_single_segment_changes_nothing():
    margin, place, label = users(2_000, [0.8])
    slopes, intercepts = segment_calibrations(place, margin, label, 1)
    assert slopes == pytest.approx([1], abs=1e-6)
    assert intercepts == pytest.approx([0], abs=1e-6)


def test_large_segments_get_the_calibration_of_their_own_users():
    margin, place, label = users(60_000, [-1.0, 0.5, 1.0])
    slopes, intercepts = segment_calibrations(place, margin, label, 3)
    for n in range(3):
        own = place == n
        fitted = LogisticRegression(C=np.inf, tol=1e-8).fit(margin[own].reshape(-1, 1), label[own])
        assert intercepts[n] == pytest.approx(fitted.intercept_[0], abs=0.05)
        assert slopes[n] == pytest.approx(fitted.coef_[0, 0], abs=0.05)


def test_a_small_segment_stays_with_the_whole():
    margin, place, label = users(40_000, [-0.2, 0.0, 0.2])
    place[:12], label[:12] = 3, 1
    slopes, intercepts = segment_calibrations(place, margin, label, 4)
    moved = np.abs(slopes * margin[:12].mean() + intercepts - margin[:12].mean())
    assert 0 < moved[3] < 0.5
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("constant", [False, True], ids=["margins", "one margin for all"])
def test_segments_of_buyers_or_of_others_alone_keep_finite_figures(constant):
    margin, place, _ = users(3_000, [0.0, 0.0])
    margin = np.zeros(3_000) if constant else margin
    slopes, intercepts = segment_calibrations(place, margin, place.astype(np.int8), 2)
    assert np.isfinite([slopes, intercepts]).all()
    p = sigmoid(slopes[place] * margin + intercepts[place])
    assert p[place == 1].min() > 0.9 > 0.1 > p[place == 0].max()


def test_an_empty_segment_changes_nothing():
    margin, place, label = users(1_000, [0.0, 1.0])
    slopes, intercepts = segment_calibrations(place, margin, label, 3)
    assert (slopes[2], intercepts[2]) == (1, 0)


def test_the_ways_of_a_bundle_follow_from_its_figures():
    scored = predictions(np.array([-1.0, 0.0, 2.0]), [5, 9, 5])
    figures = (SegmentFigures(9, 0.2, 1.0, 0.0), SegmentFigures(5, 0.4, 2.0, 0.5))
    strategies = lasting_strategies(figures, scored)
    assert list(strategies) == [MODEL, SEGMENT_RATE, TOGETHER]
    assert strategies[SEGMENT_RATE] == pytest.approx([0.4, 0.2, 0.4])
    assert strategies[TOGETHER] == pytest.approx(sigmoid(np.array([-1.5, 0.0, 4.5])))
    assert strategies[MODEL] is scored.probability
    assert figures_from_json(figures_to_json(figures)) == figures


def quarters(rows):
    return Split(*np.arange(rows).reshape(4, -1), description={})


def test_rates_come_from_training_and_calibrations_from_calibration_users():
    margin, place, label = users(4_000, [-1.0, 1.0])
    parts = quarters(4_000)
    rows = parts.calibration

    def figures(label):
        return fit_segment_figures([1, 2], parts.train, label, place + 1, rows, margin[rows])

    found = figures(label)
    others = label.copy()
    others[parts.test] = 1 - others[parts.test]
    others[parts.validation] = 0
    assert figures(others) == found
    rates = purchase_rates(place[parts.train], label[parts.train], 2)
    assert [s.purchase_rate for s in found] == rates.tolist()


@pytest.mark.parametrize("sets", [None, (), ((0, 1),)], ids=["free", "no pairs", "one pair"])
def test_a_segment_that_is_the_label_is_found_as_a_feature(sets):
    rng = np.random.default_rng(0)
    label = (rng.random(2_000) < 0.3).astype(np.int8)
    features = rng.normal(size=(2_000, 2)).astype(np.float32)
    figures = (SegmentFigures(4, 0.9, 1, 0), SegmentFigures(3, 0.1, 1, 0))
    recipe = TrainConfig(Settings("any"), sets, 30)
    sample = Sample(features, label)
    parts = quarters(2_000)
    fitted = recipe, Calibration(1.0, 0.0)
    found = segment_feature_strategy(figures, parts, sample, 3 + label.astype(int), *fitted, 1)
    assert found.dtype == np.float32
    assert found[label[parts.test] == 1].min() > 0.9 > 0.1 > found[label[parts.test] == 0].max()
    again = segment_feature_strategy(figures, parts, sample, 3 + label.astype(int), *fitted, 1)
    assert (found == again).all()
