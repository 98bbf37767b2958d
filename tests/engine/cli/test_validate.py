import json

import polars as pl
import pytest

from tests.helpers import invoke, run, write_table


def test_validate_tells_what_would_be_scored_without_publishing(users, tmp_path):
    wrong = users.with_columns(
        sessions_last_7d=pl.when(pl.int_range(pl.len()) < 2).then(-1).otherwise("sessions_last_7d")
    )
    path = write_table(wrong, tmp_path / "users.csv")
    result = run("engine", "validate", path)
    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "5,000 users read: 4,998 would be scored, 2 quarantined",
        f"quarantined: 2 rows by sessions_last_7d|below_min: row 1 of {path}, row 2 of {path}",
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["users.csv"]


def test_validate_ends_with_65_where_a_run_would_publish_nothing(users, tmp_path):
    path = write_table(pl.concat([users[:10], users[:1]]), tmp_path / "users.csv")
    result = run("engine", "validate", path, "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 65
    assert (document["rows_valid"], document["reasons"]) == (10, {"user_id|duplicate": 1})
    assert document["first_rows"] == {"user_id|duplicate": [{"file": str(path), "row": 11}]}
    assert result.stderr == f"engine: {document['refusal']}\n"
    assert run("engine", "validate", path, "--max-reject-share", "0.1").returncode == 0


@pytest.mark.parametrize(
    ("name", "content", "code"), [("absent.csv", None, 66), ("u.csv", "a,b\n1,2\n", 65)]
)
def test_validate_refuses_an_input_as_score_does(tmp_path, name, content, code):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    result = invoke("validate", path)
    assert result.exit_code == code
    assert name in result.output


def test_validate_opens_no_model(users_file, monkeypatch):
    def fail(*_args, **_options):
        raise AssertionError

    monkeypatch.setattr("onnxruntime.InferenceSession", fail)
    assert invoke("validate", users_file).exit_code == 0
    assert invoke("score", users_file, "--out", users_file.with_suffix(".csv")).exit_code == 78
