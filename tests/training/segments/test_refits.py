"""Fits that carry on the segments of a previous bundle."""

import dataclasses
import shutil
from datetime import date, timedelta
from itertools import pairwise

import polars as pl
import pytest

from engine.bundle.open import open_bundle
from engine.bundle.schema import default_schema_path, load_schema
from engine.errors import BundleError
from engine.scorer import load_bundle
from tests.fitted import fit_small, shop, tiny
from tests.fitting import SHOP
from tests.helpers import folder_bytes, write_table
from training.promote.promotion import promote
from training.simulate import SimulateOptions
from training.simulate.write import write_users


@pytest.fixture(scope="module")
def users_file():
    return shop().users


@pytest.fixture(scope="module")
def bundle():
    return shop().bundle


def test_weekly_refits_keep_ids_and_names(tmp_path):
    schema = load_schema(default_schema_path())
    previous = None
    fits = []
    for week, seed in enumerate((7, 7, 8)):
        as_of = date(2026, 11, 22) + timedelta(weeks=week)
        write_users(SimulateOptions(1_200, seed, as_of), tmp_path / f"{week}.parquet")
        table = tmp_path / f"{week}.parquet"
        fits.append(fit_small(table, tmp_path / f"week{week}", schema, previous=previous))
        previous = tmp_path / f"week{week}"
    first, *later = fits
    assert first.evaluation.fit.clustering["changes"] == []
    for before, fitted in pairwise(fits):
        clustering = fitted.evaluation.fit.clustering
        before, manifest = before.manifest, fitted.manifest
        assert clustering["previous"] == before.bundle_id
        assert clustering["features"] == first.evaluation.fit.clustering["features"]
        if clustering["changes"] == ["no change: every segment keeps its id and its name"]:
            assert names_of(manifest) == names_of(before)
            assert manifest.retired_segments == before.retired_segments
        else:
            told = "; ".join(clustering["changes"])
            changed = names_of(manifest).items() ^ names_of(before).items()
            assert changed
            assert all(name in told for _, name in changed)
    kept = names_of(first.manifest).items() & names_of(later[-1].manifest).items()
    assert len(kept) >= len(first.manifest.segments) - 1


def names_of(manifest):
    return {segment.id: segment.name for segment in manifest.segments}


def test_users_who_are_others_get_new_segments_and_old_ids_are_retired(
    bundle, users_file, tmp_path
):
    renumbered = open_bundle(bundle)
    ids = [s.id for s in renumbered.manifest.segments]
    moved = pl.read_parquet(users_file).with_columns(
        pl.col("visits") * 0 + 1, spend=pl.lit(0.0), age=pl.col("age").shuffle(seed=1)
    )
    path = write_table(moved, tmp_path / "moved.parquet")
    # The folder of bundles with CURRENT is given, as in production.
    promote(bundle, tmp_path / "root")
    fitted = fit_small(path, tmp_path / "next", previous=tmp_path / "root")
    found = fitted.manifest
    fresh = {s.id for s in found.segments} - set(ids)
    assert fresh
    assert min(fresh) > max(ids)
    assert set(found.retired_segments) == set(ids) - {s.id for s in found.segments}
    changes = "; ".join(fitted.evaluation.fit.clustering["changes"])
    assert "dropped, because the table lacks them" in changes
    assert "is new" in changes
    assert "is retired" in changes
    scores = load_bundle(tmp_path / "next").score(moved)
    # These users differ by so little that their segments may be no better than chance.
    named = {s.id for s in found.segments} if found.segments_usable else {None}
    assert set(scores["segment_id"]) <= named
    assert scores["action"].null_count() == 0
    again = fit_small(path, tmp_path / "after", previous=tmp_path / "next").manifest
    assert names_of(again) == names_of(found)
    assert again.retired_segments == found.retired_segments
    assert again.bundle_id != found.bundle_id


def test_a_previous_bundle_decides_the_version_by_what_it_says(tmp_path):
    before, copy = tiny(), tmp_path / "elsewhere"
    shutil.copytree(before.bundle, copy)
    first = open_bundle(before.bundle).manifest
    one, two = (
        fit_small(before.users, tmp_path / name, first.schema, previous=previous).manifest
        for name, previous in (("one", before.bundle), ("two", copy))
    )
    assert one.bundle_id == two.bundle_id != first.bundle_id
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")


def test_a_previous_bundle_of_another_table_is_refused_before_the_fit(bundle, tmp_path):
    schema = dataclasses.replace(SHOP, name="another")
    with pytest.raises(BundleError, match="of schema 'tiny', this fit of 'another'"):
        fit_small("absent.parquet", tmp_path / "out", schema, previous=bundle)
