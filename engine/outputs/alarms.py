"""Alarms: what is likely to be wrong with an input, although every row of it can be scored."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

from engine.inputs.errors import reading
from engine.inputs.formats import BLOCK_BYTES
from engine.inputs.tables import Table
from engine.interruption import in_background

AlarmName = Literal["drift", "rows", "stale"]
ALARMS: tuple[AlarmName, ...] = ("drift", "rows", "stale")
ROWS_CHANGE = 0.5
"""An alarm if the rows fall or rise by this share."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One finding, with its name for monitoring."""

    name: AlarmName
    message: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What identifies the input of a run.

    Attributes:
        rows: All rows.
        sha256: SHA-256 of the bytes of all files, in order.
        oldest_snapshot: The oldest date of the scored rows, as ISO text; None without dates.
        newest_snapshot: The newest.
        scores_sha256: SHA-256 of the file of scores that the run published; None for a table.
        before: The input of the run before that one, if it is known.
    """

    rows: int = 0
    sha256: str | None = None
    oldest_snapshot: str | None = None
    newest_snapshot: str | None = None
    scores_sha256: str | None = None
    before: "Inputs | None" = None

    @property
    def snapshots(self) -> dict[str, str]:
        """The oldest and the newest date; empty without dates."""
        if self.oldest_snapshot is None or self.newest_snapshot is None:
            return {}
        return {"oldest": self.oldest_snapshot, "newest": self.newest_snapshot}

    def to_json(self) -> dict[str, Any]:
        """The value under the names that a summary gives them."""
        return {
            "rows_read": self.rows,
            "input_sha256": self.sha256,
            "snapshots": self.snapshots,
            "scores_sha256": self.scores_sha256,
            "before": self.before and self.before.to_json(),
        }


def input_sha256(tables: Sequence[Table]) -> str:
    """SHA-256 of the bytes of all files, in order."""
    digest = hashlib.sha256()
    for table in tables:
        with reading(table.name):
            _add_file(digest, table.path or table.content)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    digest = hashlib.sha256()
    _add_file(digest, path)
    return digest.hexdigest()


def _add_file(digest: "hashlib._Hash", path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)


def inputs_before(summary: Path) -> Inputs | None:
    """The input of the previous published run, from the summary beside the output.

    A run that published nothing copies this value into its summary. None if it cannot be read.
    """
    try:
        # NOTE: opening a pipe would wait for its writer.
        document = json.loads(summary.read_bytes()) if summary.is_file() else {}
        if document["published"] is not True:
            return _inputs_of(document["before"], "scores_sha256")
        return _inputs_of(document | document["outputs"]["scores"], "sha256")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _inputs_of(document: Any, scores_sha256: str, runs: int = 2) -> Inputs:  # noqa: ANN401 - any JSON
    """Read the input of a run and of the one before it from a summary.

    Args:
        document: What the summary says of the run.
        scores_sha256: The key for the hash of its scores.
        runs: How many runs are read; there may be no more than one whose scores are not in place.
    """
    oldest, newest = (document["snapshots"].get(age) for age in ("oldest", "newest"))
    for day in (oldest, newest):
        _ = day is None or date.fromisoformat(day)
    rows, hashes = document["rows_read"], (document["input_sha256"], document.get(scores_sha256))
    if type(rows) is not int or rows < 0 or not all(isinstance(h, str | None) for h in hashes):
        raise ValueError("neither a number of rows nor hashes")
    before = document.get("before")
    earlier = _inputs_of(before, "scores_sha256", runs - 1) if before and runs > 1 else None
    return Inputs(rows, hashes[0], oldest, newest, hashes[1], earlier)


def last_published(before: Inputs | None, scores: Path, *, after_kill: bool) -> Inputs | None:
    """The newest run whose scores are in place: a killed run may have published its summary alone.

    Args:
        before: The input of the run that the summary is about.
        scores: The file of scores. If it is gone, somebody has moved it.
        after_kill: Whether the files of a killed run were found.

    Raises:
        EngineError: The scores cannot be read.
    """
    if before is None:
        return None
    if not scores.exists():
        return before.before if after_kill else before
    with reading(str(scores)):
        in_place = in_background(partial(file_sha256, scores))
    while before is not None and before.scores_sha256 not in (None, in_place):
        before = before.before
    return before


def find_alarms(drift: Iterable[str], now: Inputs, before: Inputs | None) -> tuple[Alarm, ...]:
    """The alarms of a run.

    Args:
        drift: Large shifts from the training users, in words.
        now: The input of this run.
        before: The input of the previous run; without it, nothing is compared.
    """
    found = [Alarm("drift", shift) for shift in drift]
    if before is not None:
        found += [Alarm("rows", _rows(now, before)), Alarm("stale", _stale(now, before))]
    return tuple(alarm for alarm in found if alarm.message)


def _rows(now: Inputs, before: Inputs) -> str:
    if not before.rows:
        return ""
    change = now.rows / before.rows - 1
    if abs(change) < ROWS_CHANGE:
        return ""
    question = "is the input complete?" if change < 0 else "is a file given twice?"
    return (
        f"{now.rows:,} rows, {abs(change):.0%} {'fewer' if change < 0 else 'more'} than the "
        f"{before.rows:,} of the run before: {question}"
    )


def _stale(now: Inputs, before: Inputs) -> str:
    if now.sha256 is not None and now.sha256 == before.sha256:
        return "the same bytes as the input of the run before: has the export run?"
    newest, newest_before = now.newest_snapshot, before.newest_snapshot
    if newest is None or newest_before is None or newest > newest_before:
        return ""
    return (
        f"no snapshot newer than {newest_before}, the newest of the run before; the newest is {newest}: "
        "has the export run?"
    )
