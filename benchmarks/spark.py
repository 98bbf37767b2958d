"""The cost of scoring inside Spark: CPU time, stages and bytes, with and without the duplicate check.

Usage: python -m benchmarks.spark [USERS.parquet] [--into docs/scaling.md]

CPU time is that of Spark's JVM and Python workers, from /proc (Linux). It says how many cores a cluster
needs, and hardly depends on the machine's other load. Every contender runs once before it is measured,
so that the JVM is warm. Without a file, 240,000 users are simulated first.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import BUNDLE
from benchmarks.users import given_or_simulated

CORES = 2
ROUNDS = 3
TICK = os.sysconf("SC_CLK_TCK")
USERS_SHOWN = 100_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What one contender took.

    Attributes:
        cpu_seconds: Of the JVM and the workers, the median of the rounds.
        stages: Stages that ran.
        shuffled_bytes: Written for a shuffle.
        kept_bytes: In memory and on disk after the run; None, like the others, outside Spark.
    """

    cpu_seconds: float
    stages: int | None
    shuffled_bytes: int | None
    kept_bytes: int | None


def processes(root: int) -> Iterator[list[str]]:
    """The fields of /proc/<pid>/stat, from the state on, of a process and all below it."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        found[int(folder.name)] = [folder.name, *text.rpartition(")")[2].split()]
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield found[pid]
        waiting += [child for child, fields in found.items() if int(fields[2]) == pid]


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all below it, ended children included."""
    return sum(sum(map(int, fields[12:16])) for fields in processes(root)) / TICK


def worker_bytes(root: int) -> int:
    """The largest resident size that a Python worker ever had."""
    largest = 0
    for fields in processes(root):
        lines = Path(f"/proc/{fields[0]}/status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        if values["Name"].strip().startswith("python"):
            largest = max(largest, int(values["VmHWM"].split()[0]) * 1024)
    return largest


def measure(spark: Any, name: str, run: Callable[[], Callable[[], None]]) -> Cost:
    """Run a contender; what it gives is called when it has been measured, and clears up."""
    context = spark.sparkContext
    root = context._gateway.proc.pid
    run()()
    taken = []
    for number in range(ROUNDS):
        context.setJobGroup(f"{name}-{number}", name)
        before = cpu_seconds(root)
        clear = run()
        taken.append(cpu_seconds(root) - before)
        kept = sum(i.memSize() + i.diskSize() for i in context._jsc.sc().getRDDStorageInfo())
        clear()
    tracker = context.statusTracker()
    jobs = map(tracker.getJobInfo, tracker.getJobIdsForGroup(f"{name}-{ROUNDS - 1}"))
    numbers = {stage for job in jobs for stage in job.stageIds}
    store = context._jsc.sc().statusStore()
    stages = [store.lastStageAttempt(number) for number in numbers]
    ran = [stage for stage in stages if stage.numCompleteTasks()]
    shuffled = sum(stage.shuffleWriteBytes() for stage in ran)
    return Cost(statistics.median(taken), len(ran), shuffled, kept)


def contenders(spark: Any, users: Path) -> dict[str, Callable[[], Callable[[], None]]]:
    """What is measured, by its name in the table; all read the same columns of one file."""
    from engine import load_bundle
    from engine.connectors.spark import score

    df = spark.read.parquet(str(users)).select(*load_bundle(BUNDLE).columns)

    def written(frame: Any) -> None:
        frame.write.format("noop").mode("overwrite").save()

    def read() -> Callable[[], None]:
        written(df)
        return lambda: None

    def through_python() -> Callable[[], None]:
        written(df.mapInArrow(lambda batches: batches, df.schema))
        return lambda: None

    def scored(duplicates: Any) -> Callable[[], None]:
        found = score(df, BUNDLE, duplicates=duplicates)
        for frame in found:
            written(frame)
        return found.release

    return {
        "read only": read,
        "read, round trip to Python": through_python,
        'score, `duplicates="checked"`': lambda: scored("checked"),
        'score, `duplicates="check"`': lambda: scored("check"),
    }


def one_machine(users: Path) -> Cost:
    """The same users through `engine score` without Spark, files and checks included."""
    program = Path(sys.executable).with_name("engine")
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.parquet"
        command = [program, "score", users, "--out", out, "--bundle", BUNDLE]
        for _ in range(ROUNDS):
            before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
            subprocess.run([*command, "--if-exists", "replace", "--quiet"], check=True)
            taken.append(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before)
    return Cost(statistics.median(taken), None, None, None)


def table(costs: dict[str, Cost], rows: int, worker: int, spark: Any) -> str:
    """The costs as Markdown."""
    lines = [
        f"| {rows:,} users | CPU seconds | µs/user | core-hours for {USERS_SHOWN:,} | stages "
        "| shuffled, bytes/user | cached, bytes/user |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, cost in costs.items():
        each = cost.cpu_seconds / rows
        stages = "" if cost.stages is None else cost.stages
        sizes = (cost.shuffled_bytes, cost.kept_bytes)
        shuffled, kept = ("" if size is None else f"{size / rows:.0f}" for size in sizes)
        lines.append(
            f"| {name} | {cost.cpu_seconds:.1f} | {each * 1e6:.1f} "
            f"| {each * USERS_SHOWN / 3600:.2f} | {stages} | {shuffled} | {kept} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Spark {spark.version}, local[{CORES}], {2 * CORES} shuffle partitions; medians of "
            f"{ROUNDS} rounds; results are discarded, not written. A Python worker peaked at "
            f"{worker / 2**20:.0f} MiB. `python -m benchmarks.spark --into docs/scaling.md` "
            "regenerates this table.",
            "",
        ]
    )


def main() -> None:
    """Print the table, and write it into a document if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spark")
    parser.add_argument("users", nargs="?", type=Path)
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    from engine.connectors.spark_local import local_session

    with given_or_simulated(arguments.users) as users:
        costs = {"`engine score`, without Spark": one_machine(users)}
        spark = local_session(CORES)
        rows = spark.read.parquet(str(users)).count()
        costs |= {n: measure(spark, n, run) for n, run in contenders(spark, users).items()}
        text = table(costs, rows, worker_bytes(spark.sparkContext._gateway.proc.pid), spark)
        spark.stop()
    print(text)
    if arguments.into:
        from benchmarks.report import write_between

        write_between(arguments.into, "spark", text)


if __name__ == "__main__":
    main()
