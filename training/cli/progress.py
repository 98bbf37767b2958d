"""The progress of a fit."""

import time
from contextlib import suppress
from typing import Self

from engine.cli.console import say
from engine.cli.render import end_bar, progress_bar

BAR_STEPS = 1_000


class FitProgress:
    """A line for each stage and, on a terminal, a bar of the purchase models tried.

    Args:
        trials: The most that will be tried; None if only the time decides.
        minutes: No trial starts after so many; None for no limit.
    """

    def __init__(self, trials: int | None, minutes: float | None) -> None:
        self._trials = trials
        self._minutes = minutes
        self._started = self._first_trial = time.monotonic()
        self._seconds = self._spent = 0.0
        self._best: float | None = None
        self._bar = progress_bar("trial", self._info, length=BAR_STEPS, eta=False)

    def stage(self, name: str) -> None:
        """Show the stage that begins, with the seconds since the start."""
        end_bar(self._bar)
        say([f"{time.monotonic() - self._started:6.1f} s  {name}"])

    def trial(self, number: int, best: float | None) -> None:
        """Show which purchase model is being tried, and the best log-loss so far."""
        if number == 1:
            self._first_trial = time.monotonic()
        self._seconds = time.monotonic() - self._first_trial
        self._spent = self._share(number - 1)
        self._best = best
        self._bar.label = f"trial {number}" + (f" of {self._trials}" if self._trials else "")
        self._bar.pos = int(BAR_STEPS * self._spent)
        with suppress(OSError):
            self._bar.render_progress()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end_bar(self._bar)

    def _share(self, tried: int) -> float:
        """How much of the budget is spent: of trials or of time, whichever ends first."""
        of_trials = tried / self._trials if self._trials else 0.0
        of_time = self._seconds / (60 * self._minutes) if self._minutes else 0.0
        return min(max(of_trials, of_time), 1.0)

    def _info(self, _item: int | None) -> str:
        """The best log-loss and the time left, as far as they are known."""
        parts = [] if self._best is None else [f"best log-loss {self._best:.4f}"]
        if self._spent:
            minutes, seconds = divmod(round(self._seconds * (1 / self._spent - 1)), 60)
            parts.append(f"{minutes}:{seconds:02} left")
        return ", ".join(parts)
