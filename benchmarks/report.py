"""Write the benchmark results into the documents.

Usage: python -m benchmarks.report build/benchmark.json
"""

import json
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.contenders import ROOT
from benchmarks.plot import bars

README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "pictures" / "rows_per_second.svg"
NIGHTLY_HEAD = """\
| 240,000 users, whole process | wall s, median (min) | CPU s | peak MiB | users a second |
|---|---:|---:|---:|---:|
"""


def nightly_table(document: dict) -> str:
    """One row per contender, in the order they ran."""
    rows = []
    for entry in group(document, "nightly"):
        info, stats = entry["extra_info"], entry["stats"]
        rows.append(
            f"| {info['title']} | {stats['median']:.2f} ({stats['min']:.2f}) "
            f"| {info['cpu_seconds']:.2f} | {info['peak_bytes'] / 2**20:.0f} "
            f"| {info['rows'] / stats['median']:,.0f} |\n"
        )
    return NIGHTLY_HEAD + "".join(rows) + machine(document, "nightly")


def drivers_table(document: dict) -> str:
    """One column per model, one row per contender: seconds for all users, and ratios."""
    models = [entry["extra_info"] for entry in group(document, "drivers")]
    ours, *others = models[0]["seconds"]
    scaled = models[0]["scaled"]
    gives = {"drivers": "score, impacts, top 3", "impacts": "impacts", "score": "score"}

    def row(title: str, cells: list[str]) -> str:
        return f"| {title} | {' | '.join(cells)} |\n"

    def seconds(title: str) -> list[str]:
        return [f"{model['seconds'][title]:.3g}" for model in models]

    def times(title: str) -> list[str]:
        ratios = (model["seconds"][title] / model["seconds"][ours] for model in models)
        return [f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}" for ratio in ratios]

    text = row(f"seconds for {models[0]['rows']:,} users", [m["title"] for m in models])
    text += "|---|" + "---:|" * len(models) + "\n"
    for title in (ours, *others):
        mark = " †" if title in scaled else ""
        text += row(f"{title}: {gives[models[0]['gives'][title]]}{mark}", seconds(title))
    text += "".join(row(f"{title} ÷ {ours}", times(title)) for title in others)
    ns = [f"{model['graph_ns']:.0f} ({model['estimated_ns']:.0f})" for model in models]
    text += row("graph on one core, ns a user (estimate)", ns)
    text += row("graph size, MB", [f"{model['graph_bytes'] / 1e6:.2f}" for model in models])
    text += row("session start, ms", [f"{model['session_seconds'] * 1e3:.1f}" for model in models])
    notes = [f"† measured on {rows:,} users and extrapolated" for rows in {*scaled.values()}]
    notes += [f"{title}: not installed, left out" for title in models[0]["missing"]]
    threads = f"{models[0]['threads']} threads, contenders of a model interleaved"
    return f"{text}\n{'; '.join([*notes, threads])}.{machine(document, 'drivers')}"


def plot(document: dict) -> str:
    """Rows per second of each contender on each model, as SVG."""
    return bars(
        {
            info["title"]: {
                title: (info["rows"] / seconds, info["gives"][title])
                for title, seconds in info["seconds"].items()
            }
            for info in (entry["extra_info"] for entry in group(document, "drivers"))
        }
    )


def group(document: dict, name: str) -> list[dict]:
    """The benchmarks of one group."""
    return [entry for entry in document["benchmarks"] if entry["group"] == name]


def machine(document: dict, name: str) -> str:
    """The machine, versions and rounds of a group."""
    counts = sorted({entry["stats"]["rounds"] for entry in group(document, name)})
    rounds = " to ".join(map(str, counts))
    cpu = document["machine_info"]["cpu"]
    packages = ("polars", "onnxruntime", "lightgbm", "scikit-learn", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"\n{cpu.get('count')} cores ({cpu.get('brand_raw', 'unknown')}), {platform.system()}, "
        f"Python {platform.python_version()}, {versions}; medians of {rounds} rounds. "
        "`make bench` measures this anew.\n"
    )


def write_between(path: Path, mark: str, text: str) -> None:
    """Replace the text between `<!-- mark -->` and `<!-- /mark -->`."""
    marked = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    before = path.read_text()
    if not marked.search(before):
        sys.exit(f"{path}: no <!-- {mark} --> marks.")
    path.write_text(marked.sub(lambda found: found[1] + text + found[2], before))


def main() -> None:
    """Print the tables and write them into the documents."""
    document = json.loads(Path(sys.argv[1]).read_text())
    tables = {
        ("nightly", README, "benchmarks"): nightly_table,
        ("drivers", PERFORMANCE, "drivers"): drivers_table,
    }
    for (name, path, mark), table in tables.items():
        if group(document, name):
            text = table(document)
            print(text)
            write_between(path, mark, text)
    if group(document, "drivers"):
        PLOT.write_text(plot(document))


if __name__ == "__main__":
    main()
