"""Scores to their destination: staged beside it, verified, then published in one atomic step.

The destination holds either the new scores, complete and verified, or the old ones, untouched.
Quarantine and summary are replaced just before: the SHA-256 in a summary says which scores it
describes. A table has no such hash, so the summary of a table is replaced just after.
"""

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from engine.errors import EngineError, SelfCheckError, StorageError, UsageError
from engine.interruption import check_interrupted
from engine.logs import LOG
from engine.outputs.metrics import to_prometheus
from engine.outputs.paths import Targets
from engine.outputs.summary import Tally, failed_summary
from engine.outputs.writer import FrameWriter, Written
from engine.storage import (
    check_no_device,
    locked,
    make_folder,
    move,
    remove_tree,
    storage_errors,
    sync_path,
    write_synced,
)

METRICS_MODE = 0o644
"""Metrics hold no user's data, and a different system user usually scrapes them."""


class Sink:
    """The outputs of one run: scores, quarantine if needed, summary, and metrics if wanted.

    A context manager: it locks the output on entry; on exit it always removes staging and lock. In
    between call `prepare`, `write`, `write_rejected`, `finish` and `publish`, or `report` after a failure.

    Attributes:
        targets: The destinations of the outputs.
        committed: Whether this run's scores are published.
        after_kill: Whether the files of a killed run were found.
    """

    def __init__(
        self,
        targets: Targets,
        repeated_texts: tuple[str, ...],
        *,
        replace: bool = False,
        for_spreadsheets: bool = False,
    ) -> None:
        if for_spreadsheets and not targets.destination.suffix.lower().startswith(".csv"):
            raise UsageError(f"{targets.out}: not a CSV file; --csv-for-spreadsheets needs one.")
        self.targets = targets
        self.committed = False
        self.after_kill = False
        self._repeated_texts = repeated_texts
        self._replace = replace
        self._for_spreadsheets = for_spreadsheets
        self._staging = f".{targets.out.name}.staging-{os.getpid()}"
        self._lock = ExitStack()
        self._work = ExitStack()
        self._scores: FrameWriter | None = None
        self._rejected: FrameWriter | None = None
        self._commit: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        with storage_errors(self.targets.out):
            check_no_device(self.targets.lock)
            self._lock.enter_context(locked(self.targets.lock, self.targets.out))
        return self

    def prepare(self) -> None:
        """Remove files left by killed runs, and create a staging folder beside every output."""
        with storage_errors(self.targets.out):
            pattern = f".{glob_escape(self.targets.out.name)}.staging-*"
            for left in [path for folder in self.targets.folders for path in folder.glob(pattern)]:
                _remove(left)
                self.after_kill = True
                LOG.info("%s: removed files of a killed run (%s)", self.targets.out, left.name)
            self._make_staging()

    def write(self, scores: pl.DataFrame) -> None:
        """Add the next rows of scores."""
        if self._scores is None:
            self._scores = self._writer(scores.schema, self._staged_scores, self.targets.out)
        with storage_errors(self.targets.out):
            self._scores.write(scores)

    def write_rejected(self, rows: pl.DataFrame) -> None:
        """Add the next rows of the quarantine."""
        path = self.targets.quarantine
        if self._rejected is None:
            self._rejected = self._writer(rows.schema, self._staged(path), path)
        with storage_errors(path):
            self._rejected.write(rows)

    def finish(self) -> tuple[Written | None, Written | None]:
        """Complete and verify the staged files, and load a table; returns scores and quarantine."""
        if self._scores is None:
            raise SelfCheckError(f"{self.targets.out}: no chunk was written.")
        scores = self._scores.finish()
        rejected = self._rejected.finish() if self._rejected else None
        loaded = self.targets.destination.loaded(self._staged_scores, replace=self._replace)
        self._commit = self._work.enter_context(loaded)
        return scores, rejected

    def publish(self, summary: bytes, metrics: bytes) -> None:
        """Move quarantine, then summary, then scores into place; that last move is the commit.

        The summary of a table follows the commit.

        Signals are ignored from here on.

        Raises:
            InterruptedRunError: A signal came earlier.
            StorageError: Before the commit: the old scores are still there. After it: the message
                says so.
        """
        targets = self.targets
        if self._commit is None:
            raise SelfCheckError(f"{targets.out}: the staged files were not finished.")
        check_interrupted()
        with storage_errors(targets.out):
            self._stage_reports(summary, metrics)
            if self._rejected is not None:
                move(self._staged(targets.quarantine), targets.quarantine)
            elif targets.own_quarantine:
                targets.quarantine.unlink(missing_ok=True)
            if targets.destination.is_file:
                move(self._staged(targets.summary), targets.summary)
            _sync_folders({targets.quarantine.parent, targets.summary.parent})
            self._commit()
            self.committed = True
            self._end_publishing()

    def report(self, summary: bytes, metrics: bytes) -> None:
        """Write the summary of a failed run.

        Staged files are removed first, because they may fill the disk.
        """
        targets = self.targets
        with storage_errors(targets.summary):
            self._work.close()
            self._make_staging()
            self._stage_reports(summary, metrics)
            try:
                move(self._staged(targets.summary), targets.summary)
            except OSError:
                # The renames of publishing may have failed too, after the one of its summary: better
                # words in place, not atomic, than a summary of scores that are not there.
                write_synced(targets.summary, summary)
            if targets.metrics is not None:
                move(self._staged(targets.metrics), targets.metrics, METRICS_MODE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._work.close()
        self._lock.__exit__(kind, error, traceback)

    @property
    def _staged_scores(self) -> Path:
        targets = self.targets
        return targets.out.parent / self._staging / f"scores{targets.destination.suffix}"

    def _staged(self, target: Path) -> Path:
        """The staging path of an output, on the same file system because it will be renamed."""
        return target.parent / self._staging / target.name

    def _make_staging(self) -> None:
        self._work.callback(self._clear)
        for folder in self.targets.folders:
            make_folder(folder / self._staging)

    def _clear(self) -> None:
        """Abandon unfinished files and remove staging."""
        for writer in (self._scores, self._rejected):
            if writer is not None:
                writer.abort()
        self._scores = self._rejected = None
        for folder in self.targets.folders:
            _remove(folder / self._staging)

    def _writer(self, schema: pl.Schema, staged: Path, target: Path) -> FrameWriter:
        return FrameWriter(
            staged, schema, self._repeated_texts, target, for_spreadsheets=self._for_spreadsheets
        )

    def _stage_reports(self, summary: bytes, metrics: bytes) -> None:
        targets = self.targets
        with storage_errors(targets.summary):
            write_synced(self._staged(targets.summary), summary)
        if targets.metrics is not None:
            with storage_errors(targets.metrics):
                write_synced(self._staged(targets.metrics), metrics, METRICS_MODE)

    def _end_publishing(self) -> None:
        """The steps after the commit."""
        targets = self.targets
        try:
            if not targets.destination.is_file:
                move(self._staged(targets.summary), targets.summary)
            if targets.metrics is not None:
                move(self._staged(targets.metrics), targets.metrics, METRICS_MODE)
            _sync_folders(targets.folders)
        except OSError as error:
            raise StorageError(
                f"{targets.out}: the scores of this run are published, but what follows failed "
                f"({error.strerror}): they may not outlive a power failure; summary and metrics may be "
                "old. Check the disk and run again with --if-exists replace, without --strict, because "
                "the same input is 'stale'."
            ) from error


class DryRun(Sink):
    """A sink that checks lock and directories but writes nothing."""

    def __enter__(self) -> Self:
        return self

    def prepare(self) -> None:
        """Check that no other run holds the output and that the directories are writable."""
        lock = self.targets.lock
        with storage_errors(self.targets.out):
            if lock.exists():
                with locked(lock, self.targets.out):
                    pass
            for folder in self.targets.folders:
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def write(self, scores: pl.DataFrame) -> None:
        """Discard the rows."""

    def write_rejected(self, rows: pl.DataFrame) -> None:
        """Discard the rows."""

    def finish(self) -> tuple[Written | None, Written | None]:
        """Return nothing, because no file was written."""
        return None, None

    def publish(self, summary: bytes, metrics: bytes) -> None:
        """Publish nothing."""

    def report(self, summary: bytes, metrics: bytes) -> None:
        """Write no summary; the error itself says what went wrong."""


@contextmanager
def failures_reported(sink: Sink, tally: Tally, started: float) -> Iterator[None]:
    """Write the summary of a run that fails, unless its scores are already published.

    Args:
        sink: The outputs of the run.
        tally: The counts so far.
        started: The start of the run, on the monotonic clock.
    """
    try:
        yield
    except UsageError:
        raise
    # NOTE: a panic inside Polars derives from BaseException, as Ctrl-C does in a notebook.
    except BaseException as error:
        if not sink.committed:
            targets, seconds = sink.targets, time.monotonic() - started
            summary = failed_summary(error, targets.label, targets.standing(), seconds, tally)
            # The user sees the error itself, whether or not its summary can be written.
            with suppress(OSError, EngineError):
                sink.report(summary.to_json(), to_prometheus(summary))
        raise


def glob_escape(name: str) -> str:
    """A glob pattern that matches only this file name."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _remove(path: Path) -> None:
    """Remove a folder or file; the next run removes what cannot be removed now."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink()


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        sync_path(folder)
