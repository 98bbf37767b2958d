from pathlib import Path

import polars as pl
import pytest

from engine import score
from engine.errors import InputError, NoInputError, UsageError
from engine.inputs.open import open_inputs
from tests.helpers import BUNDLE, write_table

ROWS = 300


@pytest.fixture
def dataset(users, tmp_path):
    """Two days of users, each in a folder that tells the day, and marks of a writer."""
    folder = tmp_path / "users"
    for day, first in (("2026-11-22", 0), ("2026-11-15", ROWS)):
        partition = folder / f"snapshot_date={day}"
        partition.mkdir(parents=True)
        users[first : first + ROWS].drop("snapshot_date").write_parquet(partition / "0.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "_temporary=1").mkdir()
    (folder / "_temporary=1" / "part.parquet").write_text("half a file")
    return folder


def whole(users):
    day = pl.when(pl.int_range(pl.len()) < ROWS).then(pl.date(2026, 11, 15))
    parts = pl.concat([users[ROWS : 2 * ROWS], users[:ROWS]])
    return parts.with_columns(snapshot_date=day.otherwise(pl.date(2026, 11, 22)))


def test_partitions_are_read_as_one_table_in_the_order_of_their_names(users, dataset, tmp_path):
    whole(users).write_parquet(tmp_path / "whole.parquet")
    by_file = score([str(tmp_path / "whole.parquet")], BUNDLE, tmp_path / "by_file.parquet")
    by_folder = score([str(dataset)], BUNDLE, tmp_path / "by_folder.parquet")
    assert by_folder.outputs["scores"]["sha256"] == by_file.outputs["scores"]["sha256"]


def test_nested_partitions(users, dataset, tmp_path):
    for partition in list(dataset.glob("snapshot_date=*")):
        (partition / "region=n%C3%B8rd%20%3D").mkdir()
        (partition / "0.parquet").rename(partition / "region=n%C3%B8rd%20%3D" / "0.parquet")
    bad = dataset / "snapshot_date=2026-11-15" / "region=n%C3%B8rd%20%3D" / "0.parquet"
    pl.read_parquet(bad).with_columns(
        user_id=pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise("user_id")
    ).write_parquet(bad)
    score([str(dataset)], BUNDLE, tmp_path / "scores.parquet")
    set_aside = pl.read_parquet(tmp_path / "scores.parquet.quarantine.parquet")
    assert set_aside.select("region", "snapshot_date", "source_file").row(0) == (
        "nørd =",
        "2026-11-15",
        str(bad),
    )


def test_a_file_that_is_named_needs_its_own_columns(users, dataset, tmp_path):
    one = next(dataset.glob("*=2026-11-22/*.parquet"))
    done = score([str(one)], BUNDLE, tmp_path / "scores.parquet")
    assert "snapshot_date" not in pl.read_parquet_schema(tmp_path / "scores.parquet")
    assert done.rows_scored == ROWS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0.parquet", r"0\.parquet: 1 column both in the file and in the names"),
        ("1.csv", r"1\.csv: csv in a partition"),
    ],
)
def test_a_file_that_does_not_fit_its_partition(users, dataset, tmp_path, name, message):
    write_table(users.head(ROWS), dataset / "snapshot_date=2026-11-22" / name)
    with pytest.raises(InputError, match=message):
        score([str(dataset)], BUNDLE, tmp_path / "scores.parquet")


def test_a_partition_without_a_value(users, dataset, tmp_path):
    day = dataset / "snapshot_date=2026-11-22"
    day.rename(dataset / "snapshot_date=__HIVE_DEFAULT_PARTITION__")
    score([str(dataset)], BUNDLE, tmp_path / "scores.parquet")
    days = pl.read_parquet(tmp_path / "scores.parquet", columns=["snapshot_date"]).to_series()
    assert (days.len(), days.null_count(), days.n_unique()) == (2 * ROWS, ROWS, 2)


def test_a_day_that_is_none(dataset, tmp_path):
    (dataset / "snapshot_date=2026-11-22").rename(dataset / "snapshot_date=yesterday")
    with pytest.raises(InputError, match="snapshot_date"):
        score([str(dataset)], BUNDLE, tmp_path / "scores.parquet")


def test_scores_do_not_go_into_a_partition_of_the_input(dataset):
    out = dataset / "snapshot_date=2026-11-22" / "scores.parquet"
    with pytest.raises(UsageError, match="lies in a directory that is an input"):
        score([str(dataset)], BUNDLE, out)
    assert not Path(out).exists()


def test_other_folders_are_no_partitions(users, dataset, tmp_path):
    (tmp_path / "above").mkdir()
    dataset.rename(tmp_path / "above" / "users")
    with pytest.raises(NoInputError, match="a directory without files to read"):
        score([str(tmp_path / "above")], BUNDLE, tmp_path / "scores.parquet")


def test_a_folder_that_is_no_partition_is_passed_over_with_a_word(users, tmp_path, caplog):
    for folder in ("sub", "_hidden", ".hidden"):
        (tmp_path / folder).mkdir()
        users[:3].write_parquet(tmp_path / folder / "0.parquet")
    users[3:5].write_parquet(tmp_path / "1.parquet")
    with open_inputs([str(tmp_path)]) as tables:
        assert [table.rows for table in tables] == [2]
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [f"{tmp_path}/sub"]


def test_folders_that_lead_nowhere_new_are_refused(users, tmp_path):
    users[:3].write_parquet(tmp_path / "1.parquet")
    (tmp_path / "a=1").mkdir()
    (tmp_path / "a=1" / "b=1").symlink_to(tmp_path)
    with (
        pytest.raises(NoInputError, match="b=1: a link to a folder above it"),
        open_inputs([str(tmp_path)]),
    ):
        pass


def test_a_column_twice_in_the_folders_is_refused(users, tmp_path):
    folder = tmp_path / "country=DE" / "country=FR"
    folder.mkdir(parents=True)
    users[:3].drop("country").write_parquet(folder / "1.parquet")
    with (
        pytest.raises(InputError, match="'country' twice in the names of its folders"),
        open_inputs([str(tmp_path)]),
    ):
        pass
