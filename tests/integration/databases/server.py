"""Databases that tests start, each with the users in a table of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from engine.connectors.databases.connections import connected, execute
from engine.connectors.databases.queries import Query
from engine.connectors.databases.tables import ScoresTable
from engine.connectors.databases.uri import Database

PASSWORD = "pass-word-7/3"
ENCODED_PASSWORD = "pass-word-7%2F3"
SERVER_FOLDERS = [Path("/usr/lib/postgresql"), Path("/opt/homebrew/opt"), Path("/usr/local/opt")]


@dataclass(frozen=True)
class Store:
    """A database and what a test does with it."""

    database: Database

    @property
    def env(self):
        return {self.database.variable: self.database.uri}

    def fill(self, name, frame, folder):
        path = folder / f"{name}.parquet"
        frame.write_parquet(path)
        with connected(self.database) as connection:
            execute(self.database, connection, f'DROP TABLE IF EXISTS "{name}"')
            connection.commit()
        with ScoresTable(name, self.database).loaded(path, replace=False) as commit:
            commit()

    def read(self, sql, folder):
        path = folder / "read.arrow"
        Query(sql, self.database).fetch(path)
        return pl.read_ipc(path)

    def has(self, name):
        return ScoresTable(name, self.database).exists()


def store(uri, variable="SHOP_DATABASE"):
    return Store(Database.of(variable, {variable: uri}))


def postgres_programs():
    """The folder of the server's programs, which is seldom on the path; None where it is absent."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    initdbs = (path for folder in SERVER_FOLDERS for path in folder.glob("*/bin/initdb"))
    return next((path.parent for path in sorted(initdbs, reverse=True)), None)


@contextmanager
def postgres_or_skip():
    """A PostgreSQL server in a folder of its own; the test is skipped where there is none to start."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    # NOTE: the folders of pytest may not be entered by another user.
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        postgres_server(Path(folder), programs) as uri,
    ):
        yield uri


@contextmanager
def postgres_server(folder: Path, programs: Path):
    """A PostgreSQL server on a free port, as an ordinary user; gives its URI."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if as_user:
        shutil.chown(folder, "postgres")
        shutil.chown(secret, "postgres")

    def program(name, *arguments):
        command = [*as_user, programs / name, "-D", folder / "data", *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    program("initdb", "-U", "shop", "-A", "scram-sha-256", "--pwfile", secret)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    program("pg_ctl", "-o", options, "-l", folder / "log", "-w", "start")
    try:
        yield f"postgresql://shop:{ENCODED_PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        program("pg_ctl", "-m", "immediate", "stop")
