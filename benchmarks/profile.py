"""Where `engine score` spends its time, by stage, and the classifier, by operator.

Usage: python -m benchmarks.profile [USERS.parquet] [--into docs/performance.md]

Chunks are scored on one thread, so that no stage waits for a core. Reading and writing still overlap
with scoring, so the stages add up to more than the total. Without a file, 240,000 users are simulated
first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contenders import BUNDLE
from benchmarks.users import given_or_simulated

RUNS = 100
TYPED = "typed columns"
VALIDATION = "validation"
DRIFT = "drift: user sample, PSI"


@contextmanager
def stage(seconds: Counter[str], name: str) -> Iterator[None]:
    """Add the time of a block."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - started


def instrument(seconds: Counter[str], owner: Any, attribute: str, name: str) -> None:
    """Add the time of every call of a function."""
    function: Callable[..., Any] = getattr(owner, attribute)

    def timed(*arguments: Any, **options: Any) -> Any:
        with stage(seconds, name):
            return function(*arguments, **options)

    setattr(owner, attribute, timed)


class TimedGraph:
    """A session that adds the time of its runs."""

    def __init__(self, session: Any, seconds: Counter[str], name: str) -> None:
        self._session, self._seconds, self._name = session, seconds, name

    def run(self, *arguments: Any) -> Any:
        """As the session's own."""
        with stage(self._seconds, self._name):
            return self._session.run(*arguments)


def profile(users: Path) -> Counter[str]:
    """Score a file once in this process, which has not imported the engine's libraries before."""
    seconds: Counter[str] = Counter()
    with stage(seconds, "Python start-up"):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    for module in ("polars", "onnxruntime", "engine.pipeline"):
        with stage(seconds, f"import {module}"):
            __import__(module)
    from engine import options, pipeline, scorer
    from engine.model import session
    from engine.outputs import summary, writer
    from engine.rows import prepare, rules

    load = session.load_graph
    session.load_graph = lambda bundle, name: TimedGraph(load(bundle, name), seconds, name)
    stages = (
        (pipeline, "load_bundle", "bundle: read, check, open sessions, run conformance rows"),
        (rules, "to_typed", TYPED),
        (prepare, "split_rows", VALIDATION),
        (prepare, "to_features", "feature tensor"),
        (prepare, "unseen_counts", "unseen categories"),
        (scorer, "score_columns", "score columns"),
        (summary.UserSample, "add", DRIFT),
        (pipeline, "drift_report", DRIFT),
    )
    for module, function, name in stages:
        instrument(seconds, module, function, name)
    read = pipeline.read_users

    def timed_chunks(*arguments: Any) -> Iterator[Any]:
        chunks = read(*arguments)
        while True:
            with stage(seconds, "read and find duplicate keys (waiting for Polars)"):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    pipeline.read_users = timed_chunks
    instrument(seconds, writer, "_sink", "write")
    instrument(seconds, writer.FrameWriter, "_next", "write, waiting")
    instrument(seconds, writer.FrameWriter, "finish", "write: last part, fsync, hash, verification")
    with tempfile.TemporaryDirectory() as folder, stage(seconds, "score()"):
        out = Path(folder) / "scores.parquet"
        pipeline.score([str(users)], BUNDLE, out, options.ScoreOptions(threads=1))
    seconds["write"] -= seconds.pop("write, waiting")
    seconds[VALIDATION] -= seconds[TYPED]
    return seconds


def operators(users: Path) -> dict[str, float]:
    """Nanoseconds a row of each kind of operator in `classifier.onnx`, by ONNX Runtime itself."""
    import onnxruntime as ort
    import polars as pl

    from benchmarks.explainers import SLICE_ROWS
    from engine.bundle.open import CLASSIFIER, open_bundle
    from engine.rows.typed import to_features, to_typed

    bundle = open_bundle(BUNDLE)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "operators")
        session = ort.InferenceSession(bundle.contents[CLASSIFIER], options)
        manifest = bundle.manifest
        typed = to_typed(pl.read_parquet(users, n_rows=SLICE_ROWS), manifest.schema).frame
        features = to_features(typed, manifest.schema.model_features, manifest.categories)
        for _ in range(RUNS):
            session.run(None, {"features": features})
        events = json.loads(Path(session.end_profiling()).read_text())
    taken: dict[str, float] = defaultdict(float)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["args"]["op_name"]] += event["dur"] * 1e3 / (RUNS * SLICE_ROWS)
    return dict(sorted(taken.items(), key=lambda item: -item[1]))


def table(seconds: Counter[str], kinds: dict[str, float]) -> str:
    """Both as Markdown."""
    from engine.pages.format import whole_percent

    lines = ["| stage | seconds |", "|---|---:|"]
    lines += [f"| {name} | {taken:.3f} |" for name, taken in seconds.items()]
    lines += ["", "| operators of the classifier | ns/user | share |", "|---|---:|---:|"]
    total = sum(kinds.values())
    lines += [
        f"| {kind} | {ns:.0f} | {whole_percent(ns / total)} |"
        for kind, ns in kinds.items()
        if ns >= 1
    ]
    return "\n".join([*lines, f"| all | {total:.0f} | |", ""])


def main() -> None:
    """Print the profile, and write it into a document if asked."""
    # Before Polars is imported: it sizes its own pool then.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile")
    parser.add_argument("users", nargs="?", type=Path)
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    with given_or_simulated(arguments.users) as users:
        text = table(profile(users), operators(users))
    print(text)
    if arguments.into:
        from benchmarks.report import write_between

        write_between(arguments.into, "profile", text)


if __name__ == "__main__":
    main()
