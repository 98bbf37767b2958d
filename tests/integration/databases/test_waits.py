"""No wait for PostgreSQL is without an end, and a signal ends every one of them."""

import json
import re
import time
from contextlib import chdir, suppress

import pytest

from engine.connectors.databases.connections import answer, connected, execute
from engine.errors import UnavailableError
from tests.helpers import assert_prompt
from tests.integration.databases.proxy import behind_proxy
from tests.integration.databases.server import store
from tests.integration.databases.shops import (
    ROWS,
    make,
    score_users,
    started,
    wait_for,
    waits_for_a_lock,
)

FEW = "SELECT * FROM users LIMIT 300"
COUNT = "SELECT count(*) AS n FROM scores"


@pytest.fixture
def scored(postgres, tmp_path):
    """A shop with a table of scores."""
    with chdir(tmp_path / "work"):
        score_users(postgres, query=FEW)
    return postgres


def messages(shop, tmp_path):
    """How each message of a run to the server begins."""
    with chdir(tmp_path / "work"), behind_proxy(shop) as (proxy, far):
        score_users(far, query=FEW)
    return proxy.messages


STAGES = {
    "connecting": b"SCRAM-SHA-256",
    "starting": b"SELECT version",
    "checking": b"has_schema",
    "asking": b"LIMIT 300",
    "loading": b"CREATE TABLE",
    "copying": b"PGCOPY",
    "locking": b"LOCK TABLE",
    "dropping": b"DROP TABLE",
    "committing": b"COMMIT",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_ends_the_wait_for_a_silent_server_t06(scored, stage, tmp_path):
    work = tmp_path / "work"
    with (
        behind_proxy(scored, silent_at=STAGES[stage]) as (proxy, far),
        started(far, if_exists="replace", query=FEW, cwd=work) as process,
    ):
        wait_for(lambda: proxy.is_silent)
        time.sleep(0.5)
        began = time.monotonic()
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert_prompt(began)
    assert process.returncode == 143, said
    summary = json.loads((work / "scores.summary.json").read_bytes())
    assert (summary["status"], summary["published"]) == ("interrupted", False)
    assert ("is unknown" in said) == (stage == "committing")
    assert scored.read(COUNT, tmp_path).item() == 300
    with chdir(work):
        score_users(scored)
    assert scored.read(COUNT, tmp_path).item() == ROWS


@pytest.mark.parametrize("stage", ["starting", "checking", "copying", "locking", "committing"])
def test_a_silent_server_ends_a_run_t06(scored, stage, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.connectors.databases.connections.ANSWER_SECONDS", 1)
    began = time.monotonic()
    with (
        chdir(tmp_path / "work"),
        behind_proxy(scored, silent_at=STAGES[stage]) as (_, far),
        pytest.raises(UnavailableError, match="no answer within"),
    ):
        score_users(far, query=FEW)
    assert time.monotonic() - began < 20
    with chdir(tmp_path / "work"):
        score_users(scored)


def test_a_lock_that_is_held_ends_a_run_t07(scored, tmp_path):
    with connected(scored.database) as holder, chdir(tmp_path / "work"):
        assert answer(scored.database, holder, "SELECT count(*) FROM scores") == 300
        impatient = store(f"{scored.database.uri}?options=-clock_timeout%3D1s")
        with pytest.raises(UnavailableError, match="55P03.*another process has locked"):
            score_users(impatient)
    with chdir(tmp_path / "work"):
        score_users(scored)


def test_limits_are_set_and_those_of_the_uri_kept_t07(postgres, tmp_path):
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "client_encoding")
    sql = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    assert postgres.read(sql, tmp_path).row(0) == ("1min", "5min", "UTF8")
    chosen = store(f"{postgres.database.uri}?options=-clock_timeout%3D7s&tcp_user_timeout=5000")
    assert chosen.read(sql, tmp_path).row(0) == ("7s", "5min", "UTF8")


def test_a_session_that_sleeps_in_its_transaction_is_ended_t07(scored, tmp_path):
    uri = f"{scored.database.uri}?options=-cidle_in_transaction_session_timeout%3D500ms"
    sleeper = store(uri)
    with connected(sleeper.database) as connection:
        execute(sleeper.database, connection, "LOCK TABLE scores IN ACCESS EXCLUSIVE MODE")
        with chdir(tmp_path / "work"):
            score_users(scored)
    assert scored.read(COUNT, tmp_path).item() == ROWS


def test_a_killed_run_holds_no_lock_t07(scored, tmp_path):
    work = tmp_path / "work"
    with connected(scored.database) as holder:
        answer(scored.database, holder, "SELECT count(*) FROM scores")
        with started(scored, if_exists="replace", query=FEW, cwd=work) as process:
            wait_for(lambda: waits_for_a_lock(scored))
            process.kill()
    make(scored, "LOCK TABLE scores IN ACCESS EXCLUSIVE MODE")
    with chdir(work):
        score_users(scored)


@pytest.mark.parametrize("stride", [16, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["cut", "terminated"])
def test_connections_cut_at_every_statement_leave_the_old_table_t08(
    scored, how, stride, tmp_path, monkeypatch, record_property
):
    monkeypatch.setattr("engine.connectors.databases.connections.FIRST_WAIT_SECONDS", 0.02)
    before = scored.read("SELECT * FROM scores", tmp_path)
    cuts = 0
    # Backwards from the commit.
    for number in statements(messages(scored, tmp_path))[::-stride]:
        event = {"cut_at": number} if how == "cut" else {"kill_at": (number, ends_sessions(scored))}
        with chdir(tmp_path / "work"), behind_proxy(scored, **event) as (proxy, far):
            # A cut while connecting is tried again.
            with suppress(UnavailableError):
                score_users(far, query=FEW)
            assert proxy.was_cut
        cuts += 1
        assert scored.read("SELECT * FROM scores", tmp_path).equals(before)
        with chdir(tmp_path / "work"):
            score_users(scored, query=FEW)
    record_property("connections cut", cuts)
    staging = "SELECT count(*) AS n FROM pg_tables WHERE tablename LIKE 'scores_staging%'"
    assert scored.read(staging, tmp_path).item() == 0


def statements(sent):
    """The numbers of the messages that begin a statement, without those of the driver itself."""
    own = re.compile(rb"SELECT version|pg_attribute\nORDER|pg_catalog.pg_type")
    return [n for n, begin in enumerate(sent, 1) if begin[:1] in b"PQ" and not own.search(begin)]


def ends_sessions(shop):
    def end():
        with connected(shop.database) as connection:
            ended = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            answer(shop.database, connection, ended)

    return end
