from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import MAX_SEGMENT_ID, Segment
from engine.bundle.open import open_bundle
from engine.errors import BundleError
from tests.fitted import shop
from tests.fitting import SHOP, number, schema_of, shop_users
from tests.helpers import write_table
from training.data.dataset import load_dataset
from training.segments.lineage import (
    Lineage,
    PreviousSegments,
    check_previous,
    jaccard,
    previous_segments,
    segment_changes,
    space_changes,
    starting_centroids,
    trace_lineage,
)


def before(assigned, ids, retired=()):
    segments = tuple(Segment(n, f"name {n}", 0.1) for n in ids)
    return PreviousSegments("tiny/1", segments, {}, tuple(retired), {"f": True}, np.array(assigned))


def test_a_first_fit_counts_from_one():
    assert trace_lineage(np.array([0, 1, 2, 0]), 3, None) == Lineage((1, 2, 3), (), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("labels", "assigned", "ids", "retired", "expected", "gone"),
    [
        ([0, 0, 1, 2], [7, 7, 3, 5], [3, 5, 7], [], (7, 3, 5), ()),
        ([0, 0, 0, 1, 2, 2], [4, 4, 4, 4, 9, 9], [4, 9], [6], (4, 10, 9), (6,)),
        ([0, 0, 0, 0, 1, 1], [1, 1, 1, 2, 3, 3], [1, 2, 3], [], (1, 3), (2,)),
        ([0, 0, 1, 1], [1, 2, 1, 2], [1, 2], [3], (4, 5), (1, 2, 3)),
        ([0, 0, 1, 1], [1, 1, 1, 1], [1, 2], [], (1, 3), (2,)),
        ([0, 0, 0, 1], [1, 1, 2, 2], [1, 2], [], (1, 2), ()),
    ],
    ids=["permuted", "split", "merged", "all new", "vanished", "at the bound"],
)
def test_segments_are_matched_by_their_users(labels, assigned, ids, retired, expected, gone):
    found = trace_lineage(np.array(labels), max(labels) + 1, before(assigned, ids, retired))
    assert found.ids == expected
    assert found.retired == gone


def test_a_retired_id_is_never_used_again():
    retired, ids, used = (), (1, 2), {1, 2}
    rng = np.random.default_rng(0)
    for _ in range(6):
        assigned = rng.choice(ids, 400)
        found = trace_lineage(rng.integers(0, 2, 400), 2, before(assigned, ids, retired))
        assert not set(found.ids) & used
        used |= set(found.ids)
        assert set(found.retired) == used - set(found.ids)
        ids, retired = found.ids, found.retired


def test_ids_end_where_the_score_file_has_no_room():
    labels = np.array([0, 0, 1, 1])
    last = before([1, 1, 2, MAX_SEGMENT_ID - 1], [1, 2, MAX_SEGMENT_ID - 1])
    assert max(trace_lineage(labels, 2, last).ids) <= MAX_SEGMENT_ID
    with pytest.raises(BundleError, match="Omit --previous"):
        trace_lineage(labels, 2, before([1, 2, 1, 2], [1, 2], [MAX_SEGMENT_ID]))


def test_jaccard_counts_users_in_both_over_users_in_either():
    found = jaccard(np.array([0, 0, 0, 1]), 2, np.array([5, 5, 8, 8]), [5, 8, 9])
    np.testing.assert_allclose(found, [[2 / 3, 1 / 4, 0], [0, 1 / 2, 0]])


def test_centroids_start_at_the_means_of_the_segments_in_force():
    points = np.array([[0.0], [2.0], [9.0]])
    assert starting_centroids(points, before([4, 4, 2], [2, 4])).tolist() == [[9.0], [1.0]]
    assert starting_centroids(points, before([4, 4, 2], [2, 4, 5])) is None


def test_changes_are_told_in_words():
    old = before([], [1, 2, 3])
    new = (Segment(1, "name 1", 0.5), Segment(2, "other", 0.3), Segment(4, "fresh", 0.2))
    found = segment_changes(new, Lineage((1, 2, 4), (3,), (0.9, 0.8, 0.31)), old)
    assert found == [
        "segment 4, fresh, is new: it shares 31% of the users with its best previous match",
        "segment 2 is now called other: name 2 no longer describes its users",
        "segment 3, name 3, is retired",
    ]
    assert segment_changes(old.segments, Lineage((1, 2, 3), (), (1, 1, 1)), old) == []
    assert space_changes(old, ["f"]) == []
    assert "'f' dropped" in space_changes(old, ["g"])[0]


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(shop().bundle)


def test_the_engine_puts_users_into_the_segments_in_force(bundle, tmp_path):
    path = write_table(shop_users(500, 2), tmp_path / "users.parquet")
    typed = load_dataset([str(path)], SHOP).typed
    found = previous_segments(bundle, typed)
    assert set(found.assigned) <= set(found.ids)
    assert list(found.features) == read_evaluation(bundle).fit.clustering["features"]
    gone = typed.drop("visits").with_columns(age=pl.lit("old"))
    absent = typed.with_columns(visits=pl.lit(None, pl.Float32), age=pl.lit(None, pl.Float32))
    assert (
        previous_segments(bundle, gone).assigned == previous_segments(bundle, absent).assigned
    ).all()


def test_a_bundle_of_another_table_is_refused(bundle):
    other = SimpleNamespace(name="other")
    with pytest.raises(BundleError, match="schema 'tiny', this fit of 'other'"):
        check_previous(bundle, other)
    check_previous(bundle, schema_of(number("visits")))
