"""Gates on how a bundle runs: parity, results on this machine, speed and size."""

import time
from collections.abc import Callable

import numpy as np

from engine.bundle.evaluation import FitRecord
from engine.bundle.open import SCORER, Bundle
from engine.errors import SelfCheckError, pluralize
from engine.model.session import load_graph
from engine.model.verify import verify
from training.export.parity import different_bits, parity_problems, run_scorer
from training.promote.gate import FIT_AGAIN, Gate, verdict_of
from training.promote.holdout import Contender, Contest

MAX_SLOWDOWN = 1.5
"""The models take about half of the nightly job (docs/performance.md): the job becomes a quarter
slower at most."""

NIGHT_ROWS = 240_000
NIGHT_SECONDS = 3.0
"""A fifth of the 15 seconds that the nightly job may take for so many users
(`benchmarks/test_nightly.py`): models that take less may grow as they need."""

MAX_GROWTH = 2.0
"""A bundle holds tables, not users: if it doubles in a week, its model is of another kind."""

TIMED_ROWS = 20_480
ROUNDS = 7

COMPARED_ROWS = 4_096
"""Users for whom `scorer.onnx` and the engine's own path must give the same results."""


def parity_gate(contest: Contest) -> Gate:
    """The differences between ONNX and the native models in the fit of the candidate."""
    return recorded_parity(contest.candidate.fit)


def recorded_parity(fit: FitRecord) -> Gate:
    """The differences between ONNX and the native models in a fit."""
    figures = fit.parity
    problems = list(parity_problems(figures))
    return Gate(
        name="parity",
        verdict=verdict_of(passed=not problems),
        measured={"rows": figures["rows"], "problems": problems},
        bound={"tolerances": figures["tolerances"]},
        words="; ".join(problems)
        or f"ONNX and the native models agreed on {figures['rows']:,} users in the fit",
        next_step="Fit again with the package versions of the lock file.",
    )


def conformance_gate(contest: Contest) -> Gate:
    """The results of this machine on the bundle's conformance rows and on users of the holdout.

    The rows are checked as in `engine verify`. On the users, `scorer.onnx` and the engine's own path
    must give the same results.
    """
    side = contest.candidate
    checked = verify(side.bundle.path)
    problems = []
    try:
        checked.refuse_failures()
    except SelfCheckError as error:
        problems.append(str(error))
    typed = contest.dataset.typed.head(COMPARED_ROWS)
    graph = load_graph(side.bundle, SCORER)
    whole = run_scorer(graph, typed, side.manifest.schema.model_features)
    changed = different_bits(side.scored[: typed.height], whole)
    if changed:
        problems.append(
            f"{changed} of {typed.height:,} users get other results from {SCORER} than from the "
            "engine, 0 allowed"
        )
    return Gate(
        name="conformance",
        verdict=verdict_of(passed=not problems),
        measured={
            "conformance_rows": checked.rows,
            "users": typed.height,
            "changed": changed,
            "problems": problems,
        },
        bound={"tolerances": dict(checked.tolerances), "changed": 0},
        words="; ".join(problems)
        or f"{pluralize(checked.rows, 'conformance row')} as expected on this machine; "
        f"{pluralize(typed.height, 'user')} with the same results from {SCORER} and engine",
        next_step="Fit again on this machine, or promote where the bundle was fitted.",
    )


def speed_gate(
    contest: Contest, champion: Contender, clock: Callable[[], float] = time.thread_time
) -> Gate:
    """Scoring time of the candidate over the champion, on the same users, in interleaved rounds.

    A ratio alone would refuse what follows a tiny model; so it counts only if the night would notice.

    Args:
        contest: The users and the candidate.
        champion: The current bundle.
        clock: Seconds; by default those of this thread, so that other programs do not count.
    """
    sides = (contest.candidate, champion)
    seconds = np.array([[_seconds(side, clock) for side in sides] for _ in range(ROUNDS)])
    ratio = float(np.median(seconds[:, 0] / seconds[:, 1]))
    rows = min(TIMED_ROWS, contest.dataset.rows)
    night = float(np.median(seconds[:, 0])) * NIGHT_ROWS / rows
    return Gate(
        name="speed",
        verdict=verdict_of(passed=ratio <= MAX_SLOWDOWN or night <= NIGHT_SECONDS),
        measured={"ratio": ratio, "night_seconds": night, "rounds": ROUNDS},
        bound={"ratio_at_most": MAX_SLOWDOWN, "or_night_seconds_at_most": NIGHT_SECONDS},
        words=f"{NIGHT_ROWS:,} users take {night:.2f} CPU seconds, {ratio:.2f} times as long as with the "
        f"champion; at most {NIGHT_SECONDS:.0f} seconds or {MAX_SLOWDOWN:.1f} times",
        next_step=FIT_AGAIN,
    )


def size_gate(contest: Contest, champion: Contender) -> Gate:
    """The bytes of all files of the bundle, as a ratio."""
    here, there = _size_bytes(contest.candidate.bundle), _size_bytes(champion.bundle)
    return Gate(
        name="size",
        verdict=verdict_of(passed=here <= MAX_GROWTH * there),
        measured={"candidate_bytes": here, "champion_bytes": there},
        bound={"at_most_bytes": MAX_GROWTH * there},
        words=f"{here / 1e6:.2f} MB, champion {there / 1e6:.2f} MB; at most {MAX_GROWTH:.1f} times "
        "as much",
        next_step="Look for the largest files, and fit again.",
    )


def _seconds(side: Contender, clock: Callable[[], float]) -> float:
    started = clock()
    side.session.run(side.features[:TIMED_ROWS])
    return clock() - started


def _size_bytes(bundle: Bundle) -> int:
    return sum(entry.size_bytes for entry in bundle.manifest.files.values())
