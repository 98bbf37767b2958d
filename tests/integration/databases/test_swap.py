"""What a table of scores has besides its rows when a new one replaces it."""

import json
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from engine import score
from engine.connectors.databases.tables import ScoresTable
from engine.errors import CannotCreateError
from tests.helpers import BUNDLE
from tests.integration.databases.server import store
from tests.integration.databases.shops import (
    REPLACE,
    ROWS,
    make,
    score_users,
)

SCORES = '"purchase_probability" real, "bundle_id" text'
OTHERS = {
    "row-level security": ["ALTER TABLE scores ENABLE ROW LEVEL SECURITY"],
    "row-level security (a policy)": ["CREATE POLICY p ON scores USING (true)"],
    "a publication": ["CREATE PUBLICATION nightly FOR TABLE scores"],
    "a replica identity": ["ALTER TABLE scores REPLICA IDENTITY FULL"],
    "triggers": [
        "CREATE FUNCTION said() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER t AFTER INSERT ON scores EXECUTE FUNCTION said()",
    ],
    "rules": ["CREATE RULE r AS ON DELETE TO scores DO INSTEAD NOTHING"],
    "inheritance": ["CREATE TABLE child () INHERITS (scores)"],
    "foreign keys": [
        "ALTER TABLE scores ADD COLUMN k int UNIQUE",
        "CREATE TABLE child (k int REFERENCES scores (k))",
    ],
    "views": ["CREATE VIEW seen AS SELECT bundle_id FROM scores"],
    "views (materialized)": ["CREATE MATERIALIZED VIEW stored AS SELECT bundle_id FROM scores"],
}


@pytest.fixture
def cleared(postgres):
    """A database in which a test may leave anything."""
    yield postgres
    for sql in (
        "DROP PUBLICATION IF EXISTS nightly",
        "DROP TABLE IF EXISTS scores, child, parent CASCADE",
        "DROP FUNCTION IF EXISTS said",
        "DROP SCHEMA IF EXISTS scorer CASCADE",
    ):
        make(postgres, sql)


def refused_before_a_row_is_read(shop, tmp_path, what):
    with chdir(tmp_path / "work"), pytest.raises(CannotCreateError, match=what):
        score_users(shop, query="SELECT 1 / 0 AS never_read")


@pytest.mark.parametrize("what", OTHERS)
def test_a_table_is_not_replaced_if_it_would_lose_something_t01(cleared, what, tmp_path):
    make(cleared, f"CREATE TABLE scores ({SCORES})")
    for sql in OTHERS[what]:
        make(cleared, sql)
    refused_before_a_row_is_read(cleared, tmp_path, f"has .*{what.partition(' (')[0]}")


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ([f"CREATE TABLE scores ({SCORES}) PARTITION BY LIST (bundle_id)"], "partitions"),
        (
            [
                f"CREATE TABLE parent ({SCORES}) PARTITION BY LIST (bundle_id)",
                "CREATE TABLE scores PARTITION OF parent DEFAULT",
            ],
            "a place among the partitions",
        ),
        (
            [f"CREATE TABLE parent ({SCORES})", "CREATE TABLE scores () INHERITS (parent)"],
            "inheritance",
        ),
    ],
)
def test_a_table_that_belongs_to_others_is_not_replaced_t01(cleared, made, what, tmp_path):
    for sql in made:
        make(cleared, sql)
    refused_before_a_row_is_read(cleared, tmp_path, f"has {what}")


def test_triggers_of_sqlite_are_not_lost_t01(users, tmp_path):
    shop = store(f"sqlite:///{tmp_path}/shop.db")
    shop.fill("users", users.head(10), tmp_path)
    (tmp_path / "work").mkdir()
    make(shop, f"CREATE TABLE scores ({SCORES})")
    make(shop, "CREATE TRIGGER t AFTER INSERT ON scores BEGIN SELECT 1; END")
    refused_before_a_row_is_read(shop, tmp_path, "has triggers")


def test_foreign_keys_of_duckdb_are_not_broken_t01(users, tmp_path):
    shop = store(f"duckdb:///{tmp_path}/shop.db")
    shop.fill("users", users.head(10), tmp_path)
    (tmp_path / "work").mkdir()
    make(shop, f"CREATE TABLE scores ({SCORES}, k INTEGER PRIMARY KEY)")
    make(shop, "CREATE TABLE child (k INTEGER REFERENCES scores (k))")
    refused_before_a_row_is_read(shop, tmp_path, "has foreign keys")


def test_what_comes_during_the_run_is_not_lost_t01(cleared, users, tmp_path):
    users.head(5).write_parquet(tmp_path / "users.parquet")
    make(cleared, f"CREATE TABLE scores ({SCORES})")
    make(cleared, "CREATE VIEW seen AS SELECT bundle_id FROM scores")
    table = ScoresTable("scores", cleared.database)
    with (
        pytest.raises(CannotCreateError, match="views that depend on it"),
        table.loaded(tmp_path / "users.parquet", replace=True),
    ):
        pass


def test_owner_grants_and_comments_go_to_the_new_table_t02(cleared, tmp_path):
    for role in ("reader", "keeper", "taker"):
        make(cleared, f"DO 'BEGIN CREATE ROLE \"{role}\"; EXCEPTION WHEN OTHERS THEN END'")
    with chdir(tmp_path / "work"):
        score_users(cleared)
        for sql in (
            "GRANT SELECT ON scores TO PUBLIC",
            "GRANT UPDATE, DELETE ON scores TO reader WITH GRANT OPTION",
            'GRANT UPDATE ("action") ON scores TO taker',
            "COMMENT ON TABLE scores IS 'it''s nightly'",
            "COMMENT ON COLUMN scores.action IS $$what to do$$",
            "ALTER TABLE scores OWNER TO keeper",
        ):
            make(cleared, sql)
        before = kept(cleared, tmp_path)
        score_users(cleared)
    assert kept(cleared, tmp_path) == before
    assert before["owner"] == ["keeper"]
    assert "reader=w*d*/keeper" in before["grants"][0]
    assert before["comment"] == ["it's nightly"]


def kept(shop, folder):
    sql = (
        "SELECT relowner::regrole::text AS owner, (SELECT string_agg(a::text, ',' ORDER BY a::text) "
        "FROM unnest(relacl) AS a) AS grants, obj_description(oid, 'pg_class') AS comment, "
        "(SELECT string_agg(attname || attacl::text, ',') FROM pg_attribute "
        "WHERE attrelid = c.oid AND attacl IS NOT NULL) AS columns, "
        "(SELECT string_agg(col_description(c.oid, attnum), ',') FROM pg_attribute "
        "WHERE attrelid = c.oid) AS said FROM pg_class AS c WHERE oid = 'scores'::regclass"
    )
    return shop.read(sql, folder).to_dict(as_series=False)


@pytest.mark.parametrize("path", ["public", '"$user", public', "scorer, public"])
def test_every_statement_names_the_schema_that_was_found_t03(cleared, path, tmp_path):
    make(cleared, "CREATE SCHEMA scorer")
    elsewhere = path == "public"
    make(cleared, f"CREATE TABLE {'scorer' if elsewhere else 'public'}.scores ({SCORES})")
    # Other tests leave tables of other names.
    others = "SELECT count(*) AS n FROM pg_tables WHERE tablename LIKE 'scores%'"
    before = cleared.read(others, tmp_path).item()
    option = path.replace(" ", "").replace('"', "%22").replace("$", "%24").replace(",", "%2C")
    shop = store(f"{cleared.database.uri}?options=-csearch_path%3D{option}")
    with chdir(tmp_path / "work"):
        score_users(shop)
        summary = json.loads(Path("scores.summary.json").read_bytes())
    assert summary["out"] == "table public.scores of SHOP_DATABASE"
    assert shop.read("SELECT count(*) AS n FROM public.scores", tmp_path).item() == ROWS
    assert shop.read(others, tmp_path).item() == before + elsewhere


def test_a_new_table_goes_to_the_current_schema_t03(cleared, tmp_path):
    make(cleared, "CREATE SCHEMA scorer")
    shop = store(f"{cleared.database.uri}?options=-csearch_path%3Dscorer%2Cpublic")
    with chdir(tmp_path / "work"):
        for _ in range(2):
            assert score_users(shop).out == "table scorer.scores of SHOP_DATABASE"
    assert shop.read("SELECT count(*) AS n FROM scorer.scores", tmp_path).item() == ROWS


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_a_schema_that_is_not_there_is_told_before_scoring_t04(kind, request, users, tmp_path):
    if kind == "postgresql":
        shop = request.getfixturevalue("postgres")
    else:
        (tmp_path / "work").mkdir()
        shop = store(f"duckdb:///{tmp_path}/shop.db")
    table = ScoresTable("nowhere.scores", shop.database)
    for _ in range(2):
        with (
            chdir(tmp_path / "work"),
            pytest.raises(CannotCreateError, match="schema does not exist"),
        ):
            score([never_read()], BUNDLE, table, REPLACE)
        if kind == "duckdb":
            shop.fill("users", users.head(1), tmp_path)


def test_a_search_path_that_leads_nowhere_t04(postgres, tmp_path):
    shop = store(f"{postgres.database.uri}?options=-csearch_path%3Dnowhere")
    with chdir(tmp_path / "work"), pytest.raises(CannotCreateError, match="schema does not exist"):
        score([never_read()], BUNDLE, ScoresTable("scores", shop.database))


def never_read():
    """Users whose reading fails the test."""
    return SimpleNamespace(name="never", fetch=lambda *_, **__: pytest.fail("the input was read"))


def test_an_id_with_nul_is_set_aside_where_the_table_cannot_hold_it_t05(shop, users, tmp_path):
    odd = users.head(300).with_columns(
        user_id=pl.when(pl.int_range(300) == 7).then(pl.lit("a\0b")).otherwise("user_id")
    )
    odd.write_parquet(tmp_path / "odd.parquet")
    with chdir(tmp_path / "work"):
        table = ScoresTable("scores", shop.database)
        done = score(["../odd.parquet"], BUNDLE, table, REPLACE)
        aside = done.rows_quarantined
        if shop.database.kind == "postgresql":
            found = pl.read_parquet("scores.quarantine.parquet")
            assert found["reasons"].to_list() == ["user_id|nul_character"]
    ids = shop.read("SELECT * FROM scores", tmp_path)["user_id"].to_list()
    assert aside == (1 if shop.database.kind == "postgresql" else 0)
    assert ids == [i for i in odd["user_id"] if not (aside and "\0" in i)]
