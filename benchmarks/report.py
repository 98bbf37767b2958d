"""The table of the benchmarks: printed, and put between the marks of a Markdown file.

Usage: python -m benchmarks.report build/benchmark.json README.md
"""

import json
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

MARKED = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)
HEAD = """\
| 240,000 users, whole process | wall s, median (min) | CPU s | peak MiB | users a second |
|---|---:|---:|---:|---:|
"""


def table(document: dict) -> str:
    """One row a contender, in the order they ran."""
    rows = []
    for entry in document["benchmarks"]:
        info, stats = entry["extra_info"], entry["stats"]
        rows.append(
            f"| {info['title']} | {stats['median']:.2f} ({stats['min']:.2f}) "
            f"| {info['cpu_seconds']:.2f} | {info['peak_bytes'] / 2**20:.0f} "
            f"| {info['rows'] / stats['median']:,.0f} |\n"
        )
    cpu = document["machine_info"]["cpu"]
    packages = ("polars", "onnxruntime", "lightgbm", "scikit-learn", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    machine = (
        f"\n{cpu.get('count')} cores ({cpu.get('brand_raw', 'unknown')}), {platform.system()}, "
        f"Python {platform.python_version()}, {versions}; {stats['rounds']} rounds. "
        "`make bench` measures this anew.\n"
    )
    return HEAD + "".join(rows) + machine


def main() -> None:
    """Print the table and write it into the file."""
    source, target = map(Path, sys.argv[1:])
    text = table(json.loads(source.read_text()))
    print(text)
    before = target.read_text()
    if not MARKED.search(before):
        sys.exit(f"{target}: no <!-- benchmarks --> marks to write between.")
    target.write_text(MARKED.sub(lambda found: found[1] + text + found[2], before))


if __name__ == "__main__":
    main()
