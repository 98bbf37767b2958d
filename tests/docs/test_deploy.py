"""The recipes under deploy/ are valid, and treat every exit code as the runbook says."""

import ast
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml

from engine.cli.main import main
from engine.errors import EngineError
from tests.helpers import ROOT

DEPLOY = ROOT / "deploy"
BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RUNBOOK = {
    int(code): again
    for codes, again in re.findall(r"^\| ([\d, ]+) \|.*?\| ?(yes|no|skip|) ?\|", OPERATIONS, re.M)
    for code in codes.split(", ")
}
NEVER_AGAIN = {code for code, again in RUNBOOK.items() if again == "no"}


def test_the_runbook_has_every_exit_code():
    kinds = {kind.exit_code for kind in EngineError.__subclasses__()}
    assert kinds <= RUNBOOK.keys()
    assert {0, 1, 2, 69, 79, 129, 130, 134, 137, 143} <= RUNBOOK.keys()


def test_the_cron_job_is_a_command_of_the_engine():
    (line,) = (line for line in (DEPLOY / "crontab").read_text().splitlines() if "engine" in line)
    schedule = line.split()[:5]
    assert schedule == ["0", "3", "*", "*", "*"]
    check_command(line.split("1h ", 1)[1])


def unit(name):
    # NOTE: a unit may name an option twice; only systemd itself reads it all.
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / name)
    return parser


def test_the_service_is_repeated_only_where_that_may_help():
    service = unit("shopnow-scoring.service")["Service"]
    assert {int(c) for c in service["RestartPreventExitStatus"].split()} == NEVER_AGAIN
    assert service["Restart"] == "on-failure"
    check_command(service["ExecStart"])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_takes_the_units(tmp_path):
    for name in ("shopnow-scoring.service", "shopnow-scoring.timer"):
        text = (DEPLOY / name).read_text()
        here = str(Path(sys.executable).parent / "engine")
        (tmp_path / name).write_text(text.replace("/opt/shopnow/.venv/bin/engine", here))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_airflow_task_retries_only_where_that_may_help():
    tree = ast.parse((DEPLOY / "airflow_dag.py").read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and not any(map(is_starred, ast.walk(node)))
    }
    retried = {128 - code if code < 0 else code for code in constants["RETRY"]}
    assert not retried & NEVER_AGAIN
    assert retried == {code for code, again in RUNBOOK.items() if again == "yes"}
    assert constants["SKIP"] == {code for code, again in RUNBOOK.items() if again == "skip"}
    (command,) = (
        n.value for n in tree.body if isinstance(n, ast.Assign) and is_named(n, "COMMAND")
    )
    check_command(shlex.join(n.value for n in ast.walk(command) if isinstance(n, ast.Constant)))


def is_starred(node):
    return isinstance(node, ast.Starred)


def is_named(node, name):
    return node.targets[0].id == name


def test_kubernetes_takes_the_cron_job():
    document = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    spec = document["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    rules = job["podFailurePolicy"]["rules"]
    (by_code,) = (rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob")
    assert set(by_code["values"]) == NEVER_AGAIN
    (container,) = job["template"]["spec"]["containers"]
    assert container["name"] == by_code["containerName"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"requests", "limits"} == container["resources"].keys()
    check_command(shlex.join(container["command"]))


INSTRUCTIONS = [
    (line.split()[0], line.split(maxsplit=1)[1])
    for line in re.sub(r"#.*\n|\\\n", "", (DEPLOY / "Containerfile").read_text()).splitlines()
    if line.strip()
]


def instructions(name):
    return [rest for kind, rest in INSTRUCTIONS if kind == name]


@pytest.mark.skipif(shutil.which("hadolint", path=BIN) is None, reason="needs hadolint")
def test_hadolint_finds_nothing_in_the_containerfile():
    hadolint = shutil.which("hadolint", path=BIN)
    done = subprocess.run([hadolint, DEPLOY / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_container_runs_as_the_user_of_the_cron_job_and_not_as_root():
    document = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    user = pod["securityContext"]["runAsUser"]
    assert instructions("USER") == [f"{user}:{user}"]
    assert user > 0
    assert instructions("ENTRYPOINT") == ['["engine"]']
    # What follows decides nothing that root would have to do.
    last = [kind for kind, _ in INSTRUCTIONS].index("USER")
    assert {kind for kind, _ in INSTRUCTIONS[last:]} == {"USER", "ENTRYPOINT", "CMD"}


def test_the_container_installs_what_is_locked_by_hash_and_nothing_else():
    arguments = dict(rest.split("=", maxsplit=1) for rest in instructions("ARG"))
    name, tag = arguments["BASE"].split(":")
    assert (name, "latest" in tag) == ("python", False)
    assert re.match(r"3\.\d+-", tag)
    assert {rest.split()[0] for rest in instructions("FROM")} == {"${BASE}"}
    installs = [
        part for rest in instructions("RUN") for part in re.findall(r"pip install[^&]*", rest)
    ]
    assert installs
    for install in installs:
        assert "--no-deps" in install
        assert ("--require-hashes -r" in install) != ("--no-index" in install)
    for lock in (arguments["LOCK"], "requirements-signing.lock"):
        assert "--hash=sha256:" in (ROOT / lock).read_text()


def test_the_container_holds_no_secret():
    """Only the lock file and the wheel come from outside; no variable holds more than a path."""
    copied = [rest.split()[-2] for rest in instructions("COPY")]
    assert copied == ["${LOCK}", "dist/shopnow_scoring-*.whl", "/opt/engine"]
    assert not instructions("ADD")
    assert re.findall(r"(\w+)=", " ".join(instructions("ENV"))) == [
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
    ]


def check_command(line):
    """The engine knows command and options."""
    program, name, *arguments = shlex.split(line)
    assert Path(program).name == "engine"
    command = main.commands[name]
    with click.Context(main, info_name="engine", obj=Settings()) as parent:
        context = command.make_context(name, arguments, parent=parent)
    assert context.params["if_exists"] == "replace"


class Settings:
    as_json = False
