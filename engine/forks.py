"""Forked processes, in which the threads of Polars are gone: what uses them would wait forever.

A fork copies the locks of a process and none of its threads. So a bundle is opened in the process that
scores with it.
"""

import os
import sys
from concurrent.futures import wait

from engine.errors import UsageError
from engine.interruption import started

FORKED_SECONDS = 0.7
"""How long Polars may take to answer after a fork."""
UNKNOWN_SECONDS = 5.0
"""How long it may take where a fork is only possible; starting its threads can be slow."""

# Whether Polars answers belongs to the process, and so does this: how long to wait for its answer, or None
# if it is not in doubt. If Polars was loaded before the engine, the process may have been forked between.
_doubt_seconds: float | None = UNKNOWN_SECONDS if "polars" in sys.modules else None


def check_polars_answers() -> None:
    """Check that the threads of Polars are not those of a process that was forked.

    Raises:
        UsageError: They are gone.
    """
    global _doubt_seconds
    if _doubt_seconds is not None:
        if wait([started(_use_threads)], _doubt_seconds).not_done:
            raise forked("Polars was used before this process was forked")
        _doubt_seconds = None


def forked(what: str) -> UsageError:
    """The error of a process that uses what an earlier process has opened."""
    return UsageError(
        f"process {os.getpid()}: {what}: threads do not survive a fork. Open the bundle in the process "
        "that scores, and start processes with 'spawn' or 'forkserver'; see docs/embedding.md."
    )


def _use_threads() -> None:
    import polars as pl

    pl.DataFrame({"a": [0], "b": [0]}).select(pl.col("a") + 1, pl.col("b") + 1)


def _note_fork() -> None:
    global _doubt_seconds
    if "polars" in sys.modules:
        _doubt_seconds = FORKED_SECONDS


os.register_at_fork(after_in_child=_note_fork)
