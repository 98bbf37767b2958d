"""Output that only a terminal gets: colour, wrapped lines, a progress bar."""

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

COLOURS = {
    "green": ("usable", "nothing has moved", "passed", "promoted"),
    "yellow": (
        "warning",
        "quarantined",
        "undecided",
        "rows left out",
        "unseen values scored as missing",
    ),
    "red": (
        *("MUST NOT BE USED", "REFUSED", "engine", "training"),
        *("ALARM", "ALARM drift", "ALARM rows", "ALARM stale"),
    ),
}
_COLOUR_OF = {status: colour for colour, words in COLOURS.items() for status in words}
_STATUS = re.compile(rf"^( *)({'|'.join(_COLOUR_OF)})(?=:|$| {{2}})", re.MULTILINE)

BAR_CELLS = 20


def echo(text: str | bytes, *, error: bool = False) -> None:
    """Write lines to standard output or error; on a terminal, status words at their start are coloured.

    Raises:
        OSError: The reader is gone, or the disk is full.
    """
    if isinstance(text, str):
        text = _STATUS.sub(_coloured, text)
    # Without a terminal click removes colours; see https://no-color.org for the variable.
    click.echo(text, err=error, color=False if os.environ.get("NO_COLOR") else None)


def _coloured(status: re.Match[str]) -> str:
    indent, text = status.groups()
    return indent + click.style(text, fg=_COLOUR_OF[text])


def on_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal."""
    return stream is not None and stream.isatty()


def wrapped(lines: Iterable[str], stream: TextIO | None) -> Iterable[str]:
    """Lines wrapped to the width of a stream if it is a terminal."""
    return map(wrap, lines) if on_terminal(stream) else lines


def wrap(line: str) -> str:
    """Wrap a line between words to the terminal's width, within its last column.

    A column that begins in the right half of the terminal is not wrapped here.
    """
    columns = shutil.get_terminal_size().columns
    indent = re.match(r"(?:.*\S)? {2,}", line)
    hang = indent.end() if indent else 2
    if len(line) <= columns or hang > columns // 2:
        return line
    return textwrap.fill(
        line, columns, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False
    )


@contextmanager
def rows_bar(label: str, *, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rows per second and the time left; silent without a terminal.

    Args:
        label: The name of the work.
        hidden: Whether to hide the bar on a terminal too.

    Yields:
        A function to call with the rows done and the rows in all.
    """
    started = time.monotonic()

    def rate(done: int | None) -> str:
        return f"{(done or 0) / max(time.monotonic() - started, 1e-3):,.0f} rows/s"

    bar = progress_bar(label, rate, hidden=hidden)

    def show(done: int, total: int) -> None:
        bar.length = max(total, 1)
        with suppress(OSError):
            bar.update(done - bar.pos, done)

    try:
        yield show
    finally:
        end_bar(bar)


def progress_bar(
    label: str,
    info: Callable[[int | None], str],
    *,
    length: int = 1,
    eta: bool = True,
    hidden: bool = False,
) -> "ProgressBar[int]":
    """A bar on standard error that shows nothing before its first update.

    Args:
        label: The name of the work.
        info: Formats the item of the last update, shown after the bar.
        length: The number of steps.
        eta: Whether to show the time left, estimated from the steps.
        hidden: Whether to hide the bar on a terminal too.
    """
    return click.progressbar(
        length=length,
        show_eta=eta,
        label=label,
        item_show_func=info,
        file=sys.stderr,
        hidden=hidden or not on_terminal(sys.stderr),
        width=BAR_CELLS,
        fill_char="█",
        empty_char="░",
        bar_template="%(label)s  %(bar)s  %(info)s",
    )


def end_bar(bar: "ProgressBar[int]") -> None:
    """Move to the line below a bar, if it was shown."""
    if bar.max_width is not None:
        with suppress(OSError):
            bar.render_finish()
        bar.max_width = None
