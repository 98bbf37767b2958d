"""Tables of Delta Lake and Iceberg as targets: one commit, or the table as it was."""

from datetime import timedelta

import polars as pl
import pytest

from engine import ScoreOptions
from engine.connectors.lakehouse.scores import LakehouseScores
from engine.errors import (
    CannotCreateError,
    InputError,
    LockedError,
    UsageError,
)
from engine.inputs.lakehouse import lakehouse_table
from tests.integration.lakehouse.tables import DAY, ROWS, files_of, same_bits, score_into, scored


def test_the_rows_of_a_date_are_replaced_and_others_stay(lake, some, expected, tmp_path):
    later = some.with_columns(pl.col("snapshot_date") + timedelta(days=7))
    both = pl.concat([some.head(50), later.head(60)])
    frames = {"first": some, "later": later, "both": both}
    for name, frame in frames.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    for name in ("first", "later"):
        score_into(lake, f"{name}.parquet")
    assert same_bits(lake.rows("scores"), pl.concat([expected, scored(later, tmp_path)]))
    score_into(lake, "later.parquet")
    assert lake.rows("scores").height == 2 * ROWS
    score_into(lake, "both.parquet")
    assert same_bits(lake.rows("scores"), scored(both, tmp_path))


def test_columns_that_come_later_are_null_for_earlier_dates(lake, some, tmp_path):
    some.write_parquet(tmp_path / "first.parquet")
    later = some.with_columns(pl.col("snapshot_date") + timedelta(days=7))
    later.write_parquet(tmp_path / "later.parquet")
    score_into(lake, "first.parquet")
    score_into(lake, "later.parquet", options=ScoreOptions(if_exists="replace", reasons=1))
    score_into(lake, "later.parquet", options=ScoreOptions(if_exists="replace", reasons=2))
    found = lake.rows("scores").group_by("snapshot_date").agg(pl.col("^reason_.$").count())
    assert sorted(found.rows()) == [(DAY, 0, 0), (DAY + timedelta(days=7), ROWS, ROWS)]
    score_into(lake, "first.parquet")
    assert lake.rows("scores").height == 2 * ROWS


def test_an_existing_table_is_kept_or_left_alone(lake, some, tmp_path):
    some.write_parquet(tmp_path / "users.parquet")
    score_into(lake, "users.parquet", options=ScoreOptions())
    with pytest.raises(CannotCreateError, match="exists already"):
        score_into(lake, "users.parquet", options=ScoreOptions())
    skipped = score_into(lake, "users.parquet", options=ScoreOptions(if_exists="skip"))
    assert skipped.status == "skipped"
    assert lake.rows("scores").height == ROWS


def altered(expected):
    """Tables of scores into which scores do not go, by what is said of them."""
    return {
        "not a table of scores": (expected.drop("bundle_id"), ["snapshot_date"]),
        "partitioned by nothing": (expected, []),
        "partitioned by 'bundle_id'": (expected, ["bundle_id"]),
        "of another type: 'action' Int64": (
            expected.with_columns(action=pl.lit(1, pl.Int64)),
            ["snapshot_date"],
        ),
    }


@pytest.mark.parametrize(
    "words",
    [
        "not a table of scores",
        "partitioned by nothing",
        "partitioned by 'bundle_id'",
        "of another type: 'action' Int64",
    ],
)
def test_a_table_that_scores_do_not_fit_is_left_alone(lake, some, expected, tmp_path, words):
    frame, partitions = altered(expected)[words]
    lake.write("scores", frame, partition_by=partitions)
    before = lake.read(lake.named("scores"))
    some.write_parquet(tmp_path / "users.parquet")
    with pytest.raises(CannotCreateError, match=words):
        score_into(lake, "users.parquet")
    assert lake.read(lake.named("scores"))[0] == before[0]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda table: table.alter.add_constraint({"known": "bundle_id <> 'x'"}), "constraints"),
        (
            lambda table: table.alter.set_table_properties({"delta.appendOnly": "true"}),
            "appendOnly",
        ),
    ],
)
def test_a_table_that_asks_more_of_a_writer_is_left_alone(delta, some, tmp_path, made, words):
    some.write_parquet(tmp_path / "users.parquet")
    score_into(delta, "users.parquet")
    made(delta.own("scores"))
    with pytest.raises(CannotCreateError, match=f"asks more of a writer.*{words}"):
        score_into(delta, "users.parquet")


def test_what_is_no_table_of_delta_is_not_written_into(delta, some, tmp_path):
    some.write_parquet(tmp_path / "users.parquet")
    (delta.folder / "scores").mkdir()
    (delta.folder / "scores" / "notes.txt").touch()
    with pytest.raises(CannotCreateError, match="exists and is not a table of Delta Lake"):
        score_into(delta, "users.parquet")
    with pytest.raises(UsageError, match="a version is read, never written"):
        LakehouseScores(lakehouse_table("delta:lake/scores@v3"))


@pytest.mark.parametrize("is_new", [True, False])
def test_of_two_commits_at_the_same_time_the_second_is_refused(
    lake, some, expected, tmp_path, is_new
):
    some.write_parquet(tmp_path / "users.parquet")
    if not is_new:
        score_into(lake, "users.parquet")
    staged = tmp_path / "staged.parquet"
    expected.write_parquet(staged)
    later = tmp_path / "later" / "staged.parquet"
    later.parent.mkdir()
    expected.write_parquet(later)
    with (
        pytest.raises(LockedError, match="another job committed"),
        lake.target().loaded(staged, replace=True) as first,
        lake.target().loaded(later, replace=True) as second,
    ):
        first()
        second()
    assert same_bits(lake.rows("scores"), expected)
    assert len(files_of(lake)) == 2 - is_new
    assert LockedError.exit_code == 75


def test_a_run_that_fails_leaves_the_old_version_and_no_file(lake, some, tmp_path):
    some.write_parquet(tmp_path / "users.parquet")
    score_into(lake, "users.parquet")
    before, files = lake.read(lake.named("scores")), files_of(lake)
    twice = pl.concat([some, some])
    twice.write_parquet(tmp_path / "users.parquet")
    with pytest.raises(InputError, match="cannot be scored"):
        score_into(lake, "users.parquet")
    with (
        pytest.raises(RuntimeError),
        lake.target().loaded(
            tmp_path / "plain_scores.parquet" if False else _staged(lake, tmp_path), replace=True
        ),
    ):
        raise RuntimeError
    assert files_of(lake) == files
    after = lake.read(lake.named("scores"))
    assert (after[0], after[1].equals(before[1])) == (before[0], True)


def _staged(lake, tmp_path):
    lake.read(lake.named("scores"))[1].write_parquet(tmp_path / "staged.parquet")
    return tmp_path / "staged.parquet"


def test_rows_without_a_date_are_refused(lake, some, tmp_path):
    day = pl.when(pl.int_range(ROWS) > 3).then("snapshot_date").alias("snapshot_date")
    some.with_columns(day).write_parquet(tmp_path / "users.parquet")
    with pytest.raises(InputError, match="4 scored rows without 'snapshot_date'"):
        score_into(lake, "users.parquet")


def test_without_dates_all_rows_are_replaced(lake, some, tmp_path):
    some.drop("snapshot_date").write_parquet(tmp_path / "users.parquet")
    some.head(9).drop("snapshot_date").write_parquet(tmp_path / "few.parquet")
    for name, rows in (("users", ROWS), ("few", 9)):
        score_into(lake, f"{name}.parquet")
        assert lake.rows("scores").height == rows
