import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle, write_bundle
from tests import fitted
from tests.bundles import changed_record
from tests.fitting import shop_users
from tests.helpers import assert_prompt, run, run_in_terminal, unread_stream, write_table

TINY = """
name = "tiny"
label = "bought"
id = "customer"
[[feature]]
name = "visits"
kind = "numeric"
[[feature]]
name = "tier"
kind = "categorical"
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Users, a schema and a bundle in one folder."""
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copytree(fitted.tiny().folder, folder, dirs_exist_ok=True)
    (folder / "tiny.toml").write_text(TINY)
    for name in ("loop.csv", "loop.html"):
        (folder / name).symlink_to(name)
    return folder


def test_fit_carries_segments_on_and_tells_what_changed(tiny, command):
    found = command(
        *("training", "fit", "users.parquet", "--schema", "tiny.toml", "--trials", 1),
        *("--previous", "bundle", "--out", "refit"),
        cwd=tiny,
    )
    assert found.returncode == 0, found.stderr
    assert "bundle tiny/undated-" in found.stderr
    assert found.stdout == ""
    # Minutes pass at a full size, and a log tells what is under way.
    assert re.findall(r"^ *\d+\.\d s  (.+)$", found.stderr, re.M)[0] == "reading users"
    assert "segments: no change: every segment keeps its id and its name" in found.stderr
    missing = command(
        *("training", "fit", "users.parquet", "--previous", "gone", "--out", "x"), cwd=tiny
    )
    assert missing.returncode == 78
    assert "gone: no such bundle" in missing.stderr


BLOCKED = """
import sys, time
import training.pipeline
from training.cli import main

def blocked(*_):
    print("blocked", flush=True)
    time.sleep(600)

training.pipeline.fit = blocked
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fit_whatever_library_it_waits_for(tmp_path, number):
    command = [sys.executable, "-c", BLOCKED, "fit", "users.parquet", "--out", "candidate"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        assert process.stdout.readline() == "blocked\n"
        process.send_signal(number)
        began = time.monotonic()
        _, words = process.communicate(timeout=60)
    assert_prompt(began)
    assert process.returncode == 128 + number, words
    name = number.name
    assert words == f"training: interrupted by {name}; nothing was published. Run again.\n"
    assert list(tmp_path.iterdir()) == []


def test_evaluate_prints_and_writes_its_figures(tiny, command):
    found = command("training", "evaluate", "bundle", "users.parquet", "--json", "m.json", cwd=tiny)
    assert found.returncode == 0, found.stderr
    assert "ROC-AUC" in found.stdout
    report = json.loads((tiny / "m.json").read_text())
    assert report["metrics"]["rows"] == 1_500
    to_stdout = command("training", "evaluate", "bundle", "users.parquet", "--json", "-", cwd=tiny)
    assert json.loads(to_stdout.stdout) == report


def test_promote_makes_a_bundle_the_current_one_once(tiny, command):
    first = command("training", "promote", "bundle", "--to", "models", cwd=tiny)
    assert first.returncode == 0
    assert [gate["name"] for gate in json.loads(first.stdout)["gates"]] == ["gain", "parity"]
    assert re.search(r"^passed  parity  ONNX", first.stderr, re.M)
    assert "is the current bundle\n" in first.stderr
    assert "undo:" not in first.stderr
    again = command("training", "promote", "bundle", "--to", "models", cwd=tiny)
    assert (again.returncode, again.stdout) == (0, "")
    assert first.stderr.endswith(again.stderr)


def test_a_refused_candidate_is_told_in_words_and_as_json(tiny, command):
    command("training", "promote", "bundle", "--to", "measured", cwd=tiny)
    opened = open_bundle(tiny / "bundle")
    parity = {**read_evaluation(opened).fit.parity, "changed_segment": 3}
    write_bundle(tiny / "wrong", opened.manifest, changed_record(opened, parity=parity))
    write_table(shop_users(1_000, 2), tiny / "later.parquet")
    promote = ("promote", "wrong", "--to", "measured")
    found = command("training", *promote, "--data", "later.parquet", cwd=tiny)
    assert found.returncode == 79
    assert re.search(r"^REFUSED  parity  +segment: 3 users changed, allowed 0$", found.stderr, re.M)
    assert "refused at 1 gate of 17: parity" in found.stderr
    assert re.search(r"^passed   roc_auc  +ROC-AUC", found.stderr, re.M)
    report = json.loads(found.stdout)
    assert (report["accepted"], report["data"]["rows"]) == (False, 1_000)
    with unread_stream("gone") as stream:
        unread = run("training", *promote, "--data", "later.parquet", cwd=tiny, stdout=stream)
    assert unread.returncode == 79
    assert unread.stderr.splitlines()[-1] == found.stderr.splitlines()[-1]
    unmeasured = command("training", *promote, cwd=tiny)
    assert (unmeasured.returncode, unmeasured.stdout) == (2, "")


def test_on_a_terminal_promote_shows_a_table_and_no_json(tiny):
    write_table(shop_users(1_000, 2), tiny / "later.parquet")
    promote = ("promote", tiny / "bundle", "--to", tiny / "shown", "--data", tiny / "later.parquet")
    code, output = run_in_terminal("training", *promote)
    assert code == 0, output
    assert "\x1b[32mpassed\x1b[0m  parity" in output
    assert "is the current bundle" in output
    assert "{" not in output


def test_rollback_makes_a_named_version_the_current_one(tiny, command):
    command("training", "promote", "bundle", "--to", "back", cwd=tiny)
    version = open_bundle(tiny / "back").path.name
    found = command("training", "rollback", "back", "--version", version, cwd=tiny)
    assert (found.returncode, found.stdout) == (0, "")
    assert found.stderr == f"back/{version} is the current bundle\n"
    assert command("training", "rollback", "back", cwd=tiny).returncode == 78


def test_backtest_prints_its_figures(tiny, command):
    score = command(
        *("engine", "score", "users.parquet", "--bundle", "bundle", "--out", "scores.parquet"),
        cwd=tiny,
    )
    assert score.returncode == 0, score.stderr
    found = command(
        *("training", "backtest", "scores.parquet", "--outcomes", "users.parquet"),
        *("--schema", "tiny.toml"),
        cwd=tiny,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "1,500 of 1,500 scores have an outcome.\n" in found.stdout
    assert "Contacted users against the control group" in found.stdout


def test_a_promotion_whose_figures_nobody_can_read_is_told(tiny):
    write_table(shop_users(1_000, 2), tiny / "later.parquet")
    promote = ("training", "promote", "bundle", "--to", "unread", "--data", "later.parquet")
    with unread_stream("full") as stream:
        found = run(*promote, cwd=tiny, stdout=stream)
    place = open_bundle(tiny / "unread").path
    assert found.returncode == 74
    assert f"unread/{place.name} is the current bundle; only the measurements" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fit", "users.parquet", "--out", "bundle"], 73),
        (["fit", "absent.parquet", "--out", "new"], 66),
        (["fit", "users.parquet", "--out", "new", "--schema", "absent.toml"], 78),
        (["fit", "users.parquet", "--out", "new", "--playbook", "tiny.toml"], 78),
        (["fit", "users.parquet", "--out", "new"], 65),
        (["fit", "--out", "new"], 2),
        (["evaluate", "absent", "users.parquet"], 78),
        (["evaluate", "bundle", "users.parquet", "--json", "absent/m.json"], 73),
        (["promote", "absent", "--to", "models"], 78),
        (["rollback", "absent"], 78),
        (["backtest", "users.parquet", "--outcomes", "users.parquet"], 65),
        (["backtest", "absent.parquet", "--outcomes", "users.parquet"], 66),
        (["backtest", "users.parquet"], 2),
        (["fit", "users.parquet", "--out", "new", "--previous", "absent"], 78),
        (["simulate", "--out", "new.csv", "--as-of", "0001-01-01"], 2),
        (["simulate", "--out", "/dev/null"], 73),
        (["simulate", "--out", "loop.csv"], 73),
        (["simulate", "--out", f"{'x' * 300}.csv"], 73),
        (["simulate", "--out", f"{'x' * 245}.csv"], 73),
        (["simulate", "--out", "\udcff.parquet"], 73),
        (["simulate", "--out", "new.csv", "--rows", "9" * 20], 2),
        (["fit", "users.parquet", "--schema", "tiny.toml", "--out", "loop.csv"], 73),
        (["fit", "users.parquet", "--schema", "tiny.toml", "--out", "x" * 300], 73),
        (["evaluate", "bundle", "users.parquet", "--json", "loop.csv"], 73),
        (["evaluate", "bundle", "users.parquet", "--json", "x" * 300], 73),
        (["evaluate", "loop.csv", "users.parquet", "--json", "new"], 78),
        (["evaluate", "bundle", "loop.csv", "--json", "new"], 66),
        (["report", "bundle", "users.parquet", "--out", "loop.html"], 73),
        (["report", "bundle", "users.parquet", "--out", f"{'x' * 300}.html"], 73),
        (["report", "bundle", "users.parquet", "--out", "new.html", "--what-if", "loop.csv"], 73),
        (["report", "bundle", "users.parquet", "--out", "new.html", "--what-if", "x" * 300], 73),
        (["promote", "bundle", "--to", "loop.csv"], 73),
        (["promote", "bundle", "--to", "x" * 300], 73),
        (["promote", "bundle", "--to", "bundle"], 2),
        (["fit", "users.parquet", "--schema", "tiny.toml", "--out", "bundle/new"], 2),
        (["simulate", "--out", "bundle/native/new.csv"], 2),
    ],
)
def test_failures_have_their_exit_codes(tiny, command, arguments, code):
    found = command("training", *arguments, cwd=tiny)
    assert found.returncode == code, found.stderr
    assert found.stderr.count("\n") <= 4
    assert "a bug" not in found.stderr
    assert not list(tiny.rglob("new*"))
    assert not list(tiny.rglob(".*staging*"))


def test_a_process_that_fails_says_one_line(tiny):
    found = run("training", "evaluate", "bundle", "absent.parquet", cwd=tiny)
    assert found.returncode == 66
    assert found.stderr.startswith("training: ")
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""


@pytest.mark.parametrize("words", [("fit",), ("evaluate", "bundle"), ("report", "bundle")])
@pytest.mark.parametrize("folder", ["bundle", "force"])
def test_a_bundle_is_no_table_of_users(tiny, command, words, folder):
    (tiny / "force").mkdir(exist_ok=True)
    (tiny / "force" / "CURRENT").write_text(f"v1 {64 * '0'}\n")
    out = () if words[0] == "evaluate" else ("--out", "new.html")
    found = command("training", *words, folder, *out, cwd=tiny)
    assert found.returncode == 65
    assert f"{folder}: is a bundle or a folder of bundles, not a table of users." in found.stderr
    assert not (tiny / "new.html").exists()


@pytest.mark.parametrize("words", [("fit", "--out", "new"), ("evaluate", "bundle")])
def test_data_whose_name_no_file_can_have_is_not_there(tiny, command, words):
    found = command("training", *words, "x" * 300, cwd=tiny)
    assert found.returncode == 66
    assert "no such file (File name too long)" in found.stderr


def test_a_lean_install_is_told_what_to_install(monkeypatch, command):
    monkeypatch.setattr("engine.cli.options.find_spec", lambda _: None)
    found = command("training", "fit", "users.parquet", "--out", "new")
    assert found.returncode == 2
    assert "pip install 'shopnow-scoring[training]'" in found.stderr
