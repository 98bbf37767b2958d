"""Where a report may be written."""

from pathlib import Path

from engine.errors import CannotCreateError

GENERATOR = "training report"
"""What a page says it was made by; an earlier report is known by it."""

_HEAD_BYTES = 2_000


def check_place(out: Path) -> None:
    """Check that a page may be written, before anything is computed.

    Raises:
        CannotCreateError: The name is not that of a page, or a file of others has it.
    """
    if out.suffix.lower() != ".html":
        raise CannotCreateError(
            f"{out}: a report is one HTML page. Name a file that ends with .html."
        )
    if out.is_file() and not _is_report(out):
        raise CannotCreateError(
            f"{out}: exists and is not a report of this program. Remove it, or name another file."
        )


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in file.read(_HEAD_BYTES)
