import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.connections import answer, connected, execute
from engine.databases import Database
from engine.errors import (
    AccessError,
    BundleError,
    CannotCreateError,
    InputError,
    NoInputError,
    UsageError,
)
from engine.queries import Query
from engine.tables import ScoresTable, TableSwap
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
RUN = "from engine.entry import main; main()"
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
        with command(postgres, if_exists="replace", cwd=work) as process:
            time.sleep(hundredths / 100)
            process.kill()
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
    with pytest.raises(BundleError, match="SHOP_DATABASE: .*is no such database"):
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


def command(shop, *options, cwd, **replaced):
    """A run that goes on while the test does something else."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "score", *engine(shop, *options, **replaced)],
        cwd=cwd,
        env={**os.environ, **shop.env},
        stderr=subprocess.PIPE,
        text=True,
    )


def make(shop, sql):
    with connected(shop.database) as connection:
        execute(shop.database, connection, sql)
        connection.commit()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_table_that_holds_no_scores_is_never_replaced(shop, dry_run, tmp_path):
    table = ScoresTable("users", shop.database)
    options = ScoreOptions(if_exists="replace", dry_run=dry_run)
    refused = pytest.raises(CannotCreateError, match="users of SHOP_DATABASE: .* no.* scores")
    with chdir(tmp_path / "work"), refused:
        score([all_users(shop)], BUNDLE, table, options)
    assert shop.read("SELECT count(*) AS n FROM users", tmp_path).item() == ROWS


def test_what_comes_to_stand_there_during_the_run_is_not_replaced(shop, users, tmp_path):
    shop.fill("scores", users.head(7), tmp_path)
    swap = TableSwap(ScoresTable("scores", shop.database))
    with pytest.raises(CannotCreateError, match="is not a table of scores"):
        swap.load(tmp_path / "users.parquet", replace=True)
    swap.close()
    assert shop.read("SELECT count(*) AS n FROM scores", tmp_path).item() == 7
    make(shop, "DROP TABLE scores")


def test_a_view_is_not_replaced(shop, tmp_path):
    make(shop, "CREATE VIEW seen AS SELECT 1 AS purchase_probability, 2 AS bundle_id")
    try:
        with chdir(tmp_path / "work"), pytest.raises(CannotCreateError, match="is not a table of"):
            score([all_users(shop)], BUNDLE, ScoresTable("seen", shop.database), REPLACE)
    finally:
        make(shop, "DROP VIEW seen")


def test_a_table_of_sqlite_with_a_view_on_it_is_not_replaced(users, tmp_path):
    shop = filled(f"sqlite:///{tmp_path}/shop.db", users, tmp_path)
    with chdir(tmp_path / "work"):
        score_users(shop)
        make(shop, "CREATE VIEW seen AS SELECT user_id FROM scores")
        with pytest.raises(CannotCreateError, match="depend on the table"):
            score_users(shop)
    assert shop.read("SELECT count(*) AS n FROM seen", tmp_path).item() == ROWS


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("postgresql", "pg_temp.scores", "would not stay"),
        ("postgresql", "pg_temp_3.scores", "would not stay"),
        ("postgresql", "pg_catalog.scores", "would not stay"),
        ("duckdb", "temp.scores", "would not stay"),
        ("sqlite", "temp.scores", "SQLite has no schemas"),
        ("sqlite", "SQLite_scores", "begin with sqlite_"),
    ],
)
def test_tables_that_would_not_stay(kind, name, message):
    with pytest.raises(UsageError, match=message):
        ScoresTable(name, store(f"{kind}:///shop.db").database)


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
    with command(shop, "--if-exists", "replace", query=query, cwd=work) as process:
        wait_for(lambda: list(work.glob(".scores.staging-*")))
        time.sleep(1)
        process.send_signal(ending)
        began = time.monotonic()
        said = process.communicate(timeout=30)[1]
        seconds = time.monotonic() - began
    assert process.returncode == 128 + ending, said
    assert seconds < 2
    assert said.count("\n") == 1
    summary = json.loads((work / "scores.summary.json").read_bytes())
    assert (summary["status"], summary["exit_code"]) == ("interrupted", 128 + ending)
    assert sorted(path.name for path in work.iterdir()) == ["scores.lock", "scores.summary.json"]


def test_a_signal_ends_the_wait_for_the_old_table(postgres, tmp_path):
    work = tmp_path / "work"
    with chdir(work):
        score_users(postgres)
    with connected(postgres.database) as holder:
        assert answer(postgres.database, holder, "SELECT count(*) FROM scores") == ROWS
        with command(postgres, "--if-exists", "replace", cwd=work) as process:
            wait_for(lambda: waits_for_a_lock(postgres))
            process.terminate()
            said = process.communicate(timeout=2)[1]
    assert process.returncode == 143, said
    assert not list(work.glob(".*"))
    assert postgres.read("SELECT count(*) AS n FROM scores", tmp_path).item() == ROWS


def test_a_signal_ends_the_wait_for_a_connection(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        shop = store(f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/shop")
        with command(shop, cwd=tmp_path) as process:
            server.settimeout(30)
            connection, _ = server.accept()
            time.sleep(0.5)
            process.terminate()
            said = process.communicate(timeout=2)[1]
        connection.close()
    assert process.returncode == 143, said
    summary = json.loads((tmp_path / "scores.summary.json").read_bytes())
    assert (summary["status"], summary["stands"]) == ("interrupted", "unknown")


def waits_for_a_lock(shop):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with connected(shop.database) as connection:
        return answer(shop.database, connection, waiting)


def wait_for(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_first_runs_at_once_end_one_after_the_other(postgres, tmp_path):
    folders = [tmp_path / f"machine-{n}" for n in range(3)]
    for folder in folders:
        folder.mkdir()
    lock = "SELECT pg_advisory_lock(hashtextextended('scores', 0)) IS NULL"
    with connected(postgres.database) as holder:
        answer(postgres.database, holder, lock)
        runs = [command(postgres, "--if-exists", "replace", cwd=folder) for folder in folders]
        wait_for(lambda: waits_for_a_lock(postgres) == len(runs))
    for process in runs:
        with process:
            assert (process.wait(timeout=60), process.stderr.read().count("Error")) == (0, 0)
    assert postgres.read("SELECT count(*) AS n FROM scores", tmp_path).item() == ROWS


def test_options_of_libpq_with_spaces(postgres, tmp_path):
    make(postgres, "CREATE SCHEMA IF NOT EXISTS nightly")
    for option in (
        "options=-c%20search_path%3Dnightly",
        "connect_timeout=5&options=-csearch_path%3Dnightly",
    ):
        shop = store(f"{postgres.database.uri}?{option}")
        path = shop.read("SELECT current_schema() AS s", tmp_path)
        assert path.item() == "nightly"


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


@pytest.mark.parametrize(
    ("kind", "column", "message"),
    [
        ("postgresql", "INTERVAL '1 day'", r"\(INTERVAL\): 'odd'"),
        ("duckdb", "INTERVAL 1 DAY", r"\(INTERVAL\): 'odd'"),
        ("duckdb", "[INTERVAL 1 DAY]", r"\(INTERVAL\): 'odd'"),
        ("duckdb", "union_value(k := 1)", r"\(UNION\): 'odd'"),
    ],
)
def test_types_that_cannot_be_read(kind, column, message, request, users, tmp_path, capfd):
    if kind == "postgresql":
        shop = filled(request.getfixturevalue("postgres_uri"), users, tmp_path)
    else:
        shop = filled(f"duckdb:///{tmp_path}/shop.db", users, tmp_path)
    with chdir(tmp_path / "work"), pytest.raises(InputError, match=message):
        score_users(shop, query=f"SELECT *, {column} AS odd FROM users")
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_uris_that_name_no_database(kind, users_file, tmp_path):
    (tmp_path / "readonly.db").write_text("no database, but long enough to be read as one" * 100)
    for name, message in (("readonly.db", "is no such database"), ("", "names a directory")):
        shop = store(f"{kind}:///{tmp_path}/{name}")
        with chdir(tmp_path), pytest.raises(BundleError, match=message):
            score([str(users_file)], BUNDLE, ScoresTable("scores", shop.database))


def test_a_host_that_is_none(users_file, tmp_path):
    shop = store("postgresql://u:p@[::1/x")
    with pytest.raises(BundleError, match="SHOP_DATABASE: .*Check the URI"):
        score([all_users(shop)], BUNDLE, tmp_path / "scores.parquet")


@pytest.mark.parametrize("option", ["source_env", "target_env"])
def test_a_uri_in_the_place_of_a_name_is_not_shown(option, tmp_path):
    shop = store(f"sqlite:///{tmp_path}/shop.db")
    arguments = engine(shop, **{option: f"postgresql://bob:{PASSWORD}@host/shop"})
    done = run("engine", "score", *arguments, env=shop.env, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "no name of an environment variable" in done.stderr
    for secret in (PASSWORD, "bob", "host"):
        assert secret not in done.stdout + done.stderr
