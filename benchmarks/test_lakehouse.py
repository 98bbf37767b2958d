"""The nightly job from table to table of a lakehouse, held against the same from file to file."""

import statistics

import polars as pl
import pytest

from benchmarks.contenders import BIN, BUNDLE, measure
from benchmarks.contenders import engine as from_file_to_file
from tests.integration.lakehouse.tables import lakehouse

ROUNDS = 5
WALL_GATE_TIMES = 2
MEMORY_GATE_BYTES = 2**30


# Of Iceberg only `make bench` asks it: on busy cores the import of PyIceberg alone can exceed the limit.
@pytest.mark.parametrize("kind", [pytest.param("delta", marks=pytest.mark.gate), "iceberg"])
def test_a_lakehouse_takes_at_most_twice_as_long(kind, users, folder, monkeypatch, capsys):
    lake = lakehouse(kind, folder / kind, monkeypatch)
    lake.write("users", pl.read_parquet(users))
    files = ["--bundle", BUNDLE, "--if-exists", "replace"]
    by_table = [BIN / "engine", "score", lake.named("users"), "--out", lake.named("scores"), *files]
    by_file = from_file_to_file(users, folder / "scores.parquet")
    usages = [(measure(by_file), measure([*map(str, by_table)], folder)) for _ in range(ROUNDS)]
    times = statistics.median(table.wall_seconds / file.wall_seconds for file, table in usages)
    peak = max(table.peak_bytes for _, table in usages)
    file_peak = max(file.peak_bytes for file, _ in usages)
    with capsys.disabled():
        for file, table in usages:
            print(f"\nfile to file {file.wall_seconds:.2f} s, {kind} {table.wall_seconds:.2f} s")
        print(
            f"{times:.2f} times as long, peak memory {peak / 2**20:,.0f} MiB "
            f"(file to file {file_peak / 2**20:,.0f} MiB)"
        )
    expected = pl.read_parquet(folder / "scores.parquet").sort("user_id")
    found = lake.rows("scores").sort("user_id")
    typed = found.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
    assert typed.equals(expected)
    assert times <= WALL_GATE_TIMES
    assert peak <= MEMORY_GATE_BYTES
