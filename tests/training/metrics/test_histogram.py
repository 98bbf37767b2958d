"""The histogram of scores that the audience slider adds up."""

import numpy as np
import pytest

from engine.pages.bins import BINS
from training.metrics.disclosure import MIN_USERS
from training.metrics.histogram import score_histogram
from training.metrics.metrics import Outcomes


def histogram(probability, segment, users=None):
    p = np.asarray(probability, np.float32)
    users = np.arange(len(p)) if users is None else np.asarray(users)
    return score_histogram(
        Outcomes(p, np.zeros(len(p), np.int8), users), np.asarray(segment), [1, 2]
    )


def test_no_bin_is_about_fewer_than_20_users_and_nobody_is_lost():
    random = np.random.default_rng(3)
    p, segment = random.beta(0.5, 4, 3_000), random.integers(1, 3, 3_000)
    found = histogram(p, segment)
    assert len(found["segments"]) == 2
    for part in (found, *found["segments"]):
        inside = p[segment == part.get("segment_id", segment)].astype(np.float32)
        assert len(part["rows"]) == len(part["expected_buyers"]) == BINS
        assert all(rows == 0 or rows >= MIN_USERS for rows in part["rows"])
        assert sum(part["rows"]) == len(inside)
        assert sum(part["expected_buyers"]) == pytest.approx(inside.sum(dtype=float), abs=1e-4)


def test_a_long_tail_of_few_users_is_counted_where_its_mean_is():
    found = histogram([0.01] * 500 + [0.99] * 19, [1] * 519)["segments"][0]
    assert (found["rows"][1], sum(found["rows"])) == (519, 519)
    assert found["expected_buyers"][1] == pytest.approx(500 * 0.01 + 19 * 0.99, abs=1e-4)


def test_one_user_in_many_rows_is_no_bin():
    found = histogram([0.1] * 40, [1] * 40, users=[0] * 40)
    assert [sum(part["rows"]) for part in found["segments"]] == [0, 0]


@pytest.mark.parametrize(("scale", "width"), [(1.0, 0.025), (0.1, 0.0025), (0.001, 0.0005)])
def test_bins_are_as_wide_as_the_scores_need(scale, width):
    p = scale * np.linspace(0, 0.999, 4_000)
    assert histogram(p, np.ones(4_000))["width"] == width
