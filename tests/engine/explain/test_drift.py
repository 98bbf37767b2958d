"""The users of today against those of training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle.open import open_bundle
from engine.bundle.reference import (
    SUPPRESSED,
    Counts,
    Users,
    reference_from_json,
    reference_to_json,
    typical_size,
)
from engine.errors import BundleError
from engine.explain.drift import (
    UserSample,
    chance,
    drift_report,
    findings,
    other_unit,
    population_stability_index,
)
from engine.model.session import Session
from tests.helpers import BUNDLE
from training.export.reference import fit_reference, quantile_edges
from training.metrics.disclosure import MIN_USERS, users_in


@pytest.fixture(scope="module")
def manifest():
    return open_bundle(BUNDLE).manifest


@pytest.fixture(scope="module")
def session():
    return Session(open_bundle(BUNDLE))


def users(manifest, rows, seed, factor=1.0):
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(0, len(manifest.categories[f.name]), rows)
        if f.kind == "categorical"
        else rng.lognormal(0, 1, rows) * factor
        for f in manifest.schema.model_features
    ]
    features = np.stack(columns, axis=1).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    return features


def test_psi_is_that_of_the_formula():
    then, now = np.array([10, 20, 70]), np.array([30, 30, 40])
    p, q = (then + 0.5) / 101.5, (now + 0.5) / 101.5
    expected = sum((b - a) * np.log(b / a) for a, b in zip(p, q, strict=True))
    assert population_stability_index(then, now) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=30))
def test_psi_of_the_same_users_is_zero_and_of_others_never_negative(counts):
    then = np.array(counts)
    assert population_stability_index(then, then) == 0
    assert population_stability_index(then, then[::-1]) >= 0


@pytest.mark.parametrize("rows", [200, 2_000, 20_000])
def test_chance_is_hardly_exceeded_without_a_shift(rows):
    rng = np.random.default_rng(1)
    draws = rng.multinomial(rows, np.full(10, 0.1), size=(400, 2))
    exceeded = [population_stability_index(a, b) > chance(a, b) for a, b in draws]
    assert np.mean(exceeded) < 0.02


def reported(manifest, session, features, reference):
    return drift_report(reference, seen(features, session), manifest)


def seen(features, session):
    found = session.run(features)
    return Users(features, found.probability, found.segment)


@pytest.fixture(scope="module")
def reference(manifest, session):
    return reference_of(users(manifest, 5_000, 1), session, manifest)


def test_users_like_those_of_training_do_not_drift(manifest, session, reference):
    report = reported(manifest, session, users(manifest, 3_000, 2), reference)
    assert report["rows"] == 3_000
    assert {f["level"] for f in report["features"]} == {"none"}
    assert {f["kind"] for f in report["features"]} == {None}
    assert (report["score"]["level"], report["segments"]["level"]) == ("none", "none")
    assert findings(report, "alarm") == findings(report, "warn") == []


@pytest.mark.parametrize(
    ("factor", "words"), [(100, "about 100 times those"), (1 / 60, "about 1/60 of those")]
)
def test_another_unit_is_named_for_every_numeric_feature(
    manifest, session, reference, factor, words
):
    report = reported(manifest, session, users(manifest, 3_000, 2, factor), reference)
    for feature, found in zip(manifest.schema.model_features, report["features"], strict=True):
        if feature.kind == "categorical":
            assert (found["level"], found["kind"], found["words"]) == ("none", None, "")
        else:
            assert (found["level"], found["kind"]) == ("alarm", "unit")
            assert found["words"].startswith(f"values are {words}")


@pytest.mark.parametrize(
    ("values", "then", "words"),
    [
        (
            [0] * 60 + [1_500] * 40,
            15.0,
            "about 100 times those of training (typically 1,500, then 15)",
        ),
        ([float("nan")] * 50 + [-1_500] * 40, 15.0, "about 100 times"),
        ([0.15] * 40, 15.0, "about 1/100 of those"),
        ([float("inf")] + [900] * 40, 15.0, "about 60 times"),
        ([15] * 40, 15.0, ""),
        ([75] * 40, 15.0, ""),
        ([1_500] * 19, 15.0, ""),
        ([0] * 60, 15.0, ""),
        ([1_500] * 40, None, ""),
    ],
)
def test_a_unit_is_told_by_the_size_of_what_is_not_zero(values, then, words):
    found = other_unit(np.array(values, np.float32), then)
    assert words in found
    assert bool(words) == bool(found)


def test_missing_values_are_named(manifest, session, reference):
    features = users(manifest, 4_000, 2)
    features[:, 3] = np.nan
    found = reported(manifest, session, features, reference)["features"][3]
    assert (found["missing"], found["level"], found["kind"]) == (1.0, "alarm", "missing")
    assert found["missing_reference"] == pytest.approx(0.1, abs=0.02)
    assert "missing or unknown for 100% of users, for 1" in found["words"]


def test_a_constant_column_is_named(manifest, session, reference):
    features = users(manifest, 4_000, 2)
    features[:, 3] = np.where(np.isnan(features[:, 3]), np.nan, 1.0)
    found = reported(manifest, session, features, reference)["features"][3]
    assert (found["level"], found["kind"]) == ("alarm", "constant")
    assert "has one value for every user" in found["words"]


def test_a_column_that_was_constant_in_training_may_be_so_again(manifest, session):
    features = users(manifest, 4_000, 2)
    features[:, 3] = 1.0
    reference = reference_of(features, session, manifest)
    found = reported(manifest, session, features, reference)["features"][3]
    assert (found["level"], found["kind"]) == ("none", None)


def test_another_mix_of_categories_names_the_value_that_moved_most(manifest, session, reference):
    column, feature = next(
        (n, f) for n, f in enumerate(manifest.schema.model_features) if f.kind == "categorical"
    )
    features = users(manifest, 4_000, 2)
    features[:3_000, column] = 1
    found = reported(manifest, session, features, reference)["features"][column]
    assert (found["level"], found["kind"]) == ("alarm", "distribution")
    assert f"{manifest.categories[feature.name][1]!r} has 7" in found["words"]


@pytest.mark.parametrize("chunk_rows", [1, 7, 1_000, 10_000])
def test_a_sample_does_not_depend_on_the_chunks(monkeypatch, chunk_rows):
    monkeypatch.setattr(UserSample, "LIMIT", 100)
    numbers = np.arange(1_234, dtype=np.float32)
    sample = UserSample()
    for start in range(0, len(numbers), chunk_rows):
        part = numbers[start : start + chunk_rows]
        sample.add(Users(part[:, np.newaxis], part, part.astype(np.int8)))
    assert sample.users.probability.tolist() == list(range(0, 1_234, 16))
    assert sample.users.features[:, 0].tolist() == list(range(0, 1_234, 16))


def test_a_sample_keeps_the_sampled_users_alone_in_memory(monkeypatch):
    monkeypatch.setattr(UserSample, "LIMIT", 100)
    sample = UserSample()
    for _ in range(40):
        part = np.zeros(1_000, np.float32)
        sample.add(Users(part[:, np.newaxis], part, part))
    arrays = [getattr(p, n) for p in sample._parts for n in ("features", "probability", "segment")]
    assert all(array.base is None for array in arrays)
    assert sum(len(array) for array in arrays) <= 3 * 100


def test_few_users_are_all_kept():
    sample = UserSample()
    one = np.zeros(1, np.float32)
    for _ in range(3):
        sample.add(Users(one[:, np.newaxis], one, one))
    assert sample.users.rows == 3


def test_the_typical_size_is_of_many_users_and_of_none_exactly():
    values = np.array([0.0, np.nan] * 10 + [-1234.5] * 20, np.float32)
    assert typical_size(values) == 1230
    assert typical_size(values[:-1]) is None


def test_the_reference_survives_its_file(manifest, session):
    reference = reference_of(users(manifest, 3_000, 1), session, manifest)
    read = reference_from_json(reference_to_json(reference, manifest), manifest)
    assert read.edges == reference.edges
    assert reference_to_json(read, manifest) == reference_to_json(reference, manifest)


@pytest.mark.parametrize("text", [b"{}", b"no", b'{"features": 3}'])
def test_a_file_that_is_no_reference_is_refused(manifest, text):
    with pytest.raises(BundleError, match=r"reference.json is not its reference"):
        reference_from_json(text, manifest)


def test_a_reference_with_other_bins_is_refused(manifest, session):
    reference = reference_of(users(manifest, 3_000, 1), session, manifest)
    counts = reference.counts
    fewer = Counts(counts.features, counts.score[1:], counts.segments)
    shorter = replace(reference, counts=fewer)
    with pytest.raises(BundleError, match="has bins"):
        reference_from_json(reference_to_json(shorter, manifest), manifest)


def test_a_value_that_many_share_is_a_bin_of_its_own():
    column = np.array([0.0] * 9_000 + list(range(1, 1_001)), np.float32)
    edges = quantile_edges(column, np.arange(10_000))
    assert 0 < edges[0] < 1e-30
    assert len(edges) == 10
    assert max(edges) < 1_000


def test_a_constant_column_shows_values_on_either_side():
    below, above = quantile_edges(np.full(100, 5.0, np.float32), np.arange(100))
    assert below == 5.0 < above < 5.001


@pytest.mark.parametrize(
    ("rows", "edges"), [(0, 0), (79, 0), (80, 1), (300, 6), (400, 9), (5_000, 9)]
)
def test_bins_are_as_many_as_there_are_users_for(rows, edges):
    column = np.random.default_rng(0).lognormal(0, 1, rows).astype(np.float32)
    assert len(quantile_edges(column, np.arange(rows))) == edges


@given(
    st.lists(st.integers(0, 12), min_size=80, max_size=400),
    st.integers(1, 5),
)
def test_no_bin_is_of_few_users(values, rows_each):
    column = np.array(values, np.float32)
    users = np.arange(len(column)) // rows_each
    edges = quantile_edges(column, users)
    if len(set(values)) > 1:
        people = users_in(np.searchsorted(edges, column, side="right"), users, len(edges) + 1)
        assert people.min() >= MIN_USERS or len(edges) == 0


def test_edges_are_not_the_values_of_users():
    column = np.random.default_rng(0).lognormal(3, 1, 2_000).astype(np.float32)
    edges = np.array(quantile_edges(column, np.arange(2_000)), np.float32)
    assert len(edges) == 9
    assert not set(edges.tolist()) & set(column.tolist())


def test_small_bins_are_not_told_and_compared_as_one(manifest, session):
    features = users(manifest, 3_000, 1)
    column = [f.kind for f in manifest.schema.model_features].index("categorical")
    features[:, column] = 0
    features[:300, column] = 1
    features[300:319, column] = 2
    reference = reference_of(features, session, manifest)
    told = reference.counts.features[column].tolist()
    assert told[:3] == [2_681, 300, SUPPRESSED]
    same = reported(manifest, session, features, reference)["features"][column]
    assert (same["psi"], same["level"]) == (0, "none")
    features[:1_500, column] = 2
    assert reported(manifest, session, features, reference)["features"][column]["level"] == "alarm"


def test_deciles_segments_and_missing_values_of_few_are_not_told(manifest, session):
    features, predictions = scored(users(manifest, 3_000, 1), session)
    ids = [segment.id for segment in manifest.segments]
    segment = np.full(3_000, ids[0])
    segment[:2_000] = ids[1]
    segment[:5] = ids[2]
    features[:, 3] = np.where(np.arange(3_000) < 19, np.nan, np.arange(3_000))
    cuts = np.array(manifest.decile_cuts)
    probability = np.full(3_000, cuts[0] / 2, np.float32)
    probability[:1_000] = (cuts[0] + cuts[1]) / 2
    probability[:19] = 1
    predictions = replace(predictions, segment=segment, probability=probability)
    reference = fit_reference(features, predictions, manifest, np.arange(3_000))
    assert reference.counts.segments.tolist()[:3] == [1_000, 1_995, SUPPRESSED]
    assert reference.counts.score.tolist() == [2_000, 981, *[0] * 7, SUPPRESSED]
    assert reference.counts.features[3].tolist().count(SUPPRESSED) == 1
    read = reference_from_json(reference_to_json(reference, manifest), manifest)
    assert (read.counts.score == reference.counts.score).all()
    today = Users(features, predictions.probability, predictions.segment)
    report = drift_report(read, today, manifest)
    assert report["features"][3]["missing_reference"] is None
    assert report["segments"]["psi"] == report["score"]["psi"] == 0


def test_rows_of_few_users_are_not_told(manifest, session):
    features, predictions = scored(users(manifest, 1_000, 1), session)
    reference = fit_reference(features, predictions, manifest, np.arange(1_000) % 19)
    assert {len(e) for e, f in zip(reference.edges, manifest.schema.model_features, strict=True)
            if f.kind == "numeric"} == {0}  # fmt: skip
    assert reference.counts.segments.max() <= 0


@pytest.mark.parametrize("rows", [300, 700, 1_400])
def test_a_clear_shift_is_seen_from_few_users_on(manifest, session, rows):
    reference = reference_of(users(manifest, rows, 1), session, manifest)
    same = reported(manifest, session, users(manifest, rows, 2), reference)
    shifted = reported(manifest, session, users(manifest, rows, 2, 5), reference)
    for feature, calm, moved in zip(
        manifest.schema.model_features, same["features"], shifted["features"], strict=True
    ):
        assert calm["level"] == "none"
        assert moved["level"] == ("none" if feature.kind == "categorical" else "alarm")


def reference_of(features, session, manifest):
    return fit_reference(*scored(features, session), manifest, np.arange(len(features)))


def scored(features, session):
    return features, session.run(features)
