"""Time and memory per user on one machine, from 240,000 to 24 million users.

Usage: python -m benchmarks.scale [--most 24000000] [--into docs/scaling.md]

Each size is simulated into build/scale, scored by `engine score` with drivers in its own process, and
removed. With `--into`, the table goes between the document's marks and the plot into its pictures.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contenders import ROOT, Usage, engine, measure
from benchmarks.report import write_between
from benchmarks.scale_plot import curves
from training.simulate import SimulateOptions
from training.simulate.write import write_users

SIZES = (240_000, 2_400_000, 24_000_000)
ROUNDS = {240_000: 5, 2_400_000: 3}
PLOT = "scale.svg"


@dataclass(frozen=True, slots=True)
class Size:
    """A number of users, and the median run on them."""

    users: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def wall_microseconds(self) -> float:
        """For one user."""
        return 1e6 * self.wall_seconds / self.users

    @property
    def cpu_microseconds(self) -> float:
        """For one user."""
        return 1e6 * self.cpu_seconds / self.users


def measured(users: int, folder: Path, rounds: int = 1) -> Size:
    """Simulate and score users, then remove them; medians of several runs, and the highest peak."""
    with TemporaryDirectory(dir=folder) as removed:
        path, out = Path(removed) / "users.parquet", Path(removed) / "scores.parquet"
        write_users(SimulateOptions(rows=users, seed=8, label=False), path)
        usages = [measure(engine(path, out)) for _ in range(rounds)]
    return Size(
        users,
        _median(usages, lambda usage: usage.wall_seconds),
        _median(usages, lambda usage: usage.cpu_seconds),
        max(usage.peak_bytes for usage in usages),
    )


def table(sizes: Sequence[Size]) -> str:
    """One row a size."""
    head = "| users | wall s | CPU s | wall µs/user | CPU µs/user | peak MiB |\n"
    rules = "|---:|---:|---:|---:|---:|---:|\n"
    rows = (
        f"| {size.users:,} | {size.wall_seconds:.2f} | {size.cpu_seconds:.2f} "
        f"| {size.wall_microseconds:.2f} | {size.cpu_microseconds:.2f} "
        f"| {size.peak_bytes / 2**20:.0f} |\n"
        for size in sizes
    )
    return head + rules + "".join(rows)


def series(sizes: Sequence[Size]) -> Mapping[str, list[tuple[int, float]]]:
    """The series of the plot, by title."""
    return {
        "wall time per user, µs": [(s.users, s.wall_microseconds) for s in sizes],
        "peak memory, MiB": [(s.users, s.peak_bytes / 2**20) for s in sizes],
    }


def _median(usages: Sequence[Usage], figure: Callable[[Usage], float]) -> float:
    return statistics.median(map(figure, usages))


def main() -> None:
    """Measure every size, print the table and write it."""
    parser = argparse.ArgumentParser(description="Time and memory as users grow.")
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    folder = ROOT / "build" / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    users = [size for size in SIZES if size <= options.most]
    sizes = [measured(size, folder, ROUNDS.get(size, 1)) for size in users]
    text = table(sizes)
    print(text)
    if options.into is not None:
        write_between(options.into, "scale", text)
        (options.into.parent / "pictures" / PLOT).write_text(curves(series(sizes)))


if __name__ == "__main__":
    main()
