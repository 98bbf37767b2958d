import numpy as np
import pytest
from scipy.stats import spearmanr

from training.segments.kmeans import (
    copula_draws,
    fit_kmeans,
    fit_kmeans_from,
    sampled,
    silhouette,
    silhouette_copula,
)


def test_separate_clouds_exceed_a_copula():
    rng = np.random.default_rng(2)
    centres = rng.normal(0, 2, size=(3, 8))
    points = centres[rng.integers(0, 3, 3_000)] + rng.normal(size=(3_000, 8))
    model = fit_kmeans(points, 3, seed=1, starts=5)
    found = silhouette(points, model.labels_)
    assert found > silhouette_copula(points, 1_000, 3, seed=1, starts=5) + 0.05


def test_a_single_cloud_of_related_columns_equals_its_copula():
    rng = np.random.default_rng(2)
    points = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 6_000)
    model = fit_kmeans(points[:3_000], 3, seed=1, starts=5)
    found = silhouette(points[3_000:], model.predict(points[3_000:]))
    assert found == pytest.approx(
        silhouette_copula(points[:3_000], 3_000, 3, seed=1, starts=5), abs=0.02
    )
    assert silhouette_copula(points[:3_000], 500, 3, seed=1, starts=5) == silhouette_copula(
        points[:3_000], 500, 3, seed=1, starts=5
    )


def test_copula_draws_keep_marginals_and_rank_correlation():
    rng = np.random.default_rng(2)
    normal = rng.multivariate_normal([0, 0, 0], [[1, 0.7, 0], [0.7, 1, -0.3], [0, -0.3, 1]], 5_000)
    points = np.column_stack([np.exp(normal[:, 0]), normal[:, 1] ** 3, np.round(normal[:, 2], 1)])
    drawn = copula_draws(points, 20_000, rng)
    assert all(np.isin(drawn[:, i], points[:, i]).all() for i in range(3))
    for cut in np.quantile(points, [0.1, 0.5, 0.9], axis=0):
        np.testing.assert_allclose(
            (drawn <= cut).mean(axis=0), (points <= cut).mean(axis=0), atol=0.02
        )
    assert np.abs(spearmanr(drawn).statistic - spearmanr(points).statistic).max() < 0.03


def test_a_column_that_never_varies_survives_the_copula():
    points = np.column_stack([np.zeros(50), np.arange(50.0)])
    drawn = copula_draws(points, 10, np.random.default_rng(0))
    assert (drawn[:, 0] == 0).all()
    assert np.isin(drawn[:, 1], points[:, 1]).all()


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_one_cluster_or_only_single_users_have_no_silhouette(labels):
    assert silhouette(np.arange(8.0).reshape(4, 2), np.array(labels)) is None


def test_without_coordinates_there_is_no_silhouette():
    assert silhouette(np.empty((4, 0)), np.array([0, 0, 1, 1])) is None


def test_samples_keep_their_order():
    points = np.arange(100)
    drawn = sampled(points, 10, seed=1)
    assert len(drawn) == 10
    assert (np.diff(drawn) > 0).all()
    assert sampled(points, 100, seed=1) is points


def test_kmeans_finds_clusters_again_from_their_centroids():
    points = np.random.default_rng(0).normal(size=(2_000, 3))
    fresh = fit_kmeans(points, 5, seed=1, starts=5)
    again = fit_kmeans_from(points, fresh.cluster_centers_[::-1], seed=2)
    assert (again.labels_ == 4 - fresh.labels_).all()


def test_more_clusters_than_different_points_do_not_fail():
    points = np.repeat(np.arange(2.0), 20)[:, np.newaxis]
    assert len(np.unique(fit_kmeans(points, 3, seed=1, starts=5).predict(points))) == 2
