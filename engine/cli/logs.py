"""The log on standard error: text for people, or one JSON object a line for a log collector."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from engine.cli.render import echo
from engine.format import visible
from engine.logs import LOG


class Lines(logging.Handler):
    """Writes log records to standard error.

    Attributes:
        as_json: Whether each record is one JSON object: time, level, program, message, and the
            `fields` of the record. As text, a record is one line, or its `lines`.
    """

    def __init__(self, program: str) -> None:
        super().__init__()
        self.as_json = False
        self._program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, as JSON or as lines of text."""
        write_error(self._as_json(record) if self.as_json else self._as_text(record))

    def _as_text(self, record: logging.LogRecord) -> str:
        prefix = f"{self._program}: " if record.levelno >= logging.ERROR else ""
        # A line break within a message is from outside, such as a file name that would forge a line.
        lines = getattr(record, "lines", [prefix + record.getMessage()])
        return "\n".join(map(visible, lines))

    def _as_json(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "program": self._program,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(entry)


@contextmanager
def logged_lines(program: str) -> Iterator[Lines]:
    """Show the log of the engine, from INFO on, while a command runs."""
    lines = Lines(program)
    LOG.addHandler(lines)
    LOG.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOG.removeHandler(lines)
        LOG.setLevel(logging.NOTSET)


def write_error(text: str) -> None:
    """Write to standard error. A run continues if its reader is gone or its disk is full."""
    with suppress(OSError):
        echo(text, error=True)
