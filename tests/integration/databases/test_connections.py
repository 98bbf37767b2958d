import json
import socket
import subprocess
import sys
import time
from contextlib import chdir

import pytest

from engine import score
from engine.connectors.databases.tables import ScoresTable
from engine.connectors.databases.uri import Database
from engine.errors import AccessError, BundleError, CannotCreateError, NoInputError
from tests.helpers import BUNDLE, run
from tests.integration.databases.server import ENCODED_PASSWORD, PASSWORD, store
from tests.integration.databases.shops import all_users, make, score_options, started


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
        *("engine", "score", *score_options(postgres, "-v"), "--log-format", "json"),
        env={postgres.database.variable: uri},
        cwd=tmp_path / "work",
    )
    assert done.returncode == code, done.stderr
    files = "".join(path.read_text() for path in (tmp_path / "work").rglob("*") if path.is_file())
    for secret in (PASSWORD, ENCODED_PASSWORD, host, "shop:", "127.0.0.1"):
        assert secret not in done.stdout + done.stderr + files
    assert "Traceback" not in done.stderr


def test_a_run_does_not_show_the_uri(shop, tmp_path):
    done = run("engine", "score", *score_options(shop, "-v"), env=shop.env, cwd=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    summary = (tmp_path / "work" / "scores.summary.json").read_text()
    assert shop.database.uri not in done.stderr + summary + repr(shop.database)
    assert PASSWORD not in done.stderr + summary + repr(shop.database)


def test_a_user_without_rights(postgres, tmp_path):
    for sql in (
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'reader'",
        "GRANT pg_read_all_data TO reader",
    ):
        make(postgres, sql)
    host = postgres.database.uri.partition("@")[2]
    reader = store(f"postgresql://reader:reader@{host}", "READER")
    with chdir(tmp_path / "work"), pytest.raises(AccessError, match=r"READER: writing failed"):
        score([all_users(reader)], BUNDLE, ScoresTable("scores", reader.database))


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
    with pytest.raises(BundleError, match="SHOP_DATABASE: .*is not such a database"):
        score([all_users(shop)], BUNDLE, tmp_path / "scores.parquet")


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


def test_a_signal_ends_the_wait_for_a_connection(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        shop = store(f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/shop")
        with started(shop, cwd=tmp_path) as process:
            server.settimeout(30)
            connection, _ = server.accept()
            time.sleep(0.5)
            process.terminate()
            said = process.communicate(timeout=2)[1]
        connection.close()
    assert process.returncode == 143, said
    summary = json.loads((tmp_path / "scores.summary.json").read_bytes())
    assert (summary["status"], summary["stands"]) == ("interrupted", "unknown")


def test_options_of_libpq_with_spaces(postgres, tmp_path):
    make(postgres, "CREATE SCHEMA IF NOT EXISTS nightly")
    for option in (
        "options=-c%20search_path%3Dnightly",
        "connect_timeout=5&options=-csearch_path%3Dnightly",
    ):
        shop = store(f"{postgres.database.uri}?{option}")
        path = shop.read("SELECT current_schema() AS s", tmp_path)
        assert path.item() == "nightly"


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_uris_that_name_no_database(kind, users_file, tmp_path):
    (tmp_path / "readonly.db").write_text("no database, but long enough to be read as one" * 100)
    for name, message in (("readonly.db", "is not such a database"), ("", "names a directory")):
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
    arguments = score_options(shop, **{option: f"postgresql://bob:{PASSWORD}@host/shop"})
    done = run("engine", "score", *arguments, env=shop.env, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "not the name of an environment variable" in done.stderr
    for secret in (PASSWORD, "bob", "host"):
        assert secret not in done.stdout + done.stderr
