"""Scores to disk: written beside, verified, then published in one atomic step.

An output is either the new one, complete and verified, or the old one, untouched. Whatever a killed
run left beside an output is removed by the next run that holds its lock.
"""

import fcntl
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import polars as pl

from engine.bundle import sync_path
from engine.errors import CannotCreateError, LockedError, SelfCheckError, UsageError, quoted
from engine.writer import (
    FrameWriter,
    Written,
    check_no_device,
    move,
    output_format,
    storage_errors,
    write_synced,
)


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the files of one run go.

    Attributes:
        out: The scores.
        quarantine: Rows that are set aside; written only if there are any.
        summary: The JSON summary.
        own_quarantine: Whether the place of the quarantine follows from that of the scores. An
            older file there belongs to older scores and goes with them.
    """

    out: Path
    quarantine: Path
    summary: Path
    own_quarantine: bool

    @classmethod
    def of(cls, out: Path, quarantine: Path | None, summary: Path | None) -> "Targets":
        """Fill in the places beside the scores that were not named.

        Raises:
            UsageError: Two of them are the same.
            CannotCreateError: One lies in no directory, is one, or has an unknown ending.
        """
        beside = out.with_name(f"{out.name}.quarantine{out.suffix}")
        found = cls(
            out,
            quarantine or beside,
            summary or out.with_name(f"{out.name}.summary.json"),
            quarantine is None,
        )
        resolved = {path.resolve() for path in found.paths}
        if len(resolved) < len(found.paths):
            raise UsageError(
                f"{out}: scores, quarantine and summary need three different places, found "
                f"{quoted(map(str, found.paths))}."
            )
        output_format(found.out)
        output_format(found.quarantine)
        for path in found.paths:
            _check_place(path)
        return found

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """Scores, quarantine, summary."""
        return self.out, self.quarantine, self.summary


class Sink:
    """The outputs of one run: scores, rows set aside if there are any, and the summary.

    Used as a context: on entry the output is locked and staging is made beside every file that
    will be published; on exit both are gone, whatever happened.

    Attributes:
        targets: Where the files go.
        committed: Whether the scores of this run stand at the output.
    """

    def __init__(self, targets: Targets, repeated_texts: tuple[str, ...]) -> None:
        self.targets = targets
        self.committed = False
        self._repeated_texts = repeated_texts
        self._lock: IO[bytes] | None = None
        self._scores: FrameWriter | None = None
        self._rejected: FrameWriter | None = None

    def __enter__(self) -> Self:
        self._lock = _take_lock(self.targets.out)
        try:
            self._remove_stale()
            for folder in self._staging_folders():
                with storage_errors(self.targets.out):
                    folder.mkdir(mode=0o700)
        except BaseException:
            self._close()
            raise
        return self

    def write(self, scores: pl.DataFrame, rejected: pl.DataFrame) -> None:
        """Take the next rows of both outputs."""
        if self._scores is None:
            staged = self._staged(self.targets.out, "scores")
            self._scores = FrameWriter(
                staged, scores.schema, self._repeated_texts, self.targets.out
            )
        self._scores.write(scores)
        if rejected.height:
            if self._rejected is None:
                staged = self._staged(self.targets.quarantine, "quarantine")
                self._rejected = FrameWriter(staged, rejected.schema, (), self.targets.quarantine)
            self._rejected.write(rejected)

    def finish(self) -> tuple[Written, Written | None]:
        """Complete and verify the staged files; gives scores and quarantine."""
        if self._scores is None:
            raise SelfCheckError(f"{self.targets.out}: no chunk was written.")
        return self._scores.finish(), self._rejected.finish() if self._rejected else None

    def publish(self, summary: bytes) -> None:
        """Move quarantine, then summary, then scores into place; the last move is the commit."""
        out, quarantine, summary_path = self.targets.paths
        with storage_errors(out), _uninterrupted():
            staged = self._staged(summary_path, "summary")
            write_synced(staged, summary)
            if self._rejected is not None:
                move(self._staged(quarantine, "quarantine"), quarantine)
            move(staged, summary_path)
            move(self._staged(out, "scores"), out)
            self.committed = True
            if self._rejected is None and self.targets.own_quarantine:
                quarantine.unlink(missing_ok=True)
            for folder in {path.parent for path in self.targets.paths}:
                sync_path(folder)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _uninterrupted():
            if kind is not None:
                for writer in (self._scores, self._rejected):
                    if writer is not None:
                        writer.abort()
            self._close()

    def _close(self) -> None:
        for folder in self._staging_folders():
            shutil.rmtree(folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def _staging_folders(self) -> list[Path]:
        """One beside every file, because a rename works only within one file system."""
        name = f".{self.targets.out.name}.staging-{os.getpid()}"
        return sorted({path.parent / name for path in self.targets.paths})

    def _staged(self, target: Path, name: str) -> Path:
        staging = f".{self.targets.out.name}.staging-{os.getpid()}"
        return target.parent / staging / f"{name}{target.suffix}"

    def _remove_stale(self) -> None:
        pattern = f".{glob_escape(self.targets.out.name)}.staging-*"
        for folder in {path.parent for path in self.targets.paths}:
            for stale in folder.glob(pattern):
                shutil.rmtree(stale, ignore_errors=True)


def glob_escape(name: str) -> str:
    """A file name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise CannotCreateError(f"{path}: is a directory. Name a file.")
    check_no_device(path)
    if not path.parent.is_dir():
        raise CannotCreateError(
            f"{path}: the directory {path.parent} does not exist. Make it first."
        )


def _take_lock(out: Path) -> IO[bytes]:
    with storage_errors(out):
        lock = out.with_name(f"{out.name}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise LockedError(out) from None
    return lock


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
