"""The result of one gate: what was measured, what is allowed, and the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineError

PASSED, UNDECIDED, REFUSED = "passed", "undecided", "refused"

FIT_AGAIN = "Fit again on more or newer data."
CONTINUE = "Fit again with --previous and the current bundle."


@dataclass(frozen=True, slots=True)
class Gate:
    """The result of one gate.

    Attributes:
        name: As in docs/retraining.md.
        verdict: `PASSED`; `UNDECIDED` if these users are too few to tell; or `REFUSED`.
        measured: Figures, plain JSON values; not yet rounded.
        bound: What is allowed, as `measured`.
        words: One sentence: measured against allowed.
        next_step: What to do if the candidate is refused here.
    """

    name: str
    verdict: str
    measured: Mapping[str, Any]
    bound: Mapping[str, Any]
    words: str
    next_step: str

    @property
    def refused(self) -> bool:
        """Whether the candidate is refused here."""
        return self.verdict == REFUSED


def verdict_of(*, passed: bool) -> str:
    """The verdict of a gate that can always tell."""
    return PASSED if passed else REFUSED


class RefusedError(EngineError):
    """The candidate may not replace the current bundle.

    Attributes:
        report: What was measured at every gate; empty if the candidate was not measured.
    """

    exit_code = 79

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report or {}
