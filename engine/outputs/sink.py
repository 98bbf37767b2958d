"""Scores to disk: written beside, verified, then published in one atomic step.

An output is either the new one, complete and verified, or the old one, untouched. Whatever a killed
run left beside an output is undone and removed by the next run that holds its lock.
"""

import errno
import fcntl
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import polars as pl

from engine.connectors.databases.tables import TableSwap
from engine.errors import InterruptedRunError, LockedError, SelfCheckError, StorageError
from engine.logs import LOG
from engine.outputs.staging import Staging
from engine.outputs.targets import Targets
from engine.outputs.writer import FrameWriter, Written
from engine.storage import check_no_device, move, storage_errors, sync_path, write_synced

METRICS_MODE = 0o644
"""Whoever scrapes the metrics is seldom the user who scores; they hold nobody's data."""


class Sink:
    """The outputs of one run: scores, rows set aside if there are any, and the summary.

    Used as a context: on entry the output is locked; on exit lock and staging are gone, whatever
    happened. Between the two: `prepare`, `write`, `finish`, `publish`; or `report`, if it failed.

    Attributes:
        targets: Where the files go.
        committed: Whether the scores of this run stand at the output.
    """

    def __init__(
        self,
        targets: Targets,
        repeated_texts: tuple[str, ...],
        *,
        replace: bool = False,
        for_spreadsheets: bool = False,
    ) -> None:
        self.targets = targets
        self.committed = False
        self._repeated_texts = repeated_texts
        self._replace = replace
        self._for_spreadsheets = for_spreadsheets
        self._swap = TableSwap(targets.table) if targets.table else None
        self._staging = Staging(targets, f".{targets.out.name}.staging-{os.getpid()}")
        self._lock: IO[bytes] | None = None
        self._scores: FrameWriter | None = None
        self._rejected: FrameWriter | None = None

    def __enter__(self) -> Self:
        self._lock = _take_lock(self.targets)
        return self

    def prepare(self) -> None:
        """Clear away what killed runs left, and make staging beside every file."""
        with storage_errors(self.targets.out):
            for staging in self._left_behind():
                staging.remove()
                LOG.info("%s: removed what a killed run left (%s)", self.targets.out, staging.name)
            self._staging.make()

    def write(self, scores: pl.DataFrame, rejected: pl.DataFrame) -> None:
        """Take the next rows of both outputs."""
        if self._scores is None:
            self._scores = self._writer(scores.schema, self._staging.scores, self.targets.out)
        with storage_errors(self.targets.out):
            self._scores.write(scores)
        if rejected.height:
            if self._rejected is None:
                self._rejected = self._writer(
                    rejected.schema, self._staging.quarantine, self.targets.quarantine
                )
            with storage_errors(self.targets.quarantine):
                self._rejected.write(rejected)

    def finish(self) -> tuple[Written | None, Written | None]:
        """Complete and verify the staged files, load the table; gives scores and quarantine."""
        if self._scores is None:
            raise SelfCheckError(f"{self.targets.out}: no chunk was written.")
        with storage_errors(self.targets.out):
            scores = self._scores.finish()
        with storage_errors(self.targets.quarantine):
            rejected = self._rejected.finish() if self._rejected else None
        if self._swap is not None:
            self._swap.load(self._staging.scores, replace=self._replace)
        return scores, rejected

    def publish(self, summary: bytes, metrics: bytes) -> None:
        """Move quarantine, then summary, then scores into place; that last move is the commit.

        Raises:
            StorageError: Before the commit, and what stood there stands; or after it, said as such.
        """
        targets, staging = self.targets, self._staging
        with storage_errors(targets.out), _uninterrupted():
            with storage_errors(targets.summary):
                write_synced(staging.summary, summary)
            if targets.metrics is not None:
                with storage_errors(targets.metrics):
                    write_synced(staging.metrics, metrics, METRICS_MODE)
            staging.keep_what_stands()
            if self._rejected is not None:
                move(staging.quarantine, targets.quarantine)
            elif targets.own_quarantine:
                targets.quarantine.unlink(missing_ok=True)
            move(staging.summary, targets.summary)
            _sync_folders(targets.quarantine, targets.summary)
            if self._swap is None:
                move(staging.scores, targets.out)
            else:
                self._swap.commit()
                # What a killed run leaves is undone as long as its scores are staged.
                staging.scores.unlink()
            self.committed = True
            self._end_publishing()

    def report(self, summary: bytes, metrics: bytes) -> None:
        """Put things back as they were, then write the summary of a run that failed.

        What was staged goes first: it may be what fills the disk.
        """
        with storage_errors(self.targets.summary):
            self._give_up()
            self._staging.remove()
            self._staging.make()
            write_synced(self._staging.summary, summary)
            move(self._staging.summary, self.targets.summary)
            if self.targets.metrics is not None:
                write_synced(self._staging.metrics, metrics, METRICS_MODE)
                move(self._staging.metrics, self.targets.metrics, METRICS_MODE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whoever interrupts an interrupted run wants it to end now: see `console`.
        interrupted = isinstance(error, InterruptedRunError)
        with nullcontext() if interrupted else _uninterrupted():
            self._give_up()
            # NOTE: where the disk fails even this, the next run does it.
            with suppress(OSError):
                self._staging.remove()
            if self._lock is not None:
                self._lock.close()

    def _writer(self, schema: pl.Schema, staged: Path, target: Path) -> FrameWriter:
        return FrameWriter(
            staged,
            schema,
            self._repeated_texts,
            target,
            for_spreadsheets=self._for_spreadsheets,
        )

    def _end_publishing(self) -> None:
        """What is left to do once the scores stand."""
        targets = self.targets
        try:
            if targets.metrics is not None:
                move(self._staging.metrics, targets.metrics, METRICS_MODE)
            _sync_folders(*targets.paths)
        except OSError as error:
            raise StorageError(
                f"{targets.out}: the scores of this run stand there, but what follows failed "
                f"({error.strerror}): they may not outlive a power failure, metrics may be old. "
                "Check the disk and run again with --if-exists replace."
            ) from error

    def _give_up(self) -> None:
        if self._swap is not None:
            self._swap.close()
        for writer in (self._scores, self._rejected):
            if writer is not None:
                writer.abort()
        self._scores = self._rejected = None

    def _left_behind(self) -> list[Staging]:
        pattern = f".{glob_escape(self.targets.out.name)}.staging-*"
        folders = {path.parent for path in self.targets.paths}
        names = {stale.name for folder in folders for stale in folder.glob(pattern)}
        return [Staging(self.targets, name) for name in sorted(names)]


class DryRun:
    """What a `Sink` would do, without writing: the same checks of lock and directories.

    Attributes:
        targets: Where the files would go.
        committed: Never.
    """

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self.committed = False

    def __enter__(self) -> Self:
        return self

    def prepare(self) -> None:
        """Check that no other run holds the output and that the directories can be written."""
        lock = self.targets.lock
        with storage_errors(self.targets.out):
            if lock.exists():
                _hold(lock.open("rb"), self.targets.out).close()
            for folder in {path.parent for path in self.targets.paths}:
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def write(self, scores: pl.DataFrame, rejected: pl.DataFrame) -> None:
        """Let the rows go."""

    def finish(self) -> tuple[Written | None, Written | None]:
        """No file was made."""
        return None, None

    def publish(self, summary: bytes, metrics: bytes) -> None:
        """Nothing is published."""

    def report(self, summary: bytes, metrics: bytes) -> None:
        """The error alone tells what went wrong."""

    def __exit__(self, *_: object) -> None:
        pass


def glob_escape(name: str) -> str:
    """A file name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _take_lock(targets: Targets) -> IO[bytes]:
    with storage_errors(targets.out):
        check_no_device(targets.lock)
        return _hold(targets.lock.open("ab"), targets.out)


def _hold(lock: IO[bytes], out: Path) -> IO[bytes]:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise LockedError(out) from None
    return lock


def _sync_folders(*paths: Path) -> None:
    for folder in sorted({path.parent for path in paths}):
        sync_path(folder)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals wait for a few renames; those that come meanwhile are too late to matter."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
