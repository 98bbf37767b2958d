"""The nightly job from PostgreSQL to PostgreSQL, held against the same from file to file."""

import statistics

import pytest

from benchmarks.contenders import BIN, BUNDLE, measure
from benchmarks.contenders import engine as from_file_to_file
from engine.connectors.databases.tables import ScoresTable
from engine.connectors.databases.uri import Database
from tests.integration.databases.server import postgres_or_skip

ROUNDS = 3
WALL_GATE_TIMES = 3
MEMORY_GATE_BYTES = 2**30


@pytest.fixture(scope="module")
def database():
    with postgres_or_skip() as uri:
        yield Database.of("SHOP_DATABASE", {"SHOP_DATABASE": uri})


@pytest.mark.gate
def test_postgresql_takes_at_most_three_times_as_long(users, folder, database, monkeypatch, capsys):
    with ScoresTable("users", database).loaded(users, replace=True) as commit:
        commit()
    monkeypatch.setenv(database.variable, database.uri)
    source = ["--query", "SELECT * FROM users", "--source-env", database.variable]
    target = ["--table", "scores", "--target-env", database.variable]
    files = ["--summary", folder / "table.summary.json", "--bundle", BUNDLE]
    by_table = [BIN / "engine", "score", *source, *target, *files, "--if-exists", "replace"]
    by_file = from_file_to_file(users, folder / "scores.parquet")
    usages = [(measure(by_file), measure([*map(str, by_table)])) for _ in range(ROUNDS)]
    times = statistics.median(table.wall_seconds / file.wall_seconds for file, table in usages)
    peak = max(table.peak_bytes for _, table in usages)
    with capsys.disabled():
        for file, table in usages:
            print(
                f"\nfile to file {file.wall_seconds:.2f} s, table to table {table.wall_seconds:.2f} s"
            )
        print(f"{times:.2f} times as long, peak memory {peak / 2**20:,.0f} MiB")
    assert times <= WALL_GATE_TIMES
    assert peak <= MEMORY_GATE_BYTES
