"""The CPU time of scoring inside Ray Data, beside `engine score` on the same users.

Usage: python -m benchmarks.ray [USERS.parquet] [--into docs/scaling.md]

CPU time is that of this process and of all that Ray starts, from /proc (Linux). Everything runs once
before it is measured, so that the workers have opened the bundle. Without a file, 240,000 users are
simulated first.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import BUNDLE
from benchmarks.spark import cpu_seconds, one_machine
from benchmarks.users import given_or_simulated

CORES = 2
ROUNDS = 3
BYTES = 2_000_000_000
"""Of the object store, in which outcomes are kept."""


def contenders(users: Any) -> dict[str, Callable[[], Any]]:
    """What is measured, by its name in the table."""
    from engine import load_bundle
    from engine.connectors.ray import score

    columns = list(load_bundle(BUNDLE).columns)

    def read() -> None:
        users.select_columns(columns).map_batches(
            lambda batch: batch.slice(0, 0), batch_format="pyarrow"
        ).materialize()

    return {
        "read only": read,
        'score, `duplicates="checked"`': lambda: score(users, BUNDLE, duplicates="checked").check(),
        'score, `duplicates="check"`': lambda: score(users, BUNDLE).check(),
    }


def measure(run: Callable[[], Any]) -> float:
    """The CPU seconds of a contender, the median of the rounds."""
    run()
    taken = []
    for _ in range(ROUNDS):
        before = cpu_seconds(os.getpid())
        run()
        taken.append(cpu_seconds(os.getpid()) - before)
    return statistics.median(taken)


def table(costs: dict[str, float], rows: int, version: str) -> str:
    """The costs as Markdown."""
    lines = [
        f"| {name} | {seconds:.1f} | {seconds / rows * 1e6:.1f} |"
        for name, seconds in costs.items()
    ]
    return "\n".join(
        [
            f"| {rows:,} users | CPU seconds | µs/user |",
            "|---|---:|---:|",
            *lines,
            "",
            f"Ray {version}, {CORES} cores; medians of {ROUNDS} rounds. `python -m benchmarks.ray --into "
            "docs/scaling.md` regenerates this table.",
            "",
        ]
    )


def main() -> None:
    """Print the table, and write it into a document if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray")
    parser.add_argument("users", nargs="?", type=Path)
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    with given_or_simulated(arguments.users) as path:
        costs = {"`engine score`, without Ray": one_machine(path).cpu_seconds}
        ray.init(num_cpus=CORES, include_dashboard=False, object_store_memory=BYTES)
        ray.data.DataContext.get_current().enable_progress_bars = False
        users = ray.data.read_parquet(str(path))
        costs |= {name: measure(run) for name, run in contenders(users).items()}
        text = table(costs, users.count(), ray.__version__)
        ray.shutdown()
    print(text)
    if arguments.into:
        from benchmarks.report import write_between

        write_between(arguments.into, "ray", text)


if __name__ == "__main__":
    main()
