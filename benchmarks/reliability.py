"""What the fault tests did, and the list of faults, put where docs/internals/reliability.md shows them.

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
    "failing calls": "open, write, fsync, rename, … that failed with EIO or ENOSPC and ended the run",
    "disks too small": "disks that were too small",
    "file sizes too small": "limits of the size of files that were too small",
    "bits flipped in a bundle": "bits flipped in a bundle, each refused",
    "damaged inputs": "damaged Parquet, CSV, gzip, Arrow IPC and NDJSON files",
    "damaged bundles": "damaged manifests, graphs, playbooks, references and conformance rows with sound hashes",
}
"""What tests record with `record_property`, and its words; in the order of the table."""


def cases() -> dict[str, str]:
    """Every fault by its number: what it is and leads to, or why it cannot arise."""
    found: dict[str, str] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        listed = getattr(import_module(f"tests.faults.{path.stem}"), "CASES", {})
        twice = sorted(found.keys() & listed.keys())
        if twice:
            sys.exit(f"{path.name}: listed elsewhere too: {', '.join(twice)}.")
        found |= listed
    return dict(sorted(found.items()))


def places(number: str) -> list[str]:
    """The files of tests that bear the number of a fault, in a name of a test or of its parameters."""
    named = re.compile(rf"(?<![A-Za-z0-9]){number}(?![A-Za-z0-9])", re.IGNORECASE)
    return [
        path.name
        for path in sorted(TESTS.glob("test_*.py"))
        if named.search(re.sub(r'^    "[A-I]\d\d": ".*",$', "", path.read_text(), flags=re.M))
    ]


def cases_table() -> str:
    """One row a fault."""
    text = "| | fault: what it leads to | tested in |\n|---|---|---|\n"
    for number, words in cases().items():
        links = [f"[{name}](../../tests/faults/{name})" for name in places(number)]
        where = "" if words.startswith(IMPOSSIBLE) else ", ".join(links)
        text += f"| {number} | {words.replace('|', chr(92) + '|')} | {where} |\n"
    return text


def figures_table(results: ElementTree.Element) -> str:
    """One row a kind of fault: how often it was made, and in how many tests a promise was broken."""
    made: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for test in results.iter("testcase"):
        has_failed = test.find("failure") is not None or test.find("error") is not None
        for entry in test.iter("property"):
            made[entry.attrib["name"]] += int(entry.attrib["value"])
            broken[entry.attrib["name"]] += has_failed
    unknown = made.keys() ^ COUNTED.keys()
    if unknown:
        sys.exit(f"the results have other counts than those of the table: {sorted(unknown)}.")
    text = "| what was done to a run | times | tests that failed |\n|---|---:|---:|\n"
    return text + "".join(f"| {w} | {made[n]:,} | {broken[n]} |\n" for n, w in COUNTED.items())


def main() -> None:
    """Write both tables into the document."""
    results = ElementTree.Element("results")
    results.extend(ElementTree.parse(path).getroot() for path in sys.argv[1:])
    write_between(DOCUMENT, "figures", figures_table(results))
    write_between(DOCUMENT, "cases", cases_table())


if __name__ == "__main__":
    main()
