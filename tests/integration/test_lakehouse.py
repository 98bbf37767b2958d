"""Tables of Delta Lake and Iceberg as sources and targets of a run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import date, timedelta

import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.connectors.lakehouse.scores import LakehouseScores
from engine.errors import (
    BundleError,
    CannotCreateError,
    InputError,
    LockedError,
    NoInputError,
    UnavailableError,
    UsageError,
)
from engine.inputs import lakehouse as reading
from engine.inputs.lakehouse import lakehouse_table
from tests.helpers import BUNDLE, invoke
from tests.integration.lakehouses import FORMATS, delete_by_position, delete_by_vector, lakehouse
from training.simulate import SimulateOptions, simulate

ROWS = 600
REPLACE = ScoreOptions(if_exists="replace")
DAY = date(2026, 11, 22)
RUN = "from engine.cli.entry import main; main()"


@pytest.fixture(params=FORMATS)
def lake(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lakehouse(request.param, tmp_path / "lake", monkeypatch)


@pytest.fixture
def delta(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lakehouse("delta", tmp_path / "lake", monkeypatch)


@pytest.fixture(scope="module")
def some(users):
    return users.head(ROWS)


@pytest.fixture(scope="module")
def expected(some, tmp_path_factory):
    return scored(some, tmp_path_factory.mktemp("plain"))


def scored(frame, folder):
    """The scores of the same rows, from Parquet to Parquet."""
    frame.write_parquet(folder / "plain.parquet")
    score([str(folder / "plain.parquet")], BUNDLE, folder / "plain_scores.parquet", REPLACE)
    return pl.read_parquet(folder / "plain_scores.parquet")


def score_into(lake, *inputs, options=REPLACE):
    return score(list(inputs), BUNDLE, lake.target(), options)


def same_bits(found, expected):
    """Whether rows are the same to the last bit, in any order; Iceberg has no small integers."""
    typed = found.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
    keys = ["user_id", "snapshot_date"]
    return typed.sort(keys).equals(expected.sort(keys))


def files_of(lake):
    """Data files of the table of scores, whether a version holds them or not."""
    return sorted((lake.folder).rglob("part-*.parquet"))


def test_scores_are_those_of_the_same_rows_from_parquet(lake, some, expected):
    lake.write("users", some)
    for _ in range(2):
        done = score_into(lake, lake.named("users"))
    name, found = lake.read(lake.named("scores"))
    assert found.columns == expected.columns
    assert same_bits(found, expected)
    assert same_bits(lake.rows("scores"), expected)
    assert (done.inputs, done.out) == ((lake.read(lake.named("users"))[0],), name)
    assert "@v" in done.inputs[0]
    summary = json.loads(
        lake.target().path.with_name(f"{lake.target().path.name}.summary.json").read_text()
    )
    assert summary["outputs"]["scores"]["path"] == summary["out"] == name


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


def test_overwritten_and_deleted_rows_are_not_scored(lake, some, tmp_path):
    lake.write("users", some.head(100))
    lake.write("users", some.tail(300), mode="overwrite")
    gone = some.tail(300)["user_id"][7]
    lake.delete("users", f"user_id = '{gone}'")
    done = score_into(lake, lake.named("users"))
    assert done.rows_read == 299
    left = some.tail(300).filter(pl.col("user_id") != gone)
    assert same_bits(lake.rows("scores"), scored(left, tmp_path))


def test_an_earlier_version_is_read_by_its_number(lake, some):
    lake.write("users", some.head(100))
    first, _ = lake.read(lake.named("users"))
    lake.write("users", some.tail(300), mode="overwrite")
    done = score_into(lake, first)
    assert (done.rows_read, done.inputs) == (100, (first,))
    with pytest.raises(NoInputError, match="no such (version|snapshot)"):
        score_into(lake, f"{lake.named('users')}@v99")


def test_columns_of_a_table_that_were_added_later_are_null_in_older_rows(lake, some, tmp_path):
    column = "email_open_rate"
    lake.write("users", some.head(100).drop(column))
    lake.write("users", some[100:200].with_columns(campaign=pl.lit("x")))
    score_into(lake, lake.named("users"))
    missing = some.head(200).with_columns(
        pl.when(pl.int_range(200) >= 100).then(column).alias(column)
    )
    assert same_bits(lake.rows("scores"), scored(missing, tmp_path))


def test_partitions_of_a_table(lake, some, expected):
    lake.write("users", some, partition_by=["snapshot_date", "country"])
    score_into(lake, lake.named("users"))
    assert same_bits(lake.rows("scores"), expected)


def test_partitions_that_the_names_of_folders_encode_or_do_not_have(delta, some, tmp_path):
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, create_table_with_add_actions

    odd = some.with_columns(
        country=pl.Series(["a/b = 100%", None, "é"] * (ROWS // 3), dtype=pl.String)
    )
    delta.write("users", odd, partition_by=["country"])
    score_into(delta, delta.named("users"))
    expected = scored(odd, tmp_path)
    assert same_bits(delta.rows("scores"), expected)
    # The log alone says what the values of partitions are.
    flat = delta.folder / "flat"
    flat.mkdir()
    actions = []
    for n, ((country,), rows) in enumerate(odd.group_by("country")):
        rows.drop("country").write_parquet(flat / f"{n}.parquet")
        size = (flat / f"{n}.parquet").stat().st_size
        actions.append(AddAction(f"{n}.parquet", size, {"country": country}, 0, True, "{}"))
    schema = DeltaTable(str(delta.folder / "users")).schema()
    create_table_with_add_actions(str(flat), schema, actions, partition_by=["country"])
    score_into(delta, str(flat))
    assert same_bits(delta.rows("scores"), expected)


def test_deletion_vectors_of_delta_are_respected(delta, some, tmp_path):
    delta.write("users", some)
    (file,) = (delta.folder / "users").glob("*.parquet")
    delete_by_vector(delta.folder / "users", file.name, ROWS, [0, 3, ROWS - 1])
    delta.write("users", some.head(4).with_columns(pl.col("user_id") + "x"))
    done = score_into(delta, str(delta.folder / "users"))
    assert done.rows_read == ROWS + 1
    order = pl.read_parquet(file).with_row_index().filter(~pl.col("index").is_in([0, 3, ROWS - 1]))
    kept = {*order["user_id"], *(some["user_id"].head(4) + "x")}
    assert set(delta.rows("scores")["user_id"]) == kept


def test_positional_deletes_of_iceberg_are_respected(tmp_path, monkeypatch, some):
    monkeypatch.chdir(tmp_path)
    iceberg = lakehouse("iceberg", tmp_path / "lake", monkeypatch)
    iceberg.write("users", some)
    delete_by_position(iceberg.own("users"), [0, 3, ROWS - 1], monkeypatch)
    assert score_into(iceberg, iceberg.named("users")).rows_read == ROWS - 3
    left = some.with_row_index().filter(~pl.col("index").is_in([0, 3, ROWS - 1])).drop("index")
    assert same_bits(iceberg.rows("scores"), scored(left, tmp_path))


def test_a_feature_that_is_not_read_is_refused(delta, some):
    delta.write("users", some)
    log = delta.folder / "users" / "_delta_log" / f"{1:020}.json"
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
    features = {"readerFeatures": ["columnMapping"], "writerFeatures": ["columnMapping"]}
    lines = (log.parent / f"{0:020}.json").read_text().splitlines()
    (metadata,) = (json.loads(line)["metaData"] for line in lines if "metaData" in line)
    metadata["configuration"] = {"delta.columnMapping.mode": "name"}
    actions = [{"protocol": protocol | features}, {"metaData": metadata}]
    log.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(InputError, match="columnMapping"):
        score_into(delta, str(delta.folder / "users"))


def test_other_commands_read_tables(lake, some):
    lake.write("users", some)
    done = invoke("validate", lake.named("users"), "--bundle", BUNDLE, "--json")
    assert json.loads(done.stdout)["rows_read"] == ROWS
    score_into(lake, lake.named("users"))
    done = invoke("audience", lake.named("scores"), "--out", "list.csv", "--top", 10)
    assert done.exit_code == 0, done.output
    assert pl.read_csv("list.csv").height == 10


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


def test_without_the_extra_a_table_is_refused_in_words(lake, some, monkeypatch):
    lake.write("users", some)
    monkeypatch.setattr(reading, "find_spec", lambda _: None)
    extra = rf"pip install 'shopnow-scoring\[{lake.format}\]'"
    text = lake.named("users") if lake.format == "iceberg" else str(lake.folder / "users")
    with pytest.raises(UnavailableError, match=extra):
        score([text], BUNDLE, "scores.parquet")
    with pytest.raises(UnavailableError, match=extra):
        score([text], BUNDLE, lake.target())


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("iceberg:users", InputError, "Give iceberg:CATALOG.NAMESPACE.TABLE"),
        ("iceberg:lake.shop.nobody", NoInputError, "no such table"),
        ("iceberg:elsewhere.shop.users", BundleError, "PYICEBERG_CATALOG__ELSEWHERE__URI"),
        ("delta:nowhere", NoInputError, "no such table"),
    ],
)
def test_tables_that_are_not_there(text, kind, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lakehouse("iceberg", tmp_path / "lake", monkeypatch)
    with pytest.raises(kind, match=words):
        score([text], BUNDLE, "scores.parquet")


def test_a_namespace_that_is_not_there(tmp_path, monkeypatch, some, caplog):
    monkeypatch.chdir(tmp_path)
    lakehouse("iceberg", tmp_path / "lake", monkeypatch)
    some.write_parquet("users.parquet")
    done = invoke("score", "users.parquet", "--out", "iceberg:lake.no.scores", "--bundle", BUNDLE)
    assert (done.exit_code, "namespace does not exist" in caplog.text) == (73, True)


def test_the_folder_of_an_iceberg_table_is_refused_in_words(tmp_path, monkeypatch, some):
    monkeypatch.chdir(tmp_path)
    lake = lakehouse("iceberg", tmp_path / "lake", monkeypatch)
    lake.write("users", some)
    (folder,) = (tmp_path / "lake" / "warehouse").rglob("users")
    with pytest.raises(InputError, match="Give iceberg:CATALOG.NAMESPACE.TABLE"):
        score([str(folder)], BUNDLE, "scores.parquet")


KILLED = """
import os, signal, sys
import engine.connectors.lakehouse.files as files
import engine.connectors.lakehouse.scores as scores
import engine.outputs.sink as sink
from engine.cli.entry import main

def killed(function, chosen, taken=[0]):
    def step(*arguments, **named):
        taken[0] += 1
        if taken[0] == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return step

chosen = int(sys.argv.pop(1))
files.sync_path = killed(files.sync_path, chosen)
sink._sync_folders = killed(sink._sync_folders, chosen)
scores.LakehouseScores._commit = killed(scores.LakehouseScores._commit, chosen)
sink.Sink._end_publishing = killed(sink.Sink._end_publishing, chosen)
main()
"""
# The file is complete, reports are in place, the commit; the summary follows.
STEPS_BEFORE_COMMIT = 3


def run_options(lake):
    return [
        *("score", "users.parquet", "--out", lake.named("scores"), "--bundle", str(BUNDLE)),
        *("--if-exists", "replace", "--quiet"),
    ]


@pytest.mark.parametrize("step", [1, STEPS_BEFORE_COMMIT, STEPS_BEFORE_COMMIT + 1])
def test_a_killed_run_leaves_the_old_version_or_the_new_one(lake, some, tmp_path, step):
    some.head(9).write_parquet(tmp_path / "users.parquet")
    score_into(lake, "users.parquet")
    before, _ = lake.read(lake.named("scores"))
    some.write_parquet(tmp_path / "users.parquet")
    command = [sys.executable, "-c", KILLED, str(step), *run_options(lake)]
    done = subprocess.run(command, env={**os.environ, **lake.env}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    name, found = lake.read(lake.named("scores"))
    is_old = step <= STEPS_BEFORE_COMMIT
    assert (name == before, found.height) == (is_old, 9 if is_old else ROWS)
    score_into(lake, "users.parquet")
    assert lake.rows("scores").height == ROWS


def test_a_killed_run_leaves_no_part_of_a_new_table(lake, some, tmp_path):
    some.write_parquet(tmp_path / "users.parquet")
    command = [sys.executable, "-c", KILLED, str(STEPS_BEFORE_COMMIT), *run_options(lake)]
    done = subprocess.run(command, env={**os.environ, **lake.env}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not lake.target().exists()
    score_into(lake, "users.parquet", options=ScoreOptions())
    assert lake.rows("scores").height == ROWS


@pytest.mark.slow
def test_240_000_users_killed_at_20_moments(lake, tmp_path, record_property):
    """Each run is killed at any time; what is there is the old version or the new one, whole."""
    users = pl.concat(simulate(SimulateOptions(rows=240_000, seed=8, label=False)))
    users.write_parquet(tmp_path / "users.parquet")
    score_into(lake, "users.parquet")
    expected = lake.rows("scores").sort("user_id")
    command = [sys.executable, "-c", RUN, *run_options(lake)]
    began = time.monotonic()
    subprocess.run(command, env={**os.environ, **lake.env}, check=True)
    took = time.monotonic() - began
    draw = random.Random(20)
    kept = 0
    for _ in range(20):
        before, _ = lake.read(lake.named("scores"))
        process = subprocess.Popen(command, env={**os.environ, **lake.env})
        time.sleep(took * draw.uniform(0.05, 1))
        process.kill()
        process.wait()
        record_property("killed while a table is written", 1)
        kept += lake.read(lake.named("scores"))[0] == before
        assert lake.rows("scores").sort("user_id").equals(expected)
    assert kept >= 10
    score_into(lake, "users.parquet")
    assert lake.rows("scores").sort("user_id").equals(expected)
