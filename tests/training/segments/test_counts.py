import numpy as np
import pytest

from training.effort import Effort
from training.segments.counts import (
    ClusteringData,
    actionability,
    choose_count,
    count_figures,
    explained_shares,
    refit_agreements,
)
from training.segments.kmeans import fit_kmeans

STARTS = 5
EFFORT = Effort(kmeans_starts=STARTS, refits=6)


def figures(
    silhouette, actionability=0.3, agreement=0.95, worst=0.9, smallest_share=0.1, excess=0.1
):
    return {
        "silhouette": silhouette,
        "silhouette_permuted": None if silhouette is None else silhouette - excess,
        "actionability": actionability,
        "agreement": agreement,
        "agreement_worst": worst,
        "smallest_share": smallest_share,
    }


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ({3: figures(0.30, 0.30), 4: figures(0.29, 0.36), 5: figures(0.25, 0.60)}, 4),
        ({3: figures(0.30, 0.30), 4: figures(0.29, 0.32), 5: figures(0.29, 0.34)}, 3),
        ({3: figures(0.30, 0.30), 4: figures(0.30, 0.325)}, 3),
        ({3: figures(0.30), 4: figures(0.30, 0.5, agreement=0.84)}, 3),
        ({3: figures(0.30), 4: figures(0.30, 0.5, worst=0.59)}, 3),
        ({3: figures(0.30), 4: figures(0.40, 0.5, smallest_share=0.029)}, 3),
        ({3: figures(0.30), 4: figures(0.30, 0.5, excess=0.05)}, 3),
        ({3: figures(-0.10), 4: figures(-0.11, 0.5), 5: figures(None, 0.9)}, 4),
        ({1: figures(None, 0.0)}, 1),
    ],
    ids=[
        "differs most", "not worth it", "equal", "unstable", "once unstable", "tiny",
        "no better than the null", "below 0", "one",
    ],
)  # fmt: skip
def test_the_most_useful_count_near_the_best_silhouette_is_chosen(tried, expected):
    assert choose_count(tried, None) == (expected, [])


@pytest.mark.parametrize(
    ("tried", "expected", "reasons"),
    [
        (
            {3: figures(0.3, agreement=0.7), 4: figures(0.3, agreement=0.8, worst=0.5)},
            4,
            ["on average, under 0.85", "the worst refit agrees to 0.50"],
        ),
        (
            {3: figures(0.3, smallest_share=0.02), 4: figures(0.4, smallest_share=0.01)},
            3,
            ["the smallest has 2.0% of users, under 3%"],
        ),
        ({3: figures(0.3, excess=0.05)}, 3, ["less than 0.06 above"]),
    ],
)
def test_where_none_is_allowed_the_reasons_are_told(tried, expected, reasons):
    count, found = choose_count(tried, None)
    assert count == expected
    assert [reason in text for reason, text in zip(reasons, found, strict=True)] == [True] * len(
        reasons
    )
    assert all(text.startswith(f"{count} segments: ") for text in found)


@pytest.mark.parametrize(
    ("gain", "changes", "expected"),
    [
        (0.019, {}, 3),
        (0.021, {}, 5),
        (0.1, {"agreement": 0.5}, 3),
        (0.1, {"smallest_share": 0.01}, 3),
    ],
)
def test_a_count_in_force_gives_way_only_to_a_clear_gain(gain, changes, expected):
    tried = {3: figures(0.3), 4: figures(0.3, 0.9), 5: figures(0.3 + gain, 0.9, **changes)}
    assert choose_count(tried, 3) == (expected, [])


def test_a_count_in_force_that_is_no_longer_firm_is_kept_and_told():
    count, reasons = choose_count({3: figures(0.3, worst=0.4), 4: figures(0.31)}, 3)
    assert count == 3
    assert "the worst refit agrees to 0.40" in reasons[0]


def test_a_count_in_force_that_cannot_be_tried_is_chosen_anew():
    assert choose_count({3: figures(0.3), 4: figures(0.3, 0.9)}, 9) == (4, [])


def two_clouds(rows, seed):
    rng = np.random.default_rng(seed)
    return 8.0 * rng.integers(0, 2, (rows, 1)) + rng.normal(size=(rows, 2))


def test_refits_agree_on_separate_clouds_and_not_on_noise():
    train, tuning = two_clouds(600, 1), two_clouds(300, 2)
    firm = refit_agreements(fit_kmeans(train, 2, 1, STARTS), train, tuning, seed=1, effort=EFFORT)
    noise = np.random.default_rng(3).normal(size=(600, 2))
    loose = refit_agreements(fit_kmeans(noise, 7, 1, STARTS), noise, noise[::2], 1, EFFORT)
    assert len(firm) == EFFORT.refits
    assert firm.min() > 0.99
    assert loose.mean() < 0.8
    assert (
        loose == refit_agreements(fit_kmeans(noise, 7, 1, STARTS), noise, noise[::2], 1, EFFORT)
    ).all()


def test_actionability_is_the_share_of_variance_between_segments():
    labels = np.array([0, 0, 4, 4])
    values = np.array([[1.0, 0, 3, 7], [1, 2, 3, 7], [5, 0, 4, 7], [5, 2, 6, 7]])
    between = np.array([1, 0, (2 * 1 + 2 * 1) / 6.0])
    assert actionability(values, labels) == pytest.approx(between.mean())
    assert actionability(values[:, 3:], labels) == 0
    assert actionability(np.empty((4, 0)), labels) == 0


def test_the_explained_share_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    place = rng.integers(0, 4, 500)
    values = (rng.normal(size=500) + place).astype(np.float32)
    overall = values.mean(dtype=np.float64)
    between = sum(
        (place == n).sum() * (values[place == n].mean(dtype=np.float64) - overall) ** 2
        for n in range(4)
    )
    expected = between / ((values - overall) ** 2).sum()
    assert explained_shares(values[:, np.newaxis], place).tolist() == pytest.approx([expected])


@pytest.mark.parametrize(
    ("values", "place", "expected"),
    [
        ([1.0, 1.0, 3.0, 3.0], [0, 0, 2, 2], 1.0),
        ([1.0, 3.0, 1.0, 3.0], [0, 0, 1, 1], 0.0),
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 0, 0], 0.0),
        ([0.1, 0.1, 0.1, 0.1], [0, 1, 0, 1], np.nan),
    ],
    ids=["all", "nothing", "one segment", "no variance"],
)
def test_what_segments_explain_in_known_cases(values, place, expected):
    (found,) = explained_shares(np.array(values, np.float32)[:, np.newaxis], np.array(place))
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_one_segment_has_figures_too():
    points = np.zeros((30, 1))
    found = count_figures(
        fit_kmeans(points, 1, 1, STARTS), ClusteringData(points, points, points), 1, EFFORT
    )
    assert (found["segments"], found["silhouette"], found["agreement"]) == (1, None, 1.0)
    assert found["actionability"] == 0
