"""One gate: what was measured, what was allowed, and the verdict, as a value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate found.

    Attributes:
        name: As in docs/retraining.md.
        passed: Whether the candidate may go on.
        measured: Figures, plain JSON values.
        bound: What was allowed, plain JSON values.
        words: One sentence for people: measured against allowed.
    """

    name: str
    passed: bool
    measured: Mapping[str, Any]
    bound: Mapping[str, Any]
    words: str

    def to_json(self) -> dict[str, Any]:
        """The gate as plain JSON values."""
        return asdict(self)
