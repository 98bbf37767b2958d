"""The nightly job at full size, with its gates.

The gates leave room for a noisy machine; the README gives the measured figures.
"""

import statistics
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks.contenders import ROWS, Usage, engine, floor, measure, obvious

ROUNDS = 5
CPU_BUDGET_SECONDS = 600
WALL_GATE_SECONDS = 15
MEMORY_GATE_BYTES = 2**30
DRIVERS_GATE_TIMES = 4
"""At least 5 times faster is what the engine must be on a quiet machine."""


@pytest.fixture(scope="session")
def users_gzip(users) -> Path:
    path = users.with_suffix(".csv.gz")
    pl.read_parquet(users).write_csv(path, compression="gzip")
    return path


@pytest.fixture(scope="session")
def measured() -> list[Usage]:
    """What the engine took in the runs that are shown."""
    return []


@pytest.fixture
def contend(benchmark):
    """Time a command over several rounds, and keep what the operating system says of it."""

    def run(title: str, command: list[str], rounds: int = ROUNDS) -> list[Usage]:
        usages: list[Usage] = []
        benchmark.group = "nightly"
        benchmark.pedantic(
            lambda: usages.append(measure(command)), rounds=rounds, warmup_rounds=1, iterations=1
        )
        benchmark.extra_info |= {
            "title": title,
            "rows": ROWS,
            "cpu_seconds": statistics.median(usage.cpu_seconds for usage in usages),
            "peak_bytes": max(usage.peak_bytes for usage in usages),
        }
        return usages

    return run


def test_1_both_routes_give_the_same_scores(users, folder):
    measure(engine(users, folder / "engine.parquet"))
    measure(obvious(users, folder / "obvious.parquet", "drivers"))
    ours, theirs = (pl.read_parquet(folder / f"{n}.parquet") for n in ("engine", "obvious"))
    assert ours.columns == theirs.columns
    assert ours.height == ROWS
    difference = (ours["purchase_probability"] - theirs["purchase_probability"]).abs()
    assert difference.max() <= 1e-6
    assert ours["in_control_group"].equals(theirs["in_control_group"])
    for name in ("user_id", "will_purchase", "propensity_decile", "segment_id", "action"):
        assert (ours[name] != theirs[name]).sum() <= 2, name
    for name in ("driver_1", "driver_2", "driver_3"):
        # LightGBM's own impacts of two features may be equal but for rounding.
        assert (ours[name] != theirs[name]).mean() <= 1e-3, name
        assert (ours[f"{name}_impact"].abs() - theirs[f"{name}_impact"].abs()).abs().max() <= 1e-5


@pytest.mark.gate
def test_2_engine(contend, measured, users, folder):
    usages = contend("`engine score`, Parquet to Parquet", engine(users, folder / "s.parquet"))
    measured.extend(usages)
    check_budget(usages)
    assert median_wall(usages) <= WALL_GATE_SECONDS
    assert max(u.peak_bytes for u in usages) <= MEMORY_GATE_BYTES


@pytest.mark.gate
def test_3_engine_on_one_thread(contend, users, folder):
    command = engine(users, folder / "s.parquet", "--threads", "1")
    check_budget(contend("`engine score --threads 1`", command))


@pytest.mark.gate
def test_4_engine_from_the_slowest_input(contend, users_gzip, folder):
    usages = contend("`engine score`, from gzip CSV", engine(users_gzip, folder / "s.parquet"))
    check_budget(usages)


def test_5_obvious_route(contend, measured, users, folder):
    theirs = contend("Polars → LightGBM → scikit-learn", obvious(users, folder / "o.parquet"))
    ours = measured or [measure(engine(users, folder / "s.parquet")) for _ in range(ROUNDS)]
    assert median_wall(ours) <= median_wall(theirs)


def test_6_obvious_route_with_drivers(contend, measured, users, folder):
    command = obvious(users, folder / "o.parquet", "drivers")
    theirs = contend("Polars → LightGBM with `pred_contrib` → scikit-learn", command, rounds=3)
    ours = measured or [measure(engine(users, folder / "s.parquet")) for _ in range(ROUNDS)]
    assert median_wall(ours) * DRIVERS_GATE_TIMES <= median_wall(theirs)


def test_7_floor(contend, users, folder):
    contend("floor: read all columns, write sixteen, no model", floor(users, folder / "f.parquet"))


def median_wall(usages: list[Usage]) -> float:
    return statistics.median(usage.wall_seconds for usage in usages)


def test_8_profile_runs(users):
    measure([sys.executable, "-m", "benchmarks.profile", str(users)])


def check_budget(usages: list[Usage]) -> None:
    assert max(usage.cpu_seconds for usage in usages) <= CPU_BUDGET_SECONDS
