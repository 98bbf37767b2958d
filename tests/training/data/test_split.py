import dataclasses
import hashlib
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.errors import InputError
from tests.fitting import SHOP, shop_users
from training.data.dataset import Dataset
from training.data.folds import make_folds
from training.data.split import PARTS, SHARES, TIME_SHARES, hash_draws, split

START = date(2026, 1, 4)


def dataset_of(frame, schema):
    label = frame["bought"].to_numpy()
    return Dataset(schema, frame.drop("bought"), pl.DataFrame(), label, None, {}, "")


def undated(rows=4_000, **changes):
    return dataset_of(shop_users(rows, 1), dataclasses.replace(SHOP, **changes))


def dated(days, horizon=7, rows_each=400):
    frames = [
        shop_users(rows_each, 1).with_columns(day=pl.lit(START + timedelta(days=d))) for d in days
    ]
    schema = dataclasses.replace(SHOP, snapshot="day", horizon_days=horizon)
    return dataset_of(pl.concat(frames), schema)


def days_of(dataset, rows):
    return dataset.snapshots.gather(rows)


def test_hash_draws_follow_their_definition():
    expected = int(hashlib.sha256(b"split-v1:u\xc3\xa9").hexdigest()[:8], 16) / 2**32
    assert hash_draws(pl.Series(["ué"]), 1).tolist() == [expected]


def test_parts_have_their_shares_and_no_row_in_common():
    dataset = undated()
    parts = split(dataset)
    assert sorted(np.concatenate(parts.rows).tolist()) == list(range(dataset.rows))
    assert len(parts.calibration) == 0
    used = parts.train, parts.validation, parts.test
    for rows, share in zip(used, SHARES, strict=True):
        assert len(rows) / dataset.rows == pytest.approx(share, abs=0.02)
        assert (np.diff(rows) > 0).all()


def test_a_user_stays_in_the_same_part():
    few, many = undated(2_000), undated(4_000)
    for some, all_rows in zip(split(few).rows, split(many).rows, strict=True):
        assert set(few.ids.gather(some)) <= set(many.ids.gather(all_rows))


def test_without_ids_the_row_number_decides():
    dataset = undated(id=None)
    expected = np.searchsorted([0.75, 0.85], hash_draws(None, dataset.rows), side="right")
    assert split(dataset).test.tolist() == np.flatnonzero(expected == 2).tolist()


def test_one_snapshot_is_split_by_hash():
    assert split(dated([0], rows_each=4_000)).description["kind"] == "hash of the id"


@pytest.mark.parametrize("days", [(0, 7, 14), range(0, 70, 7), range(70), (0, 1, 2, 9, 10, 30)])
@pytest.mark.parametrize("horizon", [1, 7])
def test_several_snapshots_are_split_by_time_with_gaps(days, horizon):
    dataset = dated(days, horizon)
    parts = split(dataset)
    gap = timedelta(days=horizon)
    newest = np.concatenate([parts.calibration, parts.test])
    assert days_of(dataset, parts.train).max() + gap <= days_of(dataset, parts.validation).min()
    assert days_of(dataset, parts.validation).max() + gap <= days_of(dataset, newest).min()
    for part in (parts.calibration, parts.test):
        assert days_of(dataset, part).max() == dataset.snapshots.max()
    calibrators = set(dataset.ids.gather(parts.calibration))
    assert not calibrators & set(dataset.ids.gather(parts.test))
    assert len(set(np.concatenate(parts.rows).tolist())) == sum(map(len, parts.rows))


def test_many_snapshots_come_near_the_shares():
    parts = split(dated(range(0, 364, 7), rows_each=60))
    total = sum(map(len, parts.rows))
    for rows, share in zip(parts.rows, TIME_SHARES, strict=True):
        assert len(rows) / total == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("days", [(0, 7), (0, 3, 6), range(13)])
def test_too_few_snapshots_are_refused(days):
    with pytest.raises(InputError, match=rf"{len(days)} snapshot dates .* at least 3 .* 7 days"):
        split(dated(days))


def test_rows_without_a_date_are_refused():
    dataset = dated([0, 7, 14])
    typed = dataset.typed.with_columns(
        day=pl.when(pl.int_range(pl.len()) > 1).then("day").otherwise(None)
    )
    with pytest.raises(InputError, match="2 rows of 1,200 without a date in 'day'"):
        split(dataclasses.replace(dataset, typed=typed))


def test_a_part_without_purchases_is_refused():
    dataset = undated()
    label = np.zeros(dataset.rows, np.int8)
    label[split(dataset).train] = dataset.label[split(dataset).train]
    with pytest.raises(InputError, match=f"the {PARTS[1]} part has .* 0 purchases"):
        split(dataclasses.replace(dataset, label=label))


@pytest.mark.parametrize("days", [None, (0, 7, 14, 21)], ids=["one snapshot", "several"])
def test_rows_that_folds_validate_come_in_the_order_of_the_folds(days):
    dataset = undated() if days is None else dated(days)
    folds = make_folds(dataset, split(dataset))
    rows = [folds.rows[validation].tolist() for _, validation in folds.members]
    assert folds.validated.tolist() == [row for fold in rows for row in fold]
    assert len(set(folds.validated.tolist())) == len(folds.validated)
    if days is None:
        assert sorted(folds.validated.tolist()) == folds.rows.tolist()
        assert folds.validated.tolist() != folds.rows.tolist()
