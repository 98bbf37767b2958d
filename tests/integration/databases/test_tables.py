import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest

from engine import ScoreOptions, score
from engine.activate.arms import arm_column
from engine.activate.audience import make_audience
from engine.activate.columns import TABLE_MARKS
from engine.activate.options import AudienceOptions
from engine.connectors.databases.connections import answer, connected, execute
from engine.connectors.databases.tables import ScoresTable
from engine.errors import CannotCreateError, InputError, UsageError
from tests.helpers import BUNDLE, ROOT
from tests.integration.databases.server import store
from tests.integration.databases.shops import (
    REPLACE,
    ROWS,
    all_users,
    filled,
    make,
    score_options,
    score_users,
    started,
    wait_for,
    waits_for_a_lock,
)

KILLED = """
import os, signal, sys
import engine.connectors.databases.tables as tables
import engine.outputs.sink as sink
from engine.cli.entry import main

def killed(function, chosen, taken=[0]):
    def step(*arguments, **named):
        taken[0] += 1
        if taken[0] == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return step

tables.LOADED_ROWS = 500
chosen = int(sys.argv.pop(1))
for name in ("_ingest", "_commit"):
    setattr(tables.ScoresTable, name, killed(getattr(tables.ScoresTable, name), chosen))
sink._sync_folders = killed(sink._sync_folders, chosen)
tables.execute = killed(tables.execute, chosen)
main()
"""
# Three loads, the old table dropped, the new one renamed, the summary, the commit; then the folders.
# PostgreSQL locks the old table, and gives its grants to the new one, before it drops it.
STEPS_BEFORE_COMMIT = {"postgresql": 9, "sqlite": 7, "duckdb": 7}


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
        with pytest.raises(InputError, match="too many|cannot be scored"):
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


@pytest.mark.parametrize("step", range(1, max(STEPS_BEFORE_COMMIT.values()) + 2))
def test_killed_at_any_step_the_table_is_the_old_or_the_new_i09(shop, step, tmp_path):
    work = tmp_path / "work"
    steps_before_commit = STEPS_BEFORE_COMMIT[shop.database.kind]
    if step > steps_before_commit + 1:
        pytest.skip(f"{shop.database.kind} takes fewer steps")
    with chdir(work):
        score_users(shop, query="SELECT * FROM users LIMIT 10")
        before = Path("scores.summary.json").read_bytes()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(step),
            "score",
            *score_options(shop, "--if-exists", "replace"),
        ],
        cwd=work,
        env={**os.environ, **shop.env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    rows = shop.read("SELECT count(*) AS n FROM scores", tmp_path).item()
    assert rows == (10 if step <= steps_before_commit else ROWS)
    if step < steps_before_commit - 1:
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
        with started(postgres, if_exists="replace", cwd=work) as process:
            time.sleep(hundredths / 100)
            process.kill()
        assert postgres.read("SELECT count(*) AS n FROM scores", tmp_path).item() in (10, ROWS)
    staging = "SELECT count(*) AS n FROM pg_tables WHERE tablename LIKE 'scores_staging%'"
    assert postgres.read(staging, tmp_path).item() == 0


def test_a_view_that_needs_the_old_table_is_not_broken(postgres, tmp_path):
    with chdir(tmp_path / "work"):
        score_users(postgres)
        make(postgres, "CREATE VIEW seen AS SELECT * FROM scores")
        try:
            with pytest.raises(CannotCreateError, match="depend on it"):
                score_users(postgres)
        finally:
            make(postgres, "DROP VIEW seen")


def test_a_schema_is_named_before_the_table(postgres, tmp_path):
    make(postgres, "CREATE SCHEMA IF NOT EXISTS nightly")
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
    table = ScoresTable("scores", shop.database)
    with (
        pytest.raises(CannotCreateError, match="is not a table of scores"),
        table.loaded(tmp_path / "users.parquet", replace=True),
    ):
        pass
    assert shop.read("SELECT count(*) AS n FROM scores", tmp_path).item() == 7
    make(shop, "DROP TABLE scores")


@pytest.mark.parametrize("seconds", [0, 0.3])
def test_a_load_that_is_interrupted_at_its_end_holds_nothing(
    shop, users, tmp_path, monkeypatch, seconds
):
    def interrupted(*arguments):
        execute(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(seconds)

    monkeypatch.setattr("engine.connectors.databases.tables.execute", interrupted)
    table = ScoresTable("scores", shop.database)
    with (
        pytest.raises(KeyboardInterrupt),
        table.loaded(tmp_path / "users.parquet", replace=False),
    ):
        pass
    assert not shop.has("scores")
    make(shop, "CREATE TABLE scores (x INTEGER)")
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
        with pytest.raises(CannotCreateError, match="depend on the old table"):
            score_users(shop)
    assert shop.read("SELECT count(*) AS n FROM seen", tmp_path).item() == ROWS


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("postgresql", "pg_temp.scores", "would not last"),
        ("postgresql", "pg_temp_3.scores", "would not last"),
        ("postgresql", "pg_catalog.scores", "would not last"),
        ("duckdb", "temp.scores", "would not last"),
        ("sqlite", "temp.scores", "SQLite has no schemas"),
        ("sqlite", "SQLite_scores", "begin with sqlite_"),
    ],
)
def test_tables_that_would_not_stay(kind, name, message):
    with pytest.raises(UsageError, match=message):
        ScoresTable(name, store(f"{kind}:///shop.db").database)


def test_a_signal_ends_the_wait_for_the_old_table(postgres, tmp_path):
    work = tmp_path / "work"
    with chdir(work):
        score_users(postgres)
    with connected(postgres.database) as holder:
        assert answer(postgres.database, holder, "SELECT count(*) FROM scores") == ROWS
        with started(postgres, "--if-exists", "replace", cwd=work) as process:
            wait_for(lambda: waits_for_a_lock(postgres))
            process.terminate()
            said = process.communicate(timeout=2)[1]
    assert process.returncode == 143, said
    assert not list(work.glob(".*"))
    assert postgres.read("SELECT count(*) AS n FROM scores", tmp_path).item() == ROWS


def test_first_runs_at_once_end_one_after_the_other(postgres, tmp_path):
    folders = [tmp_path / f"machine-{n}" for n in range(3)]
    for folder in folders:
        folder.mkdir()
    lock = "SELECT pg_advisory_lock(hashtextextended('scores', 0)) IS NULL"
    with connected(postgres.database) as holder:
        answer(postgres.database, holder, lock)
        runs = [started(postgres, "--if-exists", "replace", cwd=folder) for folder in folders]
        wait_for(lambda: waits_for_a_lock(postgres) == len(runs))
    for process in runs:
        with process:
            assert (process.wait(timeout=60), process.stderr.read().count("Error")) == (0, 0)
    assert postgres.read("SELECT count(*) AS n FROM scores", tmp_path).item() == ROWS


def test_a_list_of_users_to_contact_replaces_an_older_list_and_nothing_else(
    shop, users, scorer, tmp_path
):
    scores = tmp_path / "scores.parquet"
    scorer.score(users).write_parquet(scores)
    table = ScoresTable("contacts", shop.database, TABLE_MARKS)
    with chdir(tmp_path / "work"):
        for size in (200, 100):
            options = AudienceOptions(top=size, campaign="spring", if_exists="replace")
            make_audience([str(scores)], table, options)
        campaign = json.loads(Path("contacts.campaign.json").read_bytes())
        with pytest.raises(CannotCreateError, match="users of SHOP_DATABASE: .* is not .* a list"):
            make_audience([str(scores)], ScoresTable("users", shop.database, TABLE_MARKS), options)
        with pytest.raises(UsageError, match="a list in a table needs the columns .*, 'arm'"):
            make_audience([str(scores)], table, replace(options, columns=("id",)))
    found = shop.read("SELECT count(*) AS n, min(arm) AS arm FROM contacts", tmp_path)
    assert found.row(0) == (campaign["users"], "contact") == (100, "contact")
    make(shop, "DROP TABLE contacts")


def test_the_arms_in_postgresql_are_those_of_the_engine(postgres, users, tmp_path):
    _, query = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/audiences.md").read_text(), re.DOTALL)
    found = postgres.read(query, tmp_path).sort("user_id")
    expected = arm_column(found["user_id"], "spring", {"offer": 0.5, "reminder": 0.5})
    assert (found.height, found["arm"].equals(expected, check_names=False)) == (ROWS, True)
