"""What the documents show is what runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import duckdb
import polars as pl
import pytest

import engine.cli.main
import training.cli
from benchmarks.online_shoppers import TABLE
from engine.activate.arms import arm_column
from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from engine.bundle.playbook import control_draws
from engine.bundle.schema import default_schema_path, load_schema
from tests.foreign import online_shoppers
from tests.helpers import ROOT
from tests.signing import copied_bundle
from training.playbook.rules import check_features, load_rules

README = (ROOT / "README.md").read_text()
ROLLBACK = "training rollback onnx_models/mine"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CAMPAIGNS = (ROOT / "docs" / "campaigns.md").read_text()
AUDIENCES = (ROOT / "docs" / "audiences.md").read_text()
DATABASES = (ROOT / "docs" / "databases.md").read_text()
PLAYBOOK = (ROOT / "docs" / "playbook.md").read_text()
RETRAINING = (ROOT / "docs" / "retraining.md").read_text()
YOUR_OWN_DATA = (ROOT / "docs" / "your_own_data.md").read_text()
SERVING = (ROOT / "docs" / "serving.md").read_text()
BUNDLE_DOCUMENT = (ROOT / "docs" / "bundle.md").read_text()
SUPPLY_CHAIN = (ROOT / "docs" / "supply_chain.md").read_text()
PROGRAMS = {"engine": engine.cli.main.main, "training": training.cli.main}
COMMANDS = [
    (program, name) for program, group in PROGRAMS.items() for name in sorted(group.commands)
]
# Fewer users and trials than the defaults of the commands that the documents show.
SMALL = {"TRAINING_SIMULATE_ROWS": "8000", "TRAINING_FIT_TRIALS": "1"}
WEEK = "--rows 60000"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with what a fresh clone has, where `make score` has been run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "onnx_models").mkdir()
    (folder / "onnx_models" / "shopnow").symlink_to(ROOT / "onnx_models" / "shopnow")
    (folder / "docs").symlink_to(ROOT / "docs")
    shell("training simulate --out users.parquet", folder)
    return folder


def shell(line, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, **SMALL, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{line}\n{result.stderr}"
    return result


def test_every_command_of_the_readme_runs_in_order(project):
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    commands = [line for line in lines if not line.startswith("make ")]
    assert len(commands) >= 8
    # In a sentence, so that nobody who pastes the week undoes it.
    assert f"`{ROLLBACK}`" in README
    for line in [*commands, ROLLBACK]:
        # With fewer, a gate cannot tell chance from loss.
        shell(line.replace(WEEK, "--rows 30000"), project)


def test_every_command_of_the_operations_page_runs_in_order(project):
    lines = [line for block in blocks("sh", OPERATIONS) for line in block.strip().splitlines()]
    assert len(lines) >= 4
    for line in lines:
        shell(line, project)


def test_the_campaign_of_its_page_goes_from_scores_to_the_next_playbook(project):
    for line in "".join(blocks("sh", CAMPAIGNS)).strip().splitlines():
        shell(line.replace("--rows 60000", "--rows 6000"), project)
    playbook = json.loads((project / "tested" / "playbook.json").read_text())
    actions = [row["action"] for row in playbook["rows"]]
    assert any("as in autumn" in action or "tested in autumn" in action for action in actions)


LAKEHOUSE = """
import deltalake, polars, pyiceberg.catalog
users = polars.read_parquet("users.parquet").to_arrow()
deltalake.write_deltalake("lake/users", users)
catalog = pyiceberg.catalog.load_catalog("lake")
catalog.create_namespace("shop")
catalog.create_table("shop.users", users.schema).append(users)
"""


def test_every_command_of_the_lakehouse_section_runs_in_order(project):
    pytest.importorskip("deltalake")
    pytest.importorskip("pyiceberg")
    (project / "lake").mkdir()
    (block,) = (text for text in blocks("sh", DATABASES) if "PYICEBERG" in text)
    _, *lines = block.strip().splitlines()
    fill = shlex.join([sys.executable, "-c", LAKEHOUSE])
    # The tables are filled once the catalogue is named.
    shell("\n".join(["set -e", *lines[:2], fill, *lines[2:]]), project)
    tables = {
        "lake/scores.summary.json": "delta:lake/users@v0",
        "lake.shop.scores.summary.json": "@v",
    }
    for summary, read in tables.items():
        found = json.loads((project / summary).read_text())
        assert read in found["inputs"][0]
        assert re.fullmatch(r"(delta:lake/|iceberg:lake\.shop\.)scores@v\d+", found["out"])


def test_a_bundle_is_signed_promoted_and_scored_with_as_its_page_shows(project, tmp_path):
    copied_bundle(tmp_path / "candidate")
    (tmp_path / "users.parquet").symlink_to(project / "users.parquet")
    (block,) = blocks("sh", SUPPLY_CHAIN)
    for line in block.strip().splitlines():
        shell(line, tmp_path)
    summary = json.loads((tmp_path / "signed_scores.parquet.summary.json").read_text())
    shown = shell("sha256sum signing.pub.pem", tmp_path).stdout
    assert summary["signed_by"] == shown.split()[0]


def test_every_metric_is_on_the_operations_page(project):
    shell("engine score users.parquet --out metered.parquet --metrics-file m.prom", project)
    named = set(re.findall(r"^# TYPE (\w+)", (project / "m.prom").read_text(), re.MULTILINE))
    assert named == set(re.findall(r"`(engine_score_\w+)`", OPERATIONS))


def test_every_command_of_the_week_is_one_of_the_readme():
    commands = "".join(blocks("sh", RETRAINING)).strip().splitlines()
    assert {"training promote", "training rollback", "training backtest"} <= {
        " ".join(line.split()[:2]) for line in commands
    }
    assert set(commands) <= {ROLLBACK, *README.splitlines()}


def test_the_readme_is_short():
    assert len(README.splitlines()) < 120


def test_a_bundle_is_exported_as_the_page_of_model_servers_shows(project):
    mlflow, _, triton, _ = "".join(blocks("sh", SERVING)[::2]).splitlines()
    lines = [triton] if find_spec("mlflow") is None else [triton, mlflow]
    for line in lines:
        assert line.startswith("training export ")
        shell(line, project)
        assert any((project / line.split()[-1]).iterdir())


def test_every_make_target_of_the_readme_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    makefile = (ROOT / "Makefile").read_text()
    assert named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_every_python_block_of_the_bundle_page_runs(project):
    found = blocks("python", BUNDLE_DOCUMENT)
    assert found
    for block in found:
        subprocess.run([sys.executable, "-c", block], cwd=project, check=True, capture_output=True)


def test_a_table_of_other_people_goes_the_way_that_its_document_shows(tmp_path, command):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "onnx_models").mkdir()
    (tmp_path / TABLE).symlink_to(online_shoppers())
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", YOUR_OWN_DATA, re.DOTALL):
        if language == "python":
            shell(shlex.join([sys.executable, "-c", block]), tmp_path)
        else:
            for line in block.strip().splitlines():
                small = line.replace(WEEK, "--rows 3000")
                if small.startswith(("engine ", "training ")):
                    found = command(*shlex.split(small))
                    assert found.returncode == 0, f"{small}\n{found.stderr}"
                else:
                    shell(small, tmp_path)
    scores = pl.read_parquet(tmp_path / "new_scores.parquet")
    assert scores["row"].to_list() == list(range(1, 2_331))
    evaluations = [read_evaluation(open_bundle(tmp_path / n)) for n in ("sessions", "honest")]
    first = [evaluation.drivers["features"][0]["name"] for evaluation in evaluations]
    assert (first[0] == "PageValues", first[1] == "PageValues") == (True, False)
    assert read_evaluation(open_bundle(tmp_path / "weekly")).fit.training["split"]["kind"] == "time"


def test_the_schema_of_your_own_data_is_valid(tmp_path):
    table, phrases = blocks("toml", YOUR_OWN_DATA)
    (tmp_path / "phrases.toml").write_text(f'name = "x"\n{phrases}')
    assert load_schema(tmp_path / "phrases.toml").features[0].phrases
    (tmp_path / "mine.toml").write_text(table)
    whole = load_schema(ROOT / "docs" / "online_shoppers.toml")
    named = {feature.name for feature in load_schema(tmp_path / "mine.toml").features}
    assert named < {feature.name for feature in whole.features}


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_every_command_is_in_the_documents_and_its_help_ends_with_an_example(program, name):
    command = PROGRAMS[program].commands[name]
    help_text = command.get_help(click.Context(command, info_name=name)).rstrip()
    example = re.search(rf"Example:\n +({program} {name}.*)$", help_text)
    assert example
    # Every line of these blocks is run by the tests above.
    assert example[1] in {ROLLBACK, *README.splitlines(), *SUPPLY_CHAIN.splitlines()}


IDS = ["U00000001", "", "Zoë 🛒", "o'hara\n", "control-v1:", *(f"user {n}" for n in range(500))]


@pytest.fixture(scope="module")
def in_control():
    return [draw < 0.05 * 2**32 for draw in control_draws(pl.Series(IDS)).tolist()]


def test_the_control_group_in_sql_is_that_of_the_engine(in_control):
    (query,) = blocks("sql", PLAYBOOK)
    users = pl.DataFrame({"user_id": IDS})  # noqa: F841 - the query reads it by name
    found = dict(duckdb.sql(query).fetchall())
    assert [found[user] for user in IDS] == in_control
    assert any(in_control)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_control_group_in_javascript_is_that_of_the_engine(in_control):
    (code,) = blocks("js", PLAYBOOK)
    call = f"console.log(JSON.stringify({json.dumps(IDS)}.map(id => inControlGroup(id, 0.05))))"
    done = subprocess.run(["node", "-e", code + call], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == in_control


def test_every_command_of_the_audiences_page_runs_in_order(project):
    lines = [line for block in blocks("sh", AUDIENCES) for line in block.strip().splitlines()]
    assert len(lines) >= 4
    for line in lines:
        shell(line, project)
    assert pl.read_csv(project / "list.csv").height == 1_000


@pytest.fixture(scope="module")
def arms():
    return arm_column(pl.Series(IDS), "spring", {"offer": 0.5, "reminder": 0.5}).to_list()


def test_the_arms_in_sql_are_those_of_the_engine(arms):
    query, _ = blocks("sql", AUDIENCES)
    users = pl.DataFrame({"user_id": IDS})  # noqa: F841 - the query reads it by name
    found = dict(duckdb.sql(query).fetchall())
    assert [found[user] for user in IDS] == arms
    assert len(set(arms)) == 2


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_arms_in_javascript_are_those_of_the_engine():
    (code,) = blocks("js", AUDIENCES)
    arms = {"c": 0.1, "a": 0.2, "b": 0.7}
    given = json.dumps(list(arms.items()))
    call = f"console.log(JSON.stringify({json.dumps(IDS)}.map(id => armOf(id, 'x', {given}))))"
    done = subprocess.run(["node", "-e", code + call], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == arm_column(pl.Series(IDS), "x", arms).to_list()


def test_the_rules_of_the_playbook_document_are_valid(tmp_path):
    (text,) = blocks("toml", PLAYBOOK)
    (tmp_path / "mine.toml").write_text(text)
    rules = load_rules(tmp_path / "mine.toml")
    check_features(rules, load_schema(default_schema_path()))
    assert rules.currency == "EUR"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), target


def test_no_index_address_in_the_lock_files():
    for path in sorted(ROOT.glob("requirements*.lock")):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index" not in text
