import numpy as np
import pytest

import training.segments.space
from engine.bundle.manifest import Segment
from tests.fitted import SMALL
from tests.fitting import number, schema_of
from training.segments.counts import MIN_SHARE, NEAR_BEST
from training.segments.kmeans import silhouette, silhouette_copula
from training.segments.lineage import PreviousSegments
from training.segments.segments import fit_segments
from training.segments.space import standardized

FEATURES = schema_of(*(number(f"f{i}", group="abcd"[i]) for i in range(4))).model_features


def clouds(rows, seed, centres=4, spread=0.5):
    rng = np.random.default_rng(seed)
    weights = np.arange(centres, 0, -1)
    kind = rng.choice(centres, rows, p=weights / weights.sum())
    return (kind[:, np.newaxis] + rng.normal(0, spread, (rows, 4))).astype(np.float32)


def fit(train, others=None, features=FEATURES):
    return fit_segments(train, *(others or (train[::2], train[1::2])), features, {}, 3, SMALL)


@pytest.fixture(scope="module")
def found():
    return fit(clouds(3_000, 1), (clouds(800, 2), clouds(800, 3)))


def test_segments_are_numbered_by_falling_size(found):
    shares = [segment.share for segment in found.segments]
    assert [segment.id for segment in found.segments] == list(range(1, len(shares) + 1))
    assert [s.name for s in found.segments[:2]] == ["Segment 1", "Segment 2"]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert min(shares) >= MIN_SHARE


def test_real_clouds_exceed_shuffled_columns(found):
    assert found.report["reasons"] == []
    assert found.report["silhouette"] > found.report["silhouette_permuted"] + 0.06
    points = found.space.coordinates(clouds(3_000, 1))
    copula = silhouette_copula(points, 800, len(found.segments), 3, SMALL.kmeans_starts)
    assert found.report["silhouette_copula"] == copula
    assert found.report["silhouette_rows"] == 800
    assert [f["segments"] for f in found.report["counts_tried"]] == [3, 4, 5, 6, 7, 8]


def test_the_model_gives_the_order_of_the_segments(found):
    train = clouds(3_000, 1)
    labels = found.model.predict(found.space.coordinates(train))
    shares = np.bincount(labels) / len(train)
    np.testing.assert_allclose(shares, [s.share for s in found.segments], atol=1e-6)
    assert (found.model.labels_ == labels).all()


def test_the_same_data_gives_the_same_segments():
    train = clouds(1_000, 1)
    one, other = fit(train), fit(train)
    assert one.report == other.report
    assert (one.centroids == other.centroids).all()


def test_data_without_segments_is_reported():
    noise = np.random.default_rng(0).normal(size=(2_000, 4)).astype(np.float32)
    reasons = fit(noise).report["reasons"]
    assert any(reason.startswith("silhouette") for reason in reasons)


def test_a_tiny_segment_is_not_chosen():
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 0, 0], [9, 0, 9, 0], [0, 9, 0, 9], [-9, -9, -9, -9]])
    kind = np.repeat([0, 1, 2, 3], [400, 300, 280, 20])
    train = corners[kind] + rng.normal(0, 0.5, size=(1_000, 4))
    found = fit(rng.permutation(train).astype(np.float32))
    tried = {f["segments"]: f for f in found.report["counts_tried"]}
    assert tried[4]["silhouette"] > tried[3]["silhouette"]
    assert tried[4]["smallest_share"] == 0.02
    assert [s.share for s in found.segments] == [0.42, 0.3, 0.28]


def test_too_few_groups_are_reported():
    train = clouds(1_000, 1)
    train[:, 3] = train[:, 0]
    reasons = fit(train).report["reasons"]
    assert "the features come from 3 of 4 groups, fewer than 4" in reasons


def test_features_that_repeat_one_another_are_reported(monkeypatch):
    monkeypatch.setattr(training.segments.space, "MAX_CORRELATION", 1.0)
    train = clouds(1_000, 1)
    train[:, 3] = train[:, 0] + np.float32(0.01) * train[:, 1]
    reasons = fit(train).report["reasons"]
    assert "'f0' and 'f3' have a correlation of 1.00, above 0.9" in reasons


def test_data_that_never_varies_gives_one_segment():
    found = fit(np.zeros((50, 4), np.float32))
    assert [s.share for s in found.segments] == [1.0]
    assert found.report["silhouette"] is None
    assert any("only 1 of 4 features" in reason for reason in found.report["reasons"])


def before(found, assigned, ids):
    segments = tuple(Segment(n, f"name {n}", 0.1) for n in ids)
    features = dict(zip(found.report["features"], found.space.logged.tolist(), strict=True))
    return PreviousSegments("tiny/1", segments, {}, (40,), features, np.asarray(ids)[assigned])


def test_segments_in_force_hand_on_their_ids(found):
    train, ids = clouds(3_000, 5), [12, 3, 7, 30, 31, 32, 33, 34][: len(found.segments)]
    labels = found.model.predict(found.space.coordinates(train))
    old = before(found, labels, ids)
    again = fit_segments(train, train[::2], train[1::2], FEATURES, {}, 9, SMALL, old)
    assert [s.id for s in again.segments] == sorted(ids)
    assert again.lineage.retired == (40,)
    assert min(again.lineage.overlap) > 0.9
    assert again.report["changes"] == []
    assert again.report["previous"] == "tiny/1"
    place = np.argsort(ids)
    np.testing.assert_allclose(again.centroids, found.centroids[place], atol=0.15)
    shares = np.bincount(again.model.labels_) / len(train)
    np.testing.assert_allclose(shares, [s.share for s in again.segments], atol=1e-6)


def test_a_number_of_segments_that_the_users_do_not_allow_is_told(found):
    old = before(found, np.arange(600) % 2, [1, 2])
    again = fit_segments(
        clouds(600, 5), clouds(300, 6), clouds(300, 7), FEATURES, {}, 9, SMALL, old
    )
    assert (
        "segments instead of 2, which is impossible with these users" in again.report["changes"][0]
    )


def test_more_segments_that_gain_enough_are_told(found):
    train = clouds(1_500, 5, centres=5, spread=0.2)
    merged = np.clip(np.round(train.mean(axis=1)), 0, 2).astype(int)
    old = before(found, merged, [1, 2, 3])
    again = fit_segments(train, train[::2], train[1::2], FEATURES, {}, 9, SMALL, old)
    tried = {f["segments"]: f for f in again.report["counts_tried"]}
    count = len(again.segments)
    assert count > 3
    assert tried[count]["silhouette"] - tried[3]["silhouette"] >= NEAR_BEST
    assert f"{count} segments instead of 3: the silhouette is" in again.report["changes"][0]


def test_every_silhouette_and_every_refit_is_in_the_report(found):
    report = found.report
    assert report["refits"] == SMALL.refits
    assert report["actionable_features"] == [f.name for f in FEATURES]
    points = standardized(clouds(3_000, 1), clouds(800, 3), [0, 1, 2, 3], logs=False)
    labels = found.model.predict(found.space.coordinates(clouds(800, 3)))
    assert report["silhouette_plain"] == silhouette(points, labels)
    chosen = [row for row in report["counts_tried"] if row["chosen"]]
    assert [row["segments"] for row in chosen] == [len(found.segments)]
