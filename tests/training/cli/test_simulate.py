import subprocess
import sys
import time
from datetime import date

import polars as pl
import pytest

from engine.errors import LockedError
from tests.helpers import read_table
from training.simulate import SimulateOptions, simulate
from training.simulate.write import write_users


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", ".ndjson"])
def test_simulated_users_are_written_in_every_format(tmp_path, ending):
    options = SimulateOptions(rows=500, seed=3)
    rows = write_users(options, tmp_path / f"users{ending}")
    found = read_table(tmp_path / f"users{ending}")
    expected = pl.concat(simulate(options))
    assert rows == found.height == 500
    assert set(found.columns) == set(expected.columns)
    assert found["orders_last_90d"].to_list() == expected["orders_last_90d"].to_list()
    assert [p.name for p in tmp_path.iterdir()] == [f"users{ending}"]


def test_simulate_takes_its_options(tmp_path, command):
    out = tmp_path / "users.parquet"
    found = command(
        *("training", "simulate", "--out", out, "--rows", 100, "--seed", 5),
        *("--as-of", "2026-06-07", "--drift", 0.5, "--no-label", "--with-truth"),
    )
    assert found.returncode == 0, found.stderr
    columns = pl.read_parquet(out)
    assert columns.height == 100
    assert str(columns["snapshot_date"][0]) == "2026-06-07"
    assert "true_probability" in columns.columns
    assert "purchased_next_7d" not in columns.columns


def test_simulate_writes_a_panel(tmp_path, command):
    out = tmp_path / "users.parquet"
    found = command("training", "simulate", "--out", out, "--rows", 100, "--weeks", 2, "--no-label")
    assert found.returncode == 0, found.stderr
    assert "100 simulated users at 2 dates in" in found.stderr
    dates = pl.read_parquet(out)["snapshot_date"].value_counts(sort=False).sort("snapshot_date")
    assert dates.rows() == [(date(2026, 11, 15), 100), (date(2026, 11, 22), 100)]


def test_a_panel_has_at_least_a_week(tmp_path, command):
    found = command("training", "simulate", "--weeks", 0, "--out", tmp_path / "users.csv")
    assert found.returncode == 2
    assert "--weeks" in found.stderr


def test_simulate_draws_outcomes_of_a_campaign(tmp_path, command):
    contacts, out = tmp_path / "list.csv", tmp_path / "outcomes.parquet"
    contacts.write_text("user_id,snapshot_date,arm\nU00000007,2026-11-22,offer\n")
    options = ("training", "simulate", "--rows", 100, "--with-truth", "--campaign", contacts)
    found = command(*options, "--out", out)
    assert found.returncode == 0, found.stderr
    assert pl.read_parquet(out).filter(pl.col("true_effect") != 0)["user_id"].to_list() == [
        "U00000007"
    ]

    contacts.write_text("user_id,snapshot_date,arm\nU00000101,2026-11-22,offer\n")
    before = out.read_bytes()
    found = command(*options, "--out", out)
    assert found.returncode == 65
    assert "1 of 1 contact with users who are not simulated" in found.stderr
    assert out.read_bytes() == before

    found = command(*options, "--out", contacts)
    assert found.returncode == 2
    assert "is an input and an output" in found.stderr


@pytest.mark.parametrize(
    ("out", "words"),
    [("users.xlsx", "names no format"), ("no/users.csv", "does not exist"), (".", "no format")],
)
def test_simulate_refuses_what_it_cannot_create(tmp_path, command, out, words):
    found = command("training", "simulate", "--rows", 10, "--out", tmp_path / out)
    assert found.returncode == 73
    assert words in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failed_simulation_leaves_the_old_file(tmp_path, monkeypatch):
    out = tmp_path / "users.csv"
    out.write_text("old")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_users(SimulateOptions(rows=10), out, stop)
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["users.csv"]


def test_a_simulation_removes_what_a_killed_one_left(tmp_path):
    out = tmp_path / "users.csv"
    arguments = ("simulate", "--rows", str(10**7), "--out", str(out))
    script = "from training.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", script, *arguments]) as killed:
        while not list(tmp_path.glob(".users.csv.staging/*")):
            assert killed.poll() is None
            time.sleep(0.05)
        try:
            with pytest.raises(LockedError, match=r"users\.csv: another run holds this output"):
                write_users(SimulateOptions(rows=10), out)
        finally:
            killed.kill()
    assert list(tmp_path.glob(".users.csv.staging/*"))
    (tmp_path / ".others.csv.staging").mkdir()
    write_users(SimulateOptions(rows=10), out)
    assert {path.name for path in tmp_path.iterdir()} == {"users.csv", ".others.csv.staging"}
