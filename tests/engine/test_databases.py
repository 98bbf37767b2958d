import json
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.databases import Database, Query, connected, execute
from engine.errors import (
    AccessError,
    BundleError,
    CannotCreateError,
    InputError,
    NoInputError,
    UnavailableError,
    UsageError,
)
from engine.tables import ScoresTable
from tests.databases import (
    ENCODED_PASSWORD,
    PASSWORD,
    postgres_or_skip,
    store,
)
from tests.helpers import BUNDLE, run

ROWS = 1_500
KINDS = ["postgresql", "sqlite", "duckdb"]
REPLACE = ScoreOptions(if_exists="replace")
KILLED = """
import os, signal, sys
import engine.tables as tables
from engine.entry import main

def killed(function, chosen, taken=[0]):
    def step(*arguments, **named):
        taken[0] += 1
        if taken[0] == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return step

tables.LOADED_ROWS = 500
chosen = int(sys.argv.pop(1))
for name in ("_ingest", "commit", "close"):
    setattr(tables.TableSwap, name, killed(getattr(tables.TableSwap, name), chosen))
tables.execute = killed(tables.execute, chosen)
main()
"""
# Three loads, the old table dropped, the new one renamed, the commit; then the connection ends.
STEPS_BEFORE_COMMIT = 6


@pytest.fixture(scope="session")
def postgres_uri():
    with postgres_or_skip() as uri:
        yield uri


@pytest.fixture(params=KINDS)
def shop(request, users, tmp_path):
    """A database with a table of users; the working directory is empty."""
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgres_uri")
    else:
        uri = f"{request.param}:///{tmp_path}/shop.db"
    return filled(uri, users, tmp_path)


@pytest.fixture
def postgres(postgres_uri, users, tmp_path):
    return filled(postgres_uri, users, tmp_path)


def filled(uri, users, folder):
    shop = store(uri)
    shop.fill("users", users.head(ROWS), folder)
    with connected(shop.database) as connection:
        execute(shop.database, connection, "DROP TABLE IF EXISTS scores")
        connection.commit()
    (folder / "work").mkdir()
    return shop


def all_users(shop):
    return Query("SELECT * FROM users", shop.database)


def score_users(shop, options=REPLACE, query="SELECT * FROM users"):
    table = ScoresTable("scores", shop.database)
    return score([Query(query, shop.database)], BUNDLE, table, options)


def engine(shop, *options, **replaced):
    arguments = {
        "--query": "SELECT * FROM users",
        "--source-env": shop.database.variable,
        "--table": "scores",
        "--target-env": shop.database.variable,
        "--bundle": BUNDLE,
    } | {f"--{name.replace('_', '-')}": value for name, value in replaced.items()}
    return [part for pair in arguments.items() for part in pair] + list(options)


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
    assert (summary["out"], summary["published"]) == ("table scores of SHOP_DATABASE", True)


def test_a_table_that_exists_is_kept_replaced_or_left_alone(shop, tmp_path):
    with chdir(tmp_path / "work"):
        score_users(shop, ScoreOptions())
        with pytest.raises(CannotCreateError, match="scores of SHOP_DATABASE: exists already"):
            score_users(shop, ScoreOptions())
        assert score_users(shop, ScoreOptions(if_exists="skip")).status == "skipped"
        score_users(shop, REPLACE, "SELECT * FROM users LIMIT 100")
    assert shop.read("SELECT count(*) AS n FROM scores", tmp_path).item() == 100


def test_a_run_that_fails_leaves_the_old_table(shop, tmp_path):
    with chdir(tmp_path / "work"):
        score_users(shop)
        before = Path("scores.summary.json").read_bytes()
        with pytest.raises(InputError, match="too many|set aside|cannot be scored"):
            score_users(shop, query="SELECT * FROM users UNION ALL SELECT * FROM users")
        summary = json.loads(Path("scores.summary.json").read_bytes())
    assert shop.read("SELECT count(*) AS n FROM scores", tmp_path).item() == ROWS
    assert (summary["published"], summary["stands"]) == (False, "earlier run")
    assert json.loads(before)["published"]


def test_a_dry_run_writes_nothing(shop, tmp_path):
    with chdir(tmp_path / "work"):
        score_users(shop, ScoreOptions(dry_run=True))
        assert list(Path().iterdir()) == []
    assert not shop.has("scores")


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


@pytest.mark.parametrize("step", range(1, STEPS_BEFORE_COMMIT + 2))
def test_killed_at_any_step_the_table_is_the_old_or_the_new(shop, step, tmp_path):
    work = tmp_path / "work"
    with chdir(work):
        score_users(shop, query="SELECT * FROM users LIMIT 10")
        before = Path("scores.summary.json").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(step), "score", *engine(shop, "--if-exists", "replace")],
        cwd=work,
        env={**os.environ, **shop.env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    rows = shop.read("SELECT count(*) AS n FROM scores", tmp_path).item()
    assert rows == (10 if step <= STEPS_BEFORE_COMMIT else ROWS)
    if step < STEPS_BEFORE_COMMIT:
        assert (work / "scores.summary.json").read_bytes() == before
    with chdir(work):
        score_users(shop)
        assert not list(Path().glob(".*"))
    ids = shop.read("SELECT count(*) AS n, count(DISTINCT user_id) AS d FROM scores", tmp_path)
    assert ids.row(0) == (ROWS, ROWS)


def test_killed_at_any_moment_the_old_table_is_whole(postgres, tmp_path):
    work = tmp_path / "work"
    with chdir(work):
        score_users(postgres, query="SELECT * FROM users LIMIT 10")
    for hundredths in range(20, 240, 30):
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.entry", "score", *engine(postgres, if_exists="replace")],
            cwd=work,
            env={**os.environ, **postgres.env},
            stderr=subprocess.DEVNULL,
        )
        time.sleep(hundredths / 100)
        process.kill()
        process.wait()
        assert postgres.read("SELECT count(*) AS n FROM scores", tmp_path).item() in (10, ROWS)
    staging = "SELECT count(*) AS n FROM pg_tables WHERE tablename LIKE 'scores_staging%'"
    assert postgres.read(staging, tmp_path).item() == 0


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("postgresql://shop:{other}@{host}/postgres", 77),
        ("postgresql://shop:{password}@{host}/nowhere", 78),
        ("postgresql://shop:{password}@127.0.0.1:1/postgres", 69),
        ("postgresql://shop:{password}@{host}/postgres?{password}=1", 78),
        ("mysql://shop:{password}@{host}/postgres", 78),
        ("", 78),
    ],
)
def test_the_uri_is_never_shown(postgres, uri, code, tmp_path):
    host = postgres.database.uri.partition("@")[2].partition("/")[0]
    uri = uri.format(password=ENCODED_PASSWORD, other=f"not-{ENCODED_PASSWORD}", host=host)
    done = run(
        *("engine", "score", *engine(postgres, "-v"), "--log-format", "json"),
        env={postgres.database.variable: uri},
        cwd=tmp_path / "work",
    )
    assert done.returncode == code, done.stderr
    files = "".join(path.read_text() for path in (tmp_path / "work").rglob("*") if path.is_file())
    for secret in (PASSWORD, ENCODED_PASSWORD, host, "shop:", "127.0.0.1"):
        assert secret not in done.stdout + done.stderr + files
    assert "Traceback" not in done.stderr


def test_a_run_does_not_show_the_uri(shop, tmp_path):
    done = run("engine", "score", *engine(shop, "-v"), env=shop.env, cwd=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    summary = (tmp_path / "work" / "scores.summary.json").read_text()
    assert shop.database.uri not in done.stderr + summary + repr(shop.database)
    assert PASSWORD not in done.stderr + summary + repr(shop.database)


def test_a_user_without_rights(postgres, tmp_path):
    with connected(postgres.database) as connection:
        for sql in (
            "DROP ROLE IF EXISTS reader",
            "CREATE ROLE reader LOGIN PASSWORD 'reader'",
            "GRANT pg_read_all_data TO reader",
        ):
            execute(postgres.database, connection, sql)
        connection.commit()
    host = postgres.database.uri.partition("@")[2]
    reader = store(f"postgresql://reader:reader@{host}", "READER")
    with chdir(tmp_path / "work"), pytest.raises(AccessError, match=r"READER: writing failed"):
        score([all_users(reader)], BUNDLE, ScoresTable("scores", reader.database))


def test_a_view_that_needs_the_old_table_is_not_broken(postgres, tmp_path):
    with chdir(tmp_path / "work"):
        score_users(postgres)
        with connected(postgres.database) as connection:
            execute(postgres.database, connection, "CREATE VIEW seen AS SELECT * FROM scores")
            connection.commit()
        try:
            with pytest.raises(CannotCreateError, match="depend on it"):
                score_users(postgres)
        finally:
            with connected(postgres.database) as connection:
                execute(postgres.database, connection, "DROP VIEW seen")
                connection.commit()


def test_a_schema_is_named_before_the_table(postgres, tmp_path):
    with connected(postgres.database) as connection:
        execute(postgres.database, connection, "CREATE SCHEMA IF NOT EXISTS nightly")
        connection.commit()
    table = ScoresTable("nightly.scores", postgres.database)
    with chdir(tmp_path / "work"):
        for _ in range(2):
            score([all_users(postgres)], BUNDLE, table, REPLACE)
        assert Path("nightly.scores.summary.json").exists()
    found = postgres.read("SELECT count(*) AS n FROM nightly.scores", tmp_path)
    assert found.item() == ROWS
    assert not postgres.has("scores")


@pytest.mark.parametrize("name", ["", 'a"b', "a b", "a.b.c", "x" * 64, "sch-ema.t", "1st", "ä"])
def test_names_that_no_table_gets(name, tmp_path):
    with pytest.raises(UsageError, match="give a name"):
        ScoresTable(name, store(f"sqlite:///{tmp_path}/shop.db").database)


def test_sqlite_has_no_schemas(tmp_path):
    with pytest.raises(UsageError, match="SQLite has no schemas"):
        ScoresTable("main.scores", store(f"sqlite:///{tmp_path}/shop.db").database)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_files_of_databases_that_are_not_there(kind, users_file, tmp_path):
    shop = store(f"{kind}:///{tmp_path}/absent/shop.db")
    with pytest.raises(NoInputError, match="SHOP_DATABASE: its URI names no file"):
        score([all_users(shop)], BUNDLE, tmp_path / "scores.parquet")
    with chdir(tmp_path), pytest.raises(CannotCreateError, match="the directory of its file"):
        score([str(users_file)], BUNDLE, ScoresTable("scores", shop.database))


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "shop.db").write_text("no database, but long enough to be read as one" * 100)
    shop = store(f"sqlite:///{tmp_path}/shop.db")
    with pytest.raises((InputError, UnavailableError), match="SHOP_DATABASE: "):
        score([all_users(shop)], BUNDLE, tmp_path / "scores.parquet")


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


def test_a_variable_that_is_not_set():
    with pytest.raises(BundleError, match="SHOP_DATABASE: not set"):
        Database.of("SHOP_DATABASE", {})


def test_a_database_that_is_held_is_waited_for(users_file, tmp_path):
    shop = store(f"duckdb:///{tmp_path}/shop.db")
    hold = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print(); time.sleep(1)"
    command = [sys.executable, "-uc", hold, str(tmp_path / "shop.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder, chdir(tmp_path):
        holder.stdout.readline()
        score([str(users_file)], BUNDLE, ScoresTable("scores", shop.database))
    assert shop.has("scores")
