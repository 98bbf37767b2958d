"""Where a path leads, for comparing places before anything is written."""

from pathlib import Path

from engine.errors import CannotCreateError


def resolved(out: Path) -> Path:
    """Where something is to be written, all links followed.

    Raises:
        CannotCreateError: The links lead in a circle.
    """
    try:
        return out.resolve()
    # NOTE: a loop of links is a RuntimeError before Python 3.13.
    except RuntimeError:
        raise CannotCreateError(
            f"{out}: cannot be created: a link that leads back to itself. Give another place."
        ) from None
