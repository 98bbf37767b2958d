"""The list of faults in docs/internals/reliability.md is whole, true to the tests, and that of the project."""

import os
import re
from pathlib import Path

import pytest

from benchmarks.reliability import DOCUMENT, IMPOSSIBLE, cases, cases_table, places
from tests.helpers import ROOT

FAULTS = Path(os.environ.get("FAULTS", ROOT.parent / "shared" / "faults.md"))


def test_the_list_of_faults_is_that_of_the_tests():
    assert f"<!-- cases -->\n{cases_table()}<!-- /cases -->" in DOCUMENT.read_text(), (
        "python -m benchmarks.reliability writes it anew"
    )


@pytest.mark.parametrize("number", cases())
def test_every_fault_is_tested_or_cannot_arise(number):
    assert cases()[number].startswith(IMPOSSIBLE) != bool(places(number))


def test_every_fault_of_the_project_is_listed():
    if not FAULTS.exists():
        pytest.skip(f"FAULTS names no list of faults, and there is none at {FAULTS}")
    assert set(re.findall(r"\b[A-I]\d\d\b", FAULTS.read_text())) <= set(cases())
