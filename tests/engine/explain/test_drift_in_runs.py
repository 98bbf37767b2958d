"""What a run and `engine drift` say of users who are not as they were."""

import json

import polars as pl
import pytest

from tests.helpers import invoke, read_summary, write_table
from training.simulate import SimulateOptions
from training.simulate.write import write_users

ROWS = 3_000


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("drift") / "users.parquet"
    write_users(SimulateOptions(rows=ROWS, seed=4, label=False), path)
    return pl.read_parquet(path)


def scored(frame, tmp_path, *options, code=0):
    path, out = write_table(frame, tmp_path / "users.parquet"), tmp_path / "s.parquet"
    found = invoke("score", path, "--out", out, "--if-exists", "replace", *options)
    assert found.exit_code == code, found.stderr
    return found.stderr, read_summary(out)


def test_users_like_those_of_training_raise_no_alarm(users, tmp_path):
    words, summary = scored(users, tmp_path)
    assert summary["drift"]["rows"] == ROWS
    assert summary["drift"]["alarms"] == []
    assert len(summary["drift"]["psi"]) == 2 + 38
    assert "no summary of an earlier run: rows and dates were not compared" in words


@pytest.mark.parametrize(
    ("changed", "alarm"),
    [
        ({"avg_order_value": pl.col("avg_order_value") * 100}, "about 100 times those of training"),
        ({"avg_session_duration": pl.lit(5.0)}, "has one value for every user"),
        ({"device_type": pl.lit("toaster")}, "missing or unknown for 100% of users"),
        ({"email_open_rate": pl.lit(None, pl.Float64)}, "missing or unknown for 100% of users"),
    ],
    ids=["unit", "constant", "unseen", "missing"],
)
def test_a_broken_column_is_named_and_stops_a_strict_run(users, tmp_path, changed, alarm):
    broken = users.with_columns(**changed)
    words, summary = scored(broken, tmp_path)
    (name,) = changed
    assert any(a.startswith(f"{name}: ") and alarm in a for a in summary["drift"]["alarms"])
    assert f"ALARM drift: {name}: " in words
    before = (tmp_path / "s.parquet").read_bytes()
    words, summary = scored(broken, tmp_path, "--strict", code=65)
    assert f"{name}: " in words
    assert (summary["published"], summary["stands"]) == (False, "earlier run")
    assert (tmp_path / "s.parquet").read_bytes() == before


def test_drift_of_the_simulator_is_named(tmp_path):
    path = tmp_path / "moved.parquet"
    write_users(SimulateOptions(rows=20_000, seed=4, drift=1.0, label=False), path)
    found = invoke("drift", path)
    assert found.exit_code == 0, found.stderr
    assert "warning: device_type: has another distribution ('mobile_web' has 1" in found.stdout
    report = json.loads(invoke("drift", path, "--json").stdout)
    assert report["rows_read"] == report["rows_scored"] == report["rows"] == 20_000
    levels = {feature["name"]: feature["level"] for feature in report["features"]}
    assert levels["device_type"] == "warn"
    assert levels["country"] == "none"


def test_many_users_are_compared_by_a_sample_that_is_told(tmp_path):
    path = tmp_path / "many.parquet"
    write_users(SimulateOptions(rows=40_000, seed=5, label=False), path)
    report = json.loads(invoke("drift", path, "--json").stdout)
    assert (report["rows_read"], report["rows"]) == (40_000, 20_000)
    assert {feature["level"] for feature in report["features"]} == {"none"}


def test_an_input_without_a_row_that_can_be_scored_is_refused(users, tmp_path):
    nobody = users.with_columns(user_id=pl.lit(""))
    found = invoke("drift", write_table(nobody, tmp_path / "n.csv"))
    assert found.exit_code == 65
    assert "none of 3,000 rows can be scored" in found.stderr
