"""Where a path leads, and whether something may be written there."""

from pathlib import Path

from engine.bundle import is_bundle
from engine.errors import CannotCreateError, UsageError


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


def check_outside_bundles(out: Path) -> None:
    """Check that nothing is about to be written into a bundle: another file in it would spoil it.

    Raises:
        UsageError: It would be.
        CannotCreateError: The place cannot be found, as its links lead in a circle.
    """
    around = [folder for folder in resolved(out).parents if is_bundle(folder)]
    if around:
        raise UsageError(
            f"{out}: lies in the bundle {around[0]}, whose files must stay as they are. "
            "Write to another place."
        )
