"""The segmenter graph against scikit-learn in double precision."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.fitted import SMALL
from tests.fitting import category, number, schema_of, session
from training.export.parity import TOLERANCES
from training.export.segmenter import segmenter_graph
from training.segments.segments import fit_segments

COLUMNS = 5


def users(rows, seed):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, (rows, 1))
    found = (kind + rng.normal(0, 0.6, (rows, COLUMNS))).astype(np.float32)
    found[:, 1] = np.exp(2 * found[:, 1])
    found[:, 4] = rng.integers(0, 3, rows)
    found[rng.random(rows) < 0.1, 2] = np.nan
    found[rng.random(rows) < 0.1, 4] = np.nan
    return found


@pytest.fixture(scope="module")
def fitted():
    numbers = (number(f"f{i}", group=str(i)) for i in range(COLUMNS - 1))
    features = schema_of(*numbers, category("city")).model_features
    parts = users(1_000, 1), users(300, 2), users(300, 3)
    return fit_segments(*parts, features, {"city": ("oslo", "rome", "bern")}, 1, SMALL)


@pytest.fixture(scope="module")
def graph(fitted):
    ids = tuple(s.id for s in fitted.segments)
    return session(segmenter_graph(fitted.space, fitted.centroids, ids, COLUMNS))


def assert_equal(graph, fitted, features):
    segment, distances = graph.run(["segment", "distances"], {"features": features})
    points = fitted.space.coordinates(features)
    expected = np.sqrt(((points[:, np.newaxis] - fitted.centroids) ** 2).sum(axis=2))
    np.testing.assert_allclose(distances, expected, rtol=1e-6, atol=1e-12)
    nearest = np.sort(expected, axis=1)
    clear = nearest[:, 1] - nearest[:, 0] > TOLERANCES["distance"]
    assert segment.dtype == np.int64
    assert (segment == fitted.model.predict(points) + 1)[clear].all()


def test_ordinary_users(graph, fitted):
    assert fitted.space.logged.any()
    assert np.isnan(fitted.space.equals).sum() == COLUMNS - 1
    assert_equal(graph, fitted, users(2_000, 9))


def test_all_values_missing(graph, fitted):
    assert_equal(graph, fitted, np.full((3, COLUMNS), np.nan, np.float32))


def test_users_next_to_a_centroid_have_small_distances(fitted):
    # A centroid lies between the two answers about a category, where no user can be.
    space = replace(fitted.space, equals=np.full(COLUMNS, np.nan))
    fitted = replace(fitted, space=space)
    ids = tuple(s.id for s in fitted.segments)
    graph = session(segmenter_graph(space, fitted.centroids, ids, COLUMNS))
    raw = fitted.centroids * space.scale + space.mean
    features = np.zeros((len(raw), COLUMNS), np.float32)
    features[:, space.columns] = np.where(space.logged, np.expm1(raw), raw)
    segment, distances = graph.run(["segment", "distances"], {"features": features})
    assert segment.tolist() == [s.id for s in fitted.segments]
    assert (distances.min(axis=1) < 1e-5).all()
    assert_equal(graph, fitted, features)


values = st.floats(-1e6, 1e6, width=32) | st.just(np.nan)


@given(hnp.arrays(np.float32, (20, COLUMNS), elements=values | st.sampled_from([0, 1, 2])))
def test_any_users(graph, fitted, features):
    assert_equal(graph, fitted, features)


def test_ids_need_not_be_consecutive(fitted):
    ids = tuple(10 + 3 * s.id for s in fitted.segments)
    found = session(segmenter_graph(fitted.space, fitted.centroids, ids, COLUMNS))
    segment = found.run(["segment"], {"features": users(200, 4)})[0]
    assert set(segment.tolist()) <= set(ids)
