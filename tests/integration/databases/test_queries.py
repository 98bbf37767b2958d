import json
import signal
import time
from contextlib import chdir
from pathlib import Path

import polars as pl
import pytest

from engine import score
from engine.connectors.databases.queries import Query
from engine.connectors.databases.tables import ScoresTable
from engine.errors import AccessError, InputError, NoInputError
from tests.helpers import BUNDLE, assert_prompt, run
from tests.integration.databases.server import PASSWORD
from tests.integration.databases.shops import (
    ROWS,
    all_users,
    running_sleeps,
    score_users,
    started,
    wait_for,
)


def test_a_table_has_what_a_file_has(shop, users, tmp_path):
    users.head(ROWS).write_parquet(tmp_path / "users.parquet")
    by_file = score([str(tmp_path / "users.parquet")], BUNDLE, tmp_path / "scores.parquet")
    with chdir(tmp_path / "work"):
        by_table = score_users(shop)
    assert by_table.outputs["scores"]["sha256"] == by_file.outputs["scores"]["sha256"]
    expected = pl.read_parquet(tmp_path / "scores.parquet")
    found = shop.read("SELECT * FROM scores", tmp_path)
    assert found.columns == expected.columns
    narrowed = found.with_columns(
        pl.col(name).str.to_date()
        if dtype == pl.Date and found[name].dtype == pl.String
        else pl.col(name).cast(dtype)
        for name, dtype in expected.schema.items()
    )
    assert narrowed.equals(expected)


def test_quarantine_and_summary_are_files_of_the_working_directory(shop, tmp_path):
    query = (
        "SELECT * FROM users UNION ALL SELECT * FROM users WHERE user_id IN "
        "(SELECT min(user_id) FROM users)"
    )
    with chdir(tmp_path / "work"):
        done = score_users(shop, query=query)
        names = sorted(path.name for path in Path().iterdir())
        set_aside = pl.read_parquet("scores.quarantine.parquet")
        summary = json.loads(Path("scores.summary.json").read_bytes())
    assert names == ["scores.lock", "scores.quarantine.parquet", "scores.summary.json"]
    assert done.rows_quarantined == set_aside.height == 1
    assert set_aside["source_file"].to_list() == ["query of SHOP_DATABASE"]
    assert set_aside["source_row"].to_list() == [ROWS + 1]
    place = "public.scores" if shop.database.kind == "postgresql" else "scores"
    assert (summary["out"], summary["published"]) == (f"table {place} of SHOP_DATABASE", True)


def test_users_of_a_file_go_to_a_table_and_of_a_query_to_a_file(shop, users, tmp_path):
    users.head(100).write_parquet(tmp_path / "users.parquet")
    with chdir(tmp_path / "work"):
        score(["../users.parquet"], BUNDLE, ScoresTable("scores", shop.database))
        score([all_users(shop)], BUNDLE, "scores.csv")
        assert pl.read_csv("scores.csv").height == ROWS
    assert shop.read("SELECT count(*) AS n FROM scores", tmp_path).item() == 100


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("SELECT user_id FROM users", InputError, "missing columns"),
        ("SELEKT", InputError, "SHOP_DATABASE: reading failed"),
        ("SELECT nothing FROM users", InputError, "SHOP_DATABASE: reading failed"),
        ("SELECT * FROM nowhere", NoInputError, "no such table"),
        ("DELETE FROM users", (AccessError, InputError), "reading failed"),
        ("SELECT * FROM users WHERE user_id = 'x'", InputError, "no rows|empty|0 rows|wrong type"),
    ],
)
def test_a_query_that_cannot_be_scored(shop, query, error, message, tmp_path):
    with chdir(tmp_path / "work"), pytest.raises(error, match=message) as caught:
        score_users(shop, query=query)
    assert caught.value.__cause__ is None or PASSWORD not in str(caught.value.__cause__)
    assert shop.read("SELECT count(*) AS n FROM users", tmp_path).item() == ROWS


def test_types_that_arrow_does_not_have(postgres, users, tmp_path):
    columns = ", ".join(
        f'"{name}"::numeric' if name == "bounce_rate" else f'"{name}"' for name in users.columns
    )
    with chdir(tmp_path / "work"):
        done = score_users(postgres, query=f"SELECT {columns}, gen_random_uuid() AS u FROM users")
    assert done.rows_scored == ROWS


@pytest.mark.parametrize(
    "arguments",
    [
        ["users.parquet", "--query", "SELECT 1", "--source-env", "X", "--out", "s.parquet"],
        ["--query", "SELECT 1", "--out", "s.parquet"],
        ["users.parquet", "--source-env", "X", "--out", "s.parquet"],
        ["users.parquet", "--out", "s.parquet", "--table", "t", "--target-env", "X"],
        ["users.parquet", "--table", "t"],
        ["users.parquet", "--target-env", "X", "--out", "s.parquet"],
        ["users.parquet"],
        ["--out", "s.parquet"],
    ],
)
def test_options_that_contradict_each_other(arguments, tmp_path):
    done = run("engine", "score", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Error: " in done.stderr


ENDLESS = {
    "postgresql": ["SELECT pg_sleep(60)", "SELECT generate_series(1, 9), pg_sleep(20)"],
    "sqlite": [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
    ],
    "duckdb": [
        "SELECT sum(hash(a.range + b.range)) FROM range(1000000) a, range(100000000) b",
        "SELECT a.range FROM range(1000000) a, range(100000000) b",
    ],
}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_query(shop, number, ending, tmp_path):
    work = tmp_path / "work"
    query = ENDLESS[shop.database.kind][number]
    with started(shop, "--if-exists", "replace", query=query, cwd=work) as process:
        wait_for(lambda: list(work.glob(".scores.staging-*")))
        time.sleep(1)
        process.send_signal(ending)
        began = time.monotonic()
        said = process.communicate(timeout=30)[1]
        assert_prompt(began)
    assert process.returncode == 128 + ending, said
    assert said.count("\n") == 1
    summary = json.loads((work / "scores.summary.json").read_bytes())
    assert (summary["status"], summary["exit_code"]) == ("interrupted", 128 + ending)
    assert sorted(path.name for path in work.iterdir()) == ["scores.summary.json"]
    if shop.database.kind == "postgresql":
        wait_for(lambda: not running_sleeps(shop))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "is empty"),
        (" ;\n", "is empty"),
        ("-- SELECT 1\n/* SELECT 2 */;", "is empty"),
        ("SELECT user_id, user_id FROM users", "1 column more than once: 'user_id'"),
    ],
)
def test_a_query_that_gives_no_table(shop, query, message, tmp_path):
    with pytest.raises(InputError, match=f"query of SHOP_DATABASE: .*{message}"):
        score([Query(query, shop.database)], BUNDLE, tmp_path / "scores.parquet")
