"""Where a report may be written."""

from pathlib import Path

from engine.errors import CannotCreateError

_HEAD_BYTES = 2_000


def check_place(out: Path, generator: str) -> None:
    """Check that a page may be written; called before computing and again before writing.

    Args:
        out: Where the page goes.
        generator: Named in pages of this kind, which may be replaced.

    Raises:
        CannotCreateError: The name does not end in .html, or an existing file is neither a report nor
            empty.
    """
    if out.suffix.lower() != ".html":
        raise CannotCreateError(
            f"{out}: a report is one HTML page. Name a file that ends with .html."
        )
    if out.is_symlink() or (out.is_file() and not _is_report(out, generator)):
        raise CannotCreateError(
            f"{out}: exists and is not a report of this program. Remove it, or name another file."
        )


def _is_report(path: Path, generator: str) -> bool:
    """Whether a file is an earlier report; an empty file may be replaced too."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head == b"" or f'<meta name="generator" content="{generator}">'.encode() in head
