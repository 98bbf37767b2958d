"""How much work a fit does."""

from collections.abc import Callable
from dataclasses import dataclass

DEFAULT_MINUTES = 2.0
MAX_TRIALS = 1_000

TrialWatch = Callable[[int, float | None], None]
"""Called before each trial with its number, from 1, and the best mean log-loss so far."""


def unwatched(number: int, best: float | None) -> None:
    """Watch no trial."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a fit does: more takes longer and gives more reliable choices.

    The defaults are those of every bundle that is promoted; tests fit with less.

    Attributes:
        trials: The most purchase models that are tried; at least one is.
        minutes: No further model is tried after this time; None for no limit.
        kmeans_starts: KMeans keeps the best of so many starts. With 10, the agreement between
            refits of 8 clusters is still mostly chance (docs/modelling.md).
        refits: How often each number of segments is refitted to a resample.
        fits: The purchase model for a small table is the mean of up to so many fits.
    """

    trials: int = 12
    minutes: float | None = None
    kmeans_starts: int = 20
    refits: int = 8
    fits: int = 5


def effort_of(trials: int | None, minutes: float | None) -> Effort:
    """The default effort within the limits that were asked for; with none, within both defaults."""
    if trials is None and minutes is None:
        return Effort(minutes=DEFAULT_MINUTES)
    return Effort(MAX_TRIALS if trials is None else trials, minutes)
