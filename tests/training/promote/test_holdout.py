"""The users on whom two bundles can be compared."""

import dataclasses

import pytest

import tests.fitted
from engine.bundle.open import open_bundle
from engine.errors import BundleError, InputError
from tests.fitted import fit_small
from tests.helpers import write_table
from tests.weekly import TABLE, UNDATED, users_of
from training.promote.holdout import MIN_USERS, open_contest


@pytest.fixture(scope="module")
def champion():
    return tests.fitted.champion().bundle


@pytest.fixture(scope="module")
def good():
    return tests.fitted.challenger().bundle


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    return write_table(users_of(3, 6_000), tmp_path_factory.mktemp("later") / "later.parquet")


@pytest.fixture(scope="module")
def leaking():
    return tests.fitted.leaking().bundle


@pytest.mark.parametrize(
    ("users", "words"),
    [
        (users_of(0, 2_000), "of 2026-01-04; tiny/2026-01-11-.* up to 2026-01-11"),
        (users_of(1, 2_000), "whose outcomes end 7 days later. Give users of 2026-01-18 or later"),
        (users_of(3, 2_000).drop("day"), "no column 'day'"),
        (users_of(3, MIN_USERS - 1), "999 users; measuring a candidate needs"),
    ],
    ids=["the week of the champion", "its own week", "no date", "too few"],
)
def test_users_on_whom_nothing_can_be_compared_are_refused(good, champion, tmp_path, users, words):
    data = write_table(users, tmp_path / "users.parquet")
    with pytest.raises(InputError, match=words):
        open_contest(open_bundle(good), open_bundle(champion), [str(data)])


def test_the_first_day_after_the_horizon_is_late_enough(good, champion, tmp_path):
    data = write_table(users_of(2, 1_000), tmp_path / "users.parquet")
    assert open_contest(open_bundle(good), open_bundle(champion), [str(data)]).dataset.rows == 1_000


def test_a_window_of_the_champion_counts_too(good, champion, tmp_path):
    data = write_table(users_of(1, 2_000), tmp_path / "users.parquet")
    with pytest.raises(InputError, match="tiny/2026-01-11"):
        open_contest(open_bundle(champion), open_bundle(good), [str(data)])


def test_the_users_of_training_are_recognised_without_dates(tmp_path):
    own, others = (
        write_table(users_of(week, 1_500).drop("day"), tmp_path / f"{week}.parquet")
        for week in (0, 1)
    )
    fit_small(own, tmp_path / "bundle", UNDATED)
    bundle = open_bundle(tmp_path / "bundle")
    with pytest.raises(InputError, match="the users that tiny/undated-.* was fitted to"):
        open_contest(bundle, bundle, [str(own)])
    assert open_contest(bundle, bundle, [str(others)]).evaluation.data["snapshots"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "other"}, "name of the schema is 'other', in the champion 'tiny'"),
        ({"horizon_days": 14}, "horizon_days of the schema is 14"),
        (
            {"features": tuple(dataclasses.replace(f, kind="categorical") for f in TABLE.features)},
            "'visits' is categorical, in the champion numeric",
        ),
    ],
)
def test_bundles_of_different_tables_are_not_compared(good, champion, later, changes, words):
    bundle = open_bundle(good)
    schema = dataclasses.replace(bundle.manifest.schema, **changes)
    manifest = dataclasses.replace(bundle.manifest, schema=schema)
    with pytest.raises(BundleError, match=words):
        open_contest(
            dataclasses.replace(bundle, manifest=manifest), open_bundle(champion), [str(later)]
        )


def test_a_feature_that_only_the_champion_reads_is_asked_for(leaking, good, later):
    with pytest.raises(InputError, match="1 missing column: 'paid'"):
        open_contest(open_bundle(good), open_bundle(leaking), [str(later)])
