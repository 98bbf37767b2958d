"""A shop whose users lie in a database, and runs that score them there."""

import os
import subprocess
import sys
import time

from engine import ScoreOptions, score
from engine.connectors.databases.connections import answer, connected, execute
from engine.connectors.databases.queries import Query
from engine.connectors.databases.tables import ScoresTable
from tests.helpers import BUNDLE
from tests.integration.databases.server import store

ROWS = 1_500
KINDS = ["postgresql", "sqlite", "duckdb"]
REPLACE = ScoreOptions(if_exists="replace")
RUN = "from engine.cli.entry import main; main()"


def filled(uri, users, folder):
    shop = store(uri)
    shop.fill("users", users.head(ROWS), folder)
    make(shop, "DROP TABLE IF EXISTS scores")
    (folder / "work").mkdir()
    return shop


def all_users(shop):
    return Query("SELECT * FROM users", shop.database)


def score_users(shop, options=REPLACE, query="SELECT * FROM users"):
    table = ScoresTable("scores", shop.database)
    return score([Query(query, shop.database)], BUNDLE, table, options)


def score_options(shop, *options, **replaced):
    arguments = {
        "--query": "SELECT * FROM users",
        "--source-env": shop.database.variable,
        "--table": "scores",
        "--target-env": shop.database.variable,
        "--bundle": BUNDLE,
    } | {f"--{name.replace('_', '-')}": value for name, value in replaced.items()}
    return [part for pair in arguments.items() for part in pair] + list(options)


def started(shop, *options, cwd, **replaced):
    """A run that goes on while the test does something else."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "score", *score_options(shop, *options, **replaced)],
        cwd=cwd,
        env={**os.environ, **shop.env},
        stderr=subprocess.PIPE,
        text=True,
    )


def make(shop, sql):
    with connected(shop.database) as connection:
        execute(shop.database, connection, sql)
        connection.commit()


def waits_for_a_lock(shop):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with connected(shop.database) as connection:
        return answer(shop.database, connection, waiting)


def running_sleeps(shop):
    running = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE state = 'active' AND query LIKE '%pg\\_sleep%' AND pid <> pg_backend_pid()"
    )
    with connected(shop.database) as connection:
        return answer(shop.database, connection, running)


def wait_for(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
