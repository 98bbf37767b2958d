import re

import pytest
from click.testing import CliRunner

from engine.cli.main import main as engine_main
from engine.cli.render import wrap
from tests.helpers import BUNDLE, run, run_in_terminal
from training.cli import main as training_main

GREEN, RED = "\x1b[32m", "\x1b[31m"
BAR = re.compile(r"scoring  [█░]+ +\d+%")
COMMANDS = [
    (group, name) for group in (engine_main, training_main) for name in sorted(group.commands)
]


def test_a_status_has_a_colour_on_a_terminal():
    code, output = run_in_terminal("engine", "inspect", BUNDLE)
    assert code == 0
    assert f"\n{GREEN}usable\x1b[0m: passed every quality check\n" in output
    code, output = run_in_terminal("engine", "inspect", "absent")
    assert code == 78
    assert output.startswith(f"{RED}engine\x1b[0m: absent: no such bundle. ")


def test_there_is_no_colour_elsewhere():
    assert "\x1b" not in run_in_terminal("engine", "inspect", BUNDLE, env={"NO_COLOR": "1"})[1]
    assert "\x1b" not in run("engine", "inspect", BUNDLE).stdout
    assert "\x1b" not in run("engine", "inspect", "absent").stderr


def test_a_terminal_shows_how_far_a_run_has_come(users_file, tmp_path):
    command = ("engine", "score", users_file, "-o", tmp_path / "s.csv", "--if-exists", "replace")
    code, output = run_in_terminal(*command)
    assert code == 0, output
    assert re.search(BAR.pattern + r"  [\d,]+ rows/s", output)
    assert "5,000 scored" in output
    for quieter in ("--quiet", "-v", "--log-format=json"):
        code, output = run_in_terminal(*command, quieter)
        assert code == 0, output
        assert not BAR.search(output)
    assert not BAR.search(run(*command).stderr)


def test_results_are_wrapped_to_the_terminal():
    _, narrow = run_in_terminal("engine", "inspect", BUNDLE, "--full", columns=80)
    lines = re.sub(r"\x1b\[\d+m", "", narrow).splitlines()
    assert max(map(len, lines)) <= 80
    assert max(map(len, run("engine", "inspect", BUNDLE, "--full").stdout.splitlines())) > 100


def test_a_wrapped_line_keeps_its_last_column(monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    assert wrap("  +0.1  a value that is long") == "  +0.1  a value that is\n        long"
    assert wrap("one two three four five six") == "one two three four five\n  six"
    assert wrap("short") == "short"
    table_row = "a value of words  1.5 to 2.5"
    assert wrap(table_row) == table_row


@pytest.mark.parametrize(("group", "name"), COMMANDS)
def test_every_command_has_short_options(group, name):
    found = CliRunner().invoke(group, [name, "-h"])
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith(f"Usage: {group.name} {name} ")
    assert "-h, --help" in found.stdout
    out = [option for option in group.commands[name].params if "--out" in option.opts]
    assert all("-o" in option.opts for option in out)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("engine sc", "score"),
        ("engine score --if-exists r", "replace"),
        ("engine score users", "file"),
        ("training pro", "promote"),
    ],
)
def test_the_shell_completes_commands_options_and_files(words, expected):
    program = words.split()[0]
    asked = {
        f"_{program.upper()}_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    found = run(program, env=asked)
    assert (found.returncode, found.stderr) == (0, "")
    assert expected in re.split("[,\n]", found.stdout)
