"""What scoring costs beside only reading and writing, and what the second core is worth.

Usage: python -m benchmarks.floor [--rounds 5]

The commands of a size run in turn, each in its own process; ratios are medians over the rounds, so that a
machine that slows down slows both sides. "One core" pins the engine to one, with one thread for everything;
`--threads 1` on two cores still reads and writes beside the scoring.
"""

import argparse
import os
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contenders import ROOT, Usage, engine, floor, measure
from training.simulate import SimulateOptions
from training.simulate.write import write_users

SMALL, LARGE = 240_000, 2_400_000
FLOOR, TWO, ONE, PINNED = "floor", "two threads", "one thread", "one core"

Rounds = Sequence[Mapping[str, Usage]]


def commands(users: Path, folder: Path) -> dict[str, list[str]]:
    """The commands that are compared on one size, by name."""
    scores = folder / "scores.parquet"
    found = {
        FLOOR: floor(users, folder / "floor.parquet"),
        TWO: engine(users, scores, "--threads", "2"),
        ONE: engine(users, scores, "--threads", "1"),
    }
    if shutil.which("taskset"):
        core = str(min(os.sched_getaffinity(0)))
        found[PINNED] = ["taskset", "--cpu-list", core, *engine(users, scores)]
    return found


def measured(users: int, rounds: int) -> Rounds:
    """The usage of every command, by round; the first round only fills caches."""
    folder = ROOT / "build" / "floor"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as removed:
        path = Path(removed) / "users.parquet"
        write_users(SimulateOptions(rows=users, seed=8, label=False), path)
        compared = commands(path, Path(removed))
        found = [
            {name: measure(command) for name, command in compared.items()}
            for _ in range(rounds + 1)
        ]
    return found[1:]


def ratio(rounds: Rounds, name: str, other: str, figure: Callable[[Usage], float]) -> str:
    """The median over the rounds of one command's figure by another's, and its range."""
    ratios = [figure(each[name]) / figure(each[other]) for each in rounds]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def table(sizes: Mapping[int, Rounds]) -> str:
    """One row a ratio, one column a size."""

    def wall(usage: Usage) -> float:
        return usage.wall_seconds

    def cpu(usage: Usage) -> float:
        return usage.cpu_seconds

    rows = [
        ("wall time of `engine score` ÷ floor", TWO, FLOOR, wall),
        ("CPU time of `engine score` ÷ floor", TWO, FLOOR, cpu),
        ("wall time with `--threads 1` ÷ with two threads", ONE, TWO, wall),
        ("wall time on one core ÷ on two", PINNED, TWO, wall),
    ]
    rounds = next(iter(sizes.values()))
    lines = [
        f"| ratio, median of {len(rounds)} pairs (range) | "
        + " | ".join(f"{users:,} users" for users in sizes),
        "|---|" + "---:|" * len(sizes),
    ]
    for title, name, other, figure in rows:
        if name in rounds[0]:
            cells = [ratio(each, name, other, figure) for each in sizes.values()]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    lines[0] += " |"
    for title, figure in (("wall s", wall), ("CPU s", cpu)):
        cells = [statistics.median(figure(r[FLOOR]) for r in each) for each in sizes.values()]
        lines.append(f"| floor itself, {title} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure both sizes and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(table({users: measured(users, options.rounds) for users in (SMALL, LARGE)}))


if __name__ == "__main__":
    main()
