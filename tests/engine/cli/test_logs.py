import json
import logging

import pytest

from engine.cli.logs import logged_lines
from engine.logs import LOG


@pytest.mark.parametrize(
    ("level", "text"),
    [(logging.INFO, "one\\x1b[2J\\ntwo\n"), (logging.ERROR, "engine: one\\x1b[2J\\ntwo\n")],
)
def test_a_record_is_one_line_without_control_characters(capsys, level, text):
    with logged_lines("engine"):
        LOG.log(level, "%s", "one\x1b[2J\ntwo")
    assert capsys.readouterr().err == text


def test_a_record_may_have_lines(capsys):
    with logged_lines("engine"):
        LOG.info("both", extra={"lines": ["one\n", "two"]})
    assert capsys.readouterr().err == "one\\n\ntwo\n"


def test_json_is_one_object_a_line(capsys):
    with logged_lines("engine") as lines:
        lines.as_json = True
        LOG.error("%s", "one\ntwo", extra={"fields": {"exit_code": 65}})
        LOG.info("more")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    stated = {"level": "error", "program": "engine", "message": "one\ntwo", "exit_code": 65}
    assert first == stated
    assert second["level"] == "info"


def test_nothing_is_shown_after_the_command(capsys):
    with logged_lines("engine"):
        pass
    LOG.info("late")
    assert capsys.readouterr().err == ""
