"""The result of one gate: what was measured, what is allowed, and the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineError


@dataclass(frozen=True, slots=True)
class Gate:
    """The result of one gate.

    Attributes:
        name: As in docs/retraining.md.
        passed: Whether the candidate passes.
        measured: Figures, plain JSON values; not yet rounded.
        bound: What is allowed, as `measured`.
        words: One sentence: measured against allowed.
    """

    name: str
    passed: bool
    measured: Mapping[str, Any]
    bound: Mapping[str, Any]
    words: str


class RefusedError(EngineError):
    """The candidate may not replace the current bundle.

    Attributes:
        report: What was measured at every gate; empty if the candidate was not measured.
    """

    exit_code = 79

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report or {}
