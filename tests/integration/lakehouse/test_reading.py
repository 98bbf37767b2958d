"""Tables of Delta Lake and Iceberg as inputs: the rows of a version, and no others."""

import json

import polars as pl
import pytest

from engine import score
from engine.errors import (
    BundleError,
    InputError,
    NoInputError,
    UnavailableError,
)
from engine.inputs import lakehouse as reading
from tests.helpers import BUNDLE, invoke
from tests.integration.lakehouse.tables import (
    ROWS,
    delete_by_position,
    delete_by_vector,
    lakehouse,
    same_bits,
    score_into,
    scored,
)


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
