import numpy as np
import pytest

from training.evaluate import calibration_error, classification_metrics, threshold_metrics

LABEL = np.array([0, 0, 1, 1], np.int8)


def test_metrics_of_a_known_case():
    found = classification_metrics(np.array([0.1, 0.6, 0.4, 0.9], np.float32), LABEL, 0.5)
    assert found["roc_auc"] == 0.75
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["base_rate"] == 0.5
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4, abs=1e-6)
    assert "best_possible_auc" not in found


def test_the_truth_sets_the_bar():
    found = classification_metrics(
        np.array([0.1, 0.6, 0.4, 0.9]), LABEL, 0.5, truth=np.array([0.1, 0.2, 0.8, 0.9])
    )
    assert (found["best_possible_auc"], found["share_of_best_auc"]) == (1.0, 0.75)


def test_nobody_above_the_threshold_gives_zeros():
    assert threshold_metrics(np.zeros(4), LABEL, 0.5)["f1"] == 0


def test_a_probability_at_the_threshold_counts_as_above():
    assert threshold_metrics(np.full(4, 0.5), LABEL, 0.5)["recall"] == 1


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 0.0), (0.1, 0.1)])
def test_calibration_error_is_the_mean_gap(shift, expected):
    p = np.repeat([0.25, 0.75], 400)
    label = (np.arange(800) % 4 < np.repeat([1, 3], 400)).astype(np.int8)
    assert calibration_error(p + shift, label) == pytest.approx(expected)
