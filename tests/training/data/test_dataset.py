import dataclasses
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.errors import BundleError, InputError
from tests.fitting import SHOP, category, number, schema_of, shop_users
from tests.helpers import write_table
from training.data.dataset import load_dataset

DATED = dataclasses.replace(SHOP, snapshot="day", horizon_days=7)


@pytest.fixture
def users():
    return shop_users(300, seed=1)


def load(frame, tmp_path, schema=SHOP, ending=".parquet"):
    return load_dataset([str(write_table(frame, tmp_path / f"users{ending}"))], schema)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".arrow", ".ndjson"])
def test_fingerprint_does_not_depend_on_the_format(users, tmp_path, ending):
    one, other = load(users, tmp_path), load(users, tmp_path, ending=ending)
    assert one.fingerprint == other.fingerprint
    assert (one.label == other.label).all()


@pytest.mark.parametrize(
    "change",
    [
        pl.col("visits") + 1,
        pl.col("customer") + "x",
        (1 - pl.col("bought")).alias("bought"),
        pl.lit("rome").alias("city"),
    ],
)
def test_fingerprint_changes_with_the_data(users, tmp_path, change):
    assert (
        load(users, tmp_path).fingerprint != load(users.with_columns(change), tmp_path).fingerprint
    )


@pytest.mark.parametrize(
    "label",
    [
        pl.col("bought").cast(pl.Boolean),
        pl.col("bought").cast(pl.Float64),
        pl.when(pl.col("bought") == 1).then(pl.lit("TRUE")).otherwise(pl.lit("FALSE")),
        pl.col("bought").cast(pl.String),
    ],
)
def test_label_is_read_in_every_form(users, tmp_path, label):
    dataset = load(users.with_columns(label.alias("bought")), tmp_path)
    assert dataset.label.dtype == np.int8
    assert dataset.label.tolist() == users["bought"].to_list()


def test_immature_labels_are_refused_with_their_dates(users, tmp_path):
    frame = users.with_columns(
        day=pl.lit("2026-11-22"),
        bought=pl.when(pl.int_range(pl.len()) >= 3).then("bought"),
    )
    with pytest.raises(InputError, match=r"3 rows of 300 without .*2026-11-22.*7 days"):
        load(frame, tmp_path, DATED)


ROW = pl.int_range(pl.len())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bought": 2}, "300 rows of 300 where 'bought' is not 0, 1"),
        ({"bought": -1}, "300 rows of 300 where 'bought' is not 0, 1"),
        ({"bought": 0.5}, "300 rows of 300 where 'bought' is not 0, 1"),
        ({"bought": pl.lit("yes")}, "300 rows of 300 where 'bought' is not 0, 1"),
        ({"bought": 0}, "'bought' is 0 in all 300 rows"),
        ({"bought": 1}, "'bought' is 1 in all 300 rows"),
        ({"bought": pl.lit([1])}, "'bought' expected 0, 1, true or false, found"),
        ({"bought": date(2026, 1, 1)}, "'bought' expected 0, 1, true or false, found"),
        ({"bought": pl.when(ROW >= 3).then("bought")},
         "3 rows of 300 without a value of 'bought'. Leave"),
        ({"visits": -1}, r"no row can be used; .*: visits\|below_min 300\."),
        ({"customer": pl.lit("one")}, r"rows left out: customer\|repeated 299"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_used_is_refused(users, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load(users.with_columns(**change), tmp_path)


def test_a_missing_label_column_is_refused(users, tmp_path):
    with pytest.raises(InputError, match="1 missing column: 'bought'"):
        load(users.drop("bought"), tmp_path)


def test_a_schema_without_label_is_refused(users, tmp_path):
    with pytest.raises(BundleError, match="names no label"):
        load(users, tmp_path, dataclasses.replace(SHOP, label=None))


def test_rows_that_scoring_sets_aside_are_left_out_and_counted(users, tmp_path):
    frame = pl.concat([users, users.head(2)]).with_columns(
        visits=pl.when(pl.int_range(pl.len()) == 5).then(-1).otherwise("visits")
    )
    dataset = load(frame, tmp_path)
    assert dataset.rows == 299
    assert dataset.rejected == {"visits|below_min": 1, "customer|repeated": 2}


def test_a_table_without_rows_is_refused(users, tmp_path):
    with pytest.raises(InputError, match=r"users\.parquet: no row can be used\. Fix"):
        load(users.clear(), tmp_path)


def test_features_that_are_not_used_are_not_read(users, tmp_path):
    assert "internal" not in load(users, tmp_path).typed.columns


def test_a_table_without_keys_has_no_ids_and_dates(users, tmp_path):
    dataset = load(users, tmp_path, schema_of(number("visits"), number("age")))
    assert dataset.ids is None
    assert dataset.snapshots is None
    assert dataset.rows == 300


def test_truth_is_kept_apart_from_the_features(users, tmp_path):
    dataset = load(users.with_columns(true_probability=pl.lit(0.25)), tmp_path)
    assert (dataset.truth == 0.25).all()
    assert "true_probability" not in dataset.typed.columns


@pytest.mark.parametrize(
    "truth",
    [
        pl.when(pl.int_range(pl.len()) > 0).then(0.25),
        pl.when(pl.int_range(pl.len()) > 0).then(0.25).otherwise(float("nan")),
        pl.when(pl.int_range(pl.len()) > 0).then(0.25).otherwise(1.5),
        pl.lit(-0.25),
        pl.lit("unknown"),
        pl.lit([0.25]),
        pl.lit(None),
    ],
    ids=["missing", "nan", "above 1", "below 0", "text", "list", "null"],
)
def test_a_truth_that_is_incomplete_or_no_probability_is_ignored(users, tmp_path, truth):
    dataset = load(users.with_columns(true_probability=truth), tmp_path)
    assert dataset.truth is None
    assert "true_probability" not in dataset.typed.columns


def test_a_truth_that_only_one_file_has_is_ignored(users, tmp_path):
    one = write_table(users.head(100), tmp_path / "one.parquet")
    other = users.tail(200).with_columns(true_probability=pl.lit(0.25))
    dataset = load_dataset([str(one), str(write_table(other, tmp_path / "other.parquet"))], SHOP)
    assert dataset.rows == 300
    assert dataset.truth is None


def with_days(users, day):
    rows = pl.int_range(pl.len())
    return users.with_columns(
        day=pl.when(rows < 2).then(pl.lit(day)).otherwise(pl.lit("2026-11-22"))
    )


@pytest.mark.parametrize("day", ["", None])
def test_rows_without_a_date_are_refused(users, tmp_path, day):
    with pytest.raises(
        InputError, match="2 rows of 300 where 'day' is missing or no date"
    ) as caught:
        load(with_days(users, day), tmp_path, DATED)
    assert caught.value.exit_code == 65


def test_rows_with_an_unreadable_date_are_left_out_as_in_scoring(users, tmp_path):
    dataset = load(with_days(users, "22.11.2026"), tmp_path, DATED)
    assert dataset.rejected == {"day|not_a_date": 2}
    assert dataset.rows == 298


def test_a_date_that_only_one_file_has_is_refused(users, tmp_path):
    one = write_table(users.head(100), tmp_path / "one.parquet")
    other = users.tail(200).with_columns(day=pl.lit("2026-11-22"))
    other = write_table(other, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="100 rows of 300 where 'day' is missing"):
        load_dataset([str(one), str(other)], DATED)


def test_a_table_without_the_snapshot_column_is_undated(users, tmp_path):
    assert load(users, tmp_path, DATED).snapshots is None


def test_features_without_use_are_read_apart(users, tmp_path):
    dataset = load(users, tmp_path)
    assert dataset.unused.columns == ["internal"]
    assert dataset.unused["internal"].dtype == pl.Float32
    assert "internal" not in dataset.typed.columns


def test_features_without_use_set_no_row_aside(users, tmp_path):
    schema = schema_of(
        number("visits"),
        number("internal", use=False, min=0, max=0.1, missing="never"),
        category("city", use=False, missing="never"),
    )
    odd = [float("inf"), None, 5.0, *users["internal"][3:]]
    dataset = load(users.with_columns(internal=pl.Series(odd)), tmp_path, schema)
    assert (dataset.rows, dataset.rejected) == (300, {})
    assert dataset.unused["internal"][:3].to_list() == [None, None, 5.0]
    assert dataset.unused["city"].equals(users["city"])


def test_features_without_use_need_not_be_there(users, tmp_path):
    dataset = load(users.drop("internal"), tmp_path)
    assert (dataset.rows, dataset.unused.columns) == (300, [])


def test_a_feature_without_use_of_an_unreadable_type_is_passed_over(users, tmp_path):
    frame = users.with_columns(internal=pl.lit(date(2026, 1, 1)))
    assert load(frame, tmp_path).unused.columns == []


def test_a_feature_without_use_that_one_file_lacks_is_missing_there(users, tmp_path):
    one = write_table(users.head(100).drop("internal"), tmp_path / "one.parquet")
    other = write_table(users.tail(200), tmp_path / "other.parquet")
    dataset = load_dataset([str(one), str(other)], SHOP)
    assert dataset.unused["internal"].null_count() == 100


def test_unused_values_stand_beside_their_users(users, tmp_path):
    frame = users.with_columns(
        visits=pl.when(pl.int_range(pl.len()) % 3 == 0).then(-1).otherwise("visits")
    )
    dataset = load(frame, tmp_path)
    kept = users.filter(pl.int_range(pl.len()) % 3 != 0)
    assert dataset.rejected == {"visits|below_min": 100}
    assert dataset.unused["internal"].equals(kept["internal"].cast(pl.Float32))


def test_rows_of_one_id_are_one_user(users, tmp_path):
    days = [users.with_columns(day=pl.lit(day)) for day in ("2026-11-15", "2026-11-22")]
    dataset = load(pl.concat(days), tmp_path, DATED)
    assert len(set(dataset.users)) == 300
    assert (dataset.users[:300] == dataset.users[300:]).all()
    alone = load(users, tmp_path, dataclasses.replace(SHOP, id=None))
    assert alone.users.tolist() == list(range(300))
