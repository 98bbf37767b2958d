"""Writes the results of the fault tests and the list of faults into docs/internals/reliability.md.

Usage: python -m benchmarks.reliability build/faults.xml
"""

import re
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.report import write_between

TESTS = Path(__file__).parent.parent / "tests" / "faults"
DOCUMENT = TESTS.parent.parent / "docs" / "internals" / "reliability.md"
IMPOSSIBLE = "cannot arise"
COUNTED = {
    "killed before a step": "`kill -9` before a step that changes a file",
    "killed at any time": "`kill -9` at a time spread over the run",
    "terminated at any time": "SIGTERM at a time spread over the run",
    "failing calls": "open, write, fsync, rename, … failing with EIO or ENOSPC and ending the run",
    "disks too small": "disks too small for the outputs",
    "file sizes too small": "file size limits too small for the outputs",
    "bits flipped in a bundle": "bits flipped in a bundle, each refused",
    "damaged inputs": "damaged Parquet, CSV, gzip, Arrow IPC and NDJSON files",
    "damaged bundles": "damaged manifests, graphs, playbooks, references and conformance rows with recomputed hashes",
}
"""The properties that tests record, with their descriptions, in the order of the table."""


def cases() -> dict[str, str]:
    """Every fault by its number: the fault and its outcome, or why it cannot arise."""
    found: dict[str, str] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        listed = getattr(import_module(f"tests.faults.{path.stem}"), "CASES", {})
        twice = sorted(found.keys() & listed.keys())
        if twice:
            sys.exit(f"{path.name}: already listed in another file: {', '.join(twice)}.")
        found |= listed
    return dict(sorted(found.items()))


def places(number: str) -> list[str]:
    """The test files that name a fault in a test or in its parameters."""
    named = re.compile(rf"(?<![A-Za-z0-9]){number}(?![A-Za-z0-9])", re.IGNORECASE)
    files = [*TESTS.glob("test_*.py"), *(TESTS.parent / "integration").rglob("test_*.py")]
    return [
        str(path.relative_to(TESTS.parent))
        for path in sorted(files)
        if named.search(re.sub(r'^    "[A-Z]\d\d": ".*",$', "", path.read_text(), flags=re.M))
    ]


def cases_table() -> str:
    """One row per fault."""
    text = "| | fault: outcome | tested in |\n|---|---|---|\n"
    for number, words in cases().items():
        links = [f"[{Path(n).name}](../../tests/{n})" for n in places(number)]
        where = "" if words.startswith(IMPOSSIBLE) else ", ".join(links)
        text += f"| {number} | {words.replace('|', chr(92) + '|')} | {where} |\n"
    return text


def figures_table(results: ElementTree.Element) -> str:
    """One row per kind of fault: how often it was injected, and how many tests failed."""
    made: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for test in results.iter("testcase"):
        has_failed = test.find("failure") is not None or test.find("error") is not None
        for entry in test.iter("property"):
            made[entry.attrib["name"]] += int(entry.attrib["value"])
            broken[entry.attrib["name"]] += has_failed
    unknown = made.keys() ^ COUNTED.keys()
    if unknown:
        sys.exit(f"the counts of the results and of the table differ: {sorted(unknown)}.")
    text = "| fault injected | times | failed tests |\n|---|---:|---:|\n"
    return text + "".join(f"| {w} | {made[n]:,} | {broken[n]} |\n" for n, w in COUNTED.items())


def main() -> None:
    """Write both tables into the document."""
    results = ElementTree.Element("results")
    results.extend(ElementTree.parse(path).getroot() for path in sys.argv[1:])
    write_between(DOCUMENT, "figures", figures_table(results))
    write_between(DOCUMENT, "cases", cases_table())


if __name__ == "__main__":
    main()
