"""How much work a fit does."""

from collections.abc import Callable
from dataclasses import dataclass

DEFAULT_MINUTES = 3.0
MAX_TRIALS = 1_000

TrialWatch = Callable[[int, float | None], None]
"""Called before each trial with its number, from 1, and the best mean log-loss so far."""


def unwatched(number: int, best: float | None) -> None:
    """Watch no trial."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a fit does: more takes longer and gives firmer choices.

    The defaults are those of every bundle that is promoted; tests fit with less.

    Attributes:
        trials: At most so many purchase models are tried, and at least one.
        minutes: No purchase model is tried after so many; None for no limit.
        kmeans_starts: KMeans keeps the best of so many starts. With 10, the agreement between
            refits of 8 clusters still measured luck (docs/modelling.md).
        refits: Resamples that every number of segments is refitted to.
    """

    trials: int = 12
    minutes: float | None = None
    kmeans_starts: int = 20
    refits: int = 8


def effort_of(trials: int | None, minutes: float | None) -> Effort:
    """The default effort within the limits that were asked for; with none, within both defaults."""
    if trials is None and minutes is None:
        return Effort(minutes=DEFAULT_MINUTES)
    return Effort(MAX_TRIALS if trials is None else trials, minutes)
