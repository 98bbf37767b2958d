import pytest

from engine.bundle.schema import load_schema
from tests.foreign import members
from tests.helpers import write_table


@pytest.fixture
def table(tmp_path):
    (tmp_path / "data").mkdir()
    leak = members(600)["joined"].alias("paid")
    return write_table(members(600).with_columns(leak), tmp_path / "data" / "members.csv")


def test_a_draft_is_written_and_what_looks_wrong_is_said(table, tmp_path, command):
    found = command("training", "schema", table, "--out", "schema.toml")
    assert (found.returncode, found.stdout) == (0, "")
    assert load_schema(tmp_path / "schema.toml").id == "member"
    assert found.stderr.startswith("paid: Alone it predicts the label with a ROC-AUC of 1.00")
    assert "draft of 4 features in schema.toml, with 0 questions for you" in found.stderr


def test_a_draft_can_be_printed(table, tmp_path, command):
    command("training", "schema", table, "--out", "schema.toml")
    printed = command("training", "schema", table, "-o", "-")
    assert printed.returncode == 0
    assert printed.stdout == (tmp_path / "schema.toml").read_text()
    assert printed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("out", "code", "words"),
    [
        ("mine.toml", 73, "mine.toml: exists, and may hold edits of yours"),
        ("no/schema.toml", 73, "the directory no does not exist"),
        ("data", 73, "data: is a directory"),
        ("data/schema.toml", 2, "lies in a directory that is an input"),
    ],
)
def test_a_place_that_cannot_be_is_refused_and_nothing_changes(
    table, tmp_path, command, out, code, words
):
    (tmp_path / "mine.toml").write_text("mine")
    found = command("training", "schema", table.parent, "--out", out)
    assert found.returncode == code, found.stderr
    assert words in found.stderr
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert {path.name for path in tmp_path.rglob("*")} == {"data", "members.csv", "mine.toml"}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 66, "no such file"),
        ("a,b,a\n1,2,3\n", 65, "bad.csv: "),
        ("a,b\n", 65, "no rows"),
        ("a;b\n1;2\n", 65, "did you mean ';'"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_words(tmp_path, command, content, code, words):
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
    found = command("training", "schema", "bad.csv", "--out", "schema.toml")
    assert found.returncode == code, found.stderr
    assert words in found.stderr
    assert not (tmp_path / "schema.toml").exists()
