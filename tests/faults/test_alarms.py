"""A night that speaks: alarms, dates and log lines that nobody can forge."""

import json
import signal
import subprocess
import sys
from datetime import date, timedelta

import polars as pl
import pytest

from engine import ScoreOptions, score
from tests.faults.inputs import outcome
from tests.fitted import champion
from tests.helpers import BUNDLE, read_summary, run, write_table
from tests.weekly import users_of

CASES = {
    "L01": "half the rows, or half as many again: alarm 'rows'; 65 with --strict",
    "L02": "the same bytes as the run before, or no newer snapshot: alarm 'stale'; 65 with --strict",
    "L03": "--quiet: alarms and warnings are printed all the same",
    "L04": "the snapshot's date: in log, summary and metrics",
    "L05": "a line break in a file name: forges no line of the log",
    "L06": "a run killed after its summary and before its scores: its retry publishes, with --strict too",
}


@pytest.mark.parametrize("rows", [400, 1_200])
def test_the_number_of_rows_is_compared_with_the_run_before_l01(users, tmp_path, rows):
    users = users.drop("snapshot_date")
    path = write_table(users[:800], tmp_path / "u.parquet")
    assert outcome(path).summary["alarms"] == []
    found = outcome(write_table(users[:rows], path))
    assert [alarm["name"] for alarm in found.summary["alarms"]] == ["rows"]
    # A run that publishes nothing is no run before.
    failed = outcome(
        write_table(users[:800].with_columns(user_id=pl.lit("same")), path), max_reject_share=0.0
    )
    assert (failed.code, failed.summary["before"]["rows_read"]) == (65, rows)
    # Nor is one that finds the scores in place.
    assert outcome(path, if_exists="fail").code == 73
    refused = outcome(write_table(users[:100], path), strict=True)
    assert (refused.code, "rows: 100 rows, " in refused.message) == (65, True)


def test_a_stale_input_is_noticed_without_a_clock_l02(users, tmp_path):
    users = users.with_columns(snapshot_date=date(2026, 11, 22))
    path = write_table(users, tmp_path / "u.parquet")
    assert outcome(path).summary["alarms"] == []
    again = outcome(path)
    assert [alarm["name"] for alarm in again.summary["alarms"]] == ["stale"]
    assert "the same bytes" in again.summary["alarms"][0]["message"]
    older = outcome(write_table(users[::-1], path), strict=True)
    assert (older.code, "no snapshot newer than 2026-11-22" in older.message) == (65, True)
    later = users.with_columns(pl.col("snapshot_date") + timedelta(days=7))
    assert outcome(write_table(later, path), strict=True).code == 0


KILLED = """
import os, signal
import engine.outputs.paths as paths
from engine.cli.entry import main

paths.move = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


@pytest.mark.parametrize(
    ("has_scores", "has_refused_run"), [(True, False), (True, True), (False, False)]
)
def test_a_run_killed_between_summary_and_scores_is_no_run_before_l06(
    users, tmp_path, has_scores, has_refused_run
):
    path, out = tmp_path / "u.parquet", tmp_path / "s.parquet"
    options = ("--out", out, "--if-exists", "replace", "--strict")
    command = ("score", path, *options, "--bundle", BUNDLE)
    if has_scores:
        write_table(users[:800].with_columns(snapshot_date=date(2026, 11, 15)), path)
        assert run("engine", *command).returncode == 0
    write_table(users[:800].with_columns(snapshot_date=date(2026, 11, 22)), path)
    dead = [sys.executable, "-c", KILLED, *map(str, command)]
    assert subprocess.run(dead, timeout=60, check=False).returncode == -signal.SIGKILL
    assert read_summary(out)["published"] is True
    if has_refused_run:
        assert run("engine", "score", tmp_path / "absent", *options).returncode == 66
    retried = run("engine", *command)
    assert retried.returncode == 0, retried.stderr
    again = run("engine", *command)
    assert (again.returncode, "stale: the same bytes" in again.stderr) == (65, True)


def test_scores_that_were_moved_away_are_compared_all_the_same_l02(users, tmp_path):
    path, out = write_table(users, tmp_path / "u.parquet"), tmp_path / "s.parquet"
    score([str(path)], BUNDLE, out)
    out.rename(tmp_path / "moved.parquet")
    assert [alarm.name for alarm in score([str(path)], BUNDLE, out).alarms] == ["stale"]


@pytest.fixture
def stale(users, tmp_path):
    """Scores users twice, the second time quietly."""
    path = write_table(users.with_columns(snapshot_date=date(2026, 11, 22)), tmp_path / "u.parquet")
    out, metrics = tmp_path / "s.parquet", tmp_path / "m.prom"
    first = run("engine", "score", path, "--out", out)
    options = ("--out", out, "--if-exists", "replace", "--quiet", "--metrics-file", metrics)
    return first, run("engine", "score", path, *options), read_summary(out), metrics.read_text()


def test_quiet_runs_still_print_alarms_l03(stale):
    _, quiet, _, metrics = stale
    assert quiet.returncode == 0
    assert quiet.stderr.startswith("ALARM stale: the same bytes as the input of the run before")
    assert 'engine_score_alarms{alarm="stale"} 1' in metrics
    assert 'engine_score_alarms{alarm="rows"} 0' in metrics


def test_dates_are_in_log_summary_and_metrics_l04(stale):
    first, _, summary, metrics = stale
    assert "\nsnapshot: 2026-11-22\n" in first.stderr
    assert summary["snapshots"] == {"oldest": "2026-11-22", "newest": "2026-11-22"}
    assert "engine_score_newest_snapshot_seconds 1795305600.0" in metrics


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_names_of_files_forge_no_line_l05(users, tmp_path, log_format):
    name = "a.parquet\nengine: all is well\r\x1b[2Kscores: forged\u2028x"
    path = write_table(users[:9].drop("country"), tmp_path / name)
    out = tmp_path / "s\nengine: forged.parquet"
    for command in (
        ["score", path, "--out", out],
        ["score", tmp_path / "x\ny", "--out", out],
        ["validate", path],
    ):
        options = ["--log-format", log_format] if command[0] == "score" else []
        found = run("engine", *command, *options)
        assert found.returncode in (65, 66)
        for line in found.stderr.splitlines():
            assert line.startswith("engine: ") or json.loads(line)["program"] == "engine"
            assert line.isprintable()
            assert not line.startswith(("engine: all", "engine: forged"))


def test_a_snapshot_of_another_name_is_compared_too_l02(tmp_path):
    path, out = (
        write_table(users_of(3, 500).drop("bought"), tmp_path / "u.parquet"),
        tmp_path / "s.csv",
    )
    options = ScoreOptions(if_exists="replace", max_reject_share=1.0)
    first = score([str(path)], champion().bundle, out, options)
    assert first.snapshots == {"oldest": "2026-01-25", "newest": "2026-01-25"}
    write_table(users_of(3, 400).drop("bought"), path)
    second = score([str(path)], champion().bundle, out, options)
    assert "stale" in [alarm.name for alarm in second.alarms]
