import json
import re

import polars as pl
import pytest

from engine.errors import EngineError
from tests.helpers import BUNDLE, invoke, read_summary, read_table, run, write_table


@pytest.fixture
def old(tmp_path):
    out = tmp_path / "scores.parquet"
    out.write_text("yesterday")
    return out


def test_score_writes_scores_and_says_what_they_look_like(users_file, tmp_path):
    result = run("engine", "score", users_file, "--out", tmp_path / "s.parquet")
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "5,000 users read, 5,000 scored, 0 quarantined" in result.stderr
    assert f"scores: {tmp_path / 's.parquet'}" in result.stderr


def test_quiet_says_nothing(users_file, tmp_path):
    result = invoke("score", users_file, "--out", tmp_path / "s.csv", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_drivers_and_impacts_are_options(users_file, tmp_path):
    out = tmp_path / "s.arrow"
    found = invoke("score", users_file, "--out", out, "--drivers", "1", "--impacts", "--quiet")
    assert found.exit_code == 0, found.output
    columns = read_table(out).columns
    decision = ["action", "in_control_group"]
    assert columns[8:14] == ["driver_1", "driver_1_impact", *decision, "bundle_id", "base_value"]
    assert len(columns) == 14 + 38
    assert invoke("score", users_file, "--out", out, "--drivers", "4").exit_code == 2


def test_summary_goes_to_standard_output_on_request(users_file, tmp_path):
    result = invoke("score", users_file, "--out", tmp_path / "s.csv", "--summary", "-", "--quiet")
    assert json.loads(result.stdout) == read_summary(tmp_path / "s.csv")


def test_options_come_from_the_environment(users_file, tmp_path):
    env = {"ENGINE_SCORE_OUT": str(tmp_path / "s.csv"), "ENGINE_SCORE_THREADS": "1"}
    assert invoke("score", users_file, env=env).exit_code == 0
    assert read_summary(tmp_path / "s.csv")["threads"] == 1


def test_one_variable_names_the_bundle_of_every_command(users_file, scorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {"ENGINE_BUNDLE": str(BUNDLE)}
    out = ("--out", "s.csv")
    for args in (
        ("score", users_file, *out),
        ("validate", users_file),
        ("inspect",),
        ("verify",),
        ("explain", users_file, "--user", "U00000003"),
        ("drift", users_file),
    ):
        assert invoke(*args).exit_code == 78
        assert invoke(*args, env=env).exit_code == 0
    # What is said more closely counts.
    closer = {**env, "ENGINE_VALIDATE_BUNDLE": "absent"}
    assert "absent: no such bundle" in invoke("validate", users_file, env=closer).output
    assert invoke("validate", users_file, "--bundle", BUNDLE, env=closer).exit_code == 0


def test_scores_do_not_go_to_standard_output(users_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = invoke("score", users_file, "--out", "-")
    assert found.exit_code == 2
    assert "--out - is not supported" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == [users_file.name]


@pytest.mark.parametrize(
    ("change", "args", "code", "message"),
    [
        (
            lambda u: u.drop("country", "age_band"),
            (),
            65,
            "2 missing columns: 'age_band', 'country'",
        ),
        (lambda u: u.with_columns(country=1.5), (), 65, "'country' expected a text or a whole"),
        (lambda u: u, ("--bundle", "absent"), 78, "absent: no such bundle"),
        (lambda u: u, ("--if-exists", "fail"), 73, "exists already. Use --if-exists replace"),
        (lambda u: u.clear(), (), 65, "no rows"),
        (lambda u: u, ("absent.parquet",), 66, "absent.parquet: no such file"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_the_old_scores(
    users, tmp_path, old, change, args, code, message
):
    source = write_table(change(users), tmp_path / "users.parquet")
    result = invoke("score", source, "--out", old, "--if-exists", "replace", *args)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert old.read_text() == "yesterday"
    assert read_summary(old)["exit_code"] == code


def test_an_output_in_no_directory_ends_with_73(users_file, tmp_path):
    result = invoke("score", users_file, "--out", tmp_path / "absent" / "s.csv")
    assert result.exit_code == 73
    assert "does not exist. Create it first" in result.output


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--threads", "0"),
        ("--threads", "257"),
        ("--chunk-rows", "9" * 20),
        ("--chunk-rows", "x"),
        ("--nonsense",),
        ("a", "--out", "b.csv", "--max-reject-share", "nan"),
    ],
)
def test_wrong_usage_ends_with_2(args):
    assert invoke("score", *args).exit_code == 2


def test_a_bug_is_reported_without_a_traceback(users_file, tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("engine.pipeline.score", fail)
    result = invoke("score", users_file, "--out", tmp_path / "s.csv")
    assert result.exit_code == 1
    assert result.output.startswith("engine: a bug: ZeroDivisionError at ")
    assert "oops" not in result.output


def test_every_kind_of_error_has_its_own_exit_code():
    kinds = EngineError.__subclasses__()
    codes = [kind.exit_code for kind in kinds if kind.exit_code != 1]
    assert len(codes) == len(set(codes))
    assert set(codes) <= {2, 65, 66, 69, 70, 71, 73, 74, 75, 76, 77, 78, 79}


def test_version_names_what_decides_the_bytes():
    output = invoke("--version").output
    assert all(name in output for name in ("shopnow-scoring", "polars", "onnxruntime", "numpy"))


def test_output_is_read_by_its_owner_only(users_file, tmp_path):
    invoke("score", users_file, "--out", tmp_path / "s.csv")
    assert read_table(tmp_path / "s.csv").height == 5_000
    for name in ("s.csv", "s.csv.summary.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_rehearsal_writes_nothing_and_tells_what_would_be(users_file, tmp_path, old):
    names = sorted(tmp_path.iterdir())
    result = invoke("score", users_file, "--out", old, "--if-exists", "replace", "--dry-run")
    assert result.exit_code == 0
    assert f"nothing was written: would publish {old}, replacing an earlier file" in result.output
    assert re.search(r"memory needed: [\d,]+ MiB", result.output)
    assert sorted(tmp_path.iterdir()) == names
    assert old.read_text() == "yesterday"


@pytest.mark.parametrize(
    ("args", "code"), [(("--bundle", "absent"), 78), (("--if-exists", "fail"), 73)]
)
def test_a_rehearsal_ends_as_the_run_would(users_file, tmp_path, old, args, code):
    names = sorted(tmp_path.iterdir())
    command = ("score", users_file, "--out", old, "--if-exists", "replace", *args)
    assert invoke(*command, "--dry-run").exit_code == code
    assert sorted(tmp_path.iterdir()) == names
    assert invoke(*command).exit_code == code


def test_metrics_tell_of_success_and_failure(users_file, tmp_path):
    metrics, out = tmp_path / "m.prom", tmp_path / "s.csv"
    command = ("score", users_file, "--out", out, "--metrics-file", metrics)
    assert invoke(*command).exit_code == 0
    assert 'engine_score_rows{result="scored"} 5000\n' in metrics.read_text()
    assert invoke(*command).exit_code == 73
    assert "engine_score_exit_code 73\n" in metrics.read_text()
    assert "engine_score_published 0\n" in metrics.read_text()


def test_json_lines_have_the_summary_or_the_exit_code(users_file, tmp_path):
    command = ("score", users_file, "--out", tmp_path / "s.csv", "-v", "--log-format", "json")
    *steps, last = map(json.loads, invoke(*command).stderr.splitlines())
    assert {step["level"] for step in steps} == {"debug"}
    assert last["summary"] == read_summary(tmp_path / "s.csv")
    (failure,) = map(json.loads, invoke(*command).stderr.splitlines())
    assert (failure["level"], failure["exit_code"]) == ("error", 73)


def test_no_id_and_no_value_is_told(users, tmp_path):
    """Of rows set aside, unseen values and columns of a wrong kind, places and counts are told."""
    strange = users.with_columns(
        user_id=pl.concat_str(pl.lit("SECRET"), "user_id"),
        country=pl.lit("SECRET"),
        sessions_last_7d=pl.lit("SECRET"),
    )
    source = write_table(strange, tmp_path / "users.csv")
    for share in ("0.01", "1"):
        command = ("score", source, "--out", tmp_path / "s.csv", "--if-exists", "replace", "-v")
        places = ("--metrics-file", tmp_path / "m.prom", "--summary", tmp_path / "s.json")
        done = run("engine", *command, *places, "--max-reject-share", share)
        assert done.returncode in (0, 65)
        told = done.stdout + done.stderr
        told += (tmp_path / "m.prom").read_text() + (tmp_path / "s.json").read_text()
        assert "SECRET" not in told


def test_csv_for_spreadsheets_changes_formulas_only(users, tmp_path):
    ids = pl.Series("user_id", ["=1+1", "-5", "plain"])
    source = write_table(users[:3].with_columns(ids), tmp_path / "users.parquet")
    plain, safe = tmp_path / "plain.csv", tmp_path / "safe.csv"
    assert invoke("score", source, "--out", plain).exit_code == 0
    assert invoke("score", source, "--out", safe, "--csv-for-spreadsheets").exit_code == 0
    assert plain.read_text().replace("\n=1+1,", "\n'=1+1,") == safe.read_text()
    refused = invoke("score", source, "--out", tmp_path / "s.parquet", "--csv-for-spreadsheets")
    assert refused.exit_code == 2
    assert "not a CSV file" in refused.output


def test_a_drift_alarm_stops_a_strict_run_only(users, tmp_path):
    cents = users.with_columns(pl.col("avg_order_value") * 100)
    source = write_table(cents, tmp_path / "users.parquet")
    out = tmp_path / "s.csv"
    command = ("score", source, "--out", out, "--max-reject-share", "1", "--if-exists", "replace")
    strict = invoke(*command, "--strict")
    assert strict.exit_code == 65
    assert "because of --strict" in strict.output
    assert not out.exists()
    assert read_summary(out)["drift"]["alarms"]
    assert invoke(*command).exit_code == 0


def test_quiet_and_verbose_contradict_each_other(users_file, tmp_path):
    result = invoke("score", users_file, "--out", tmp_path / "s.csv", "--quiet", "-v")
    assert result.exit_code == 2
