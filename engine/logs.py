"""Lines on standard error: words for people, or one JSON object each for a log collector."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from engine.format import visible

LOG = logging.getLogger("engine")


class Lines(logging.Handler):
    """Writes what is logged to standard error; where that is closed or full, it is left unsaid.

    Attributes:
        as_json: Whether each record is one JSON object: time, level, program, message, and what the
            record has in `fields`.
    """

    def __init__(self, program: str) -> None:
        super().__init__()
        self.as_json = False
        self._program = program

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, in JSON or as lines of text."""
        text = self._as_json(record) if self.as_json else self._as_text(record)
        write_error(text + "\n")

    def _as_text(self, record: logging.LogRecord) -> str:
        prefix = f"{self._program}: " if record.levelno >= logging.ERROR else ""
        return "\n".join(visible(line) for line in f"{prefix}{record.getMessage()}".split("\n"))

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
    """Show what the engine logs, from INFO on, while a command runs."""
    lines = Lines(program)
    LOG.addHandler(lines)
    LOG.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOG.removeHandler(lines)
        LOG.setLevel(logging.NOTSET)


def write_error(text: str) -> None:
    """Write to standard error; a reader that is gone or a full disk there stops no run."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return
