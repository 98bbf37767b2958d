"""Scores to disk: written beside, verified, then published in one atomic step.

An output is either the new one, complete and verified, or the old one, untouched. Whatever a killed
run left beside an output is removed by the next run that holds its lock.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import IO, Self

import polars as pl
from polars.io.plugins import register_io_source

from engine.errors import (
    AccessError,
    CannotCreateError,
    EngineError,
    LockedError,
    SelfCheckError,
    StorageError,
    UsageError,
    quoted,
)

ENDINGS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
# Fixed, so that the bytes of a file do not depend on the size of the chunks it was written in.
ROW_GROUP_ROWS = 65_536
PRIVATE_MODE = 0o600
FRAMES_WAITING = 4


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file."""

    rows: int
    size_bytes: int
    sha256: str


class FrameWriter:
    """One file, written from frames as they come, by Polars' own streaming writers.

    The format follows the ending of the path. Columns named in `repeated_texts` become
    dictionaries in Arrow IPC; Parquet makes dictionaries by itself. Messages name `target`, the
    place where the file will go.
    """

    def __init__(
        self,
        path: Path,
        schema: Mapping[str, pl.DataType],
        repeated_texts: tuple[str, ...] = (),
        target: Path | None = None,
    ) -> None:
        self._path = path
        self._target = target or path
        self._rows = 0
        self._frames: Queue[pl.DataFrame | None] = Queue(FRAMES_WAITING)
        self._failure: BaseException | None = None
        self._aborted = False
        self._ended = False
        lazy = register_io_source(self._source, schema=pl.Schema(schema), is_pure=True)
        if output_format(path) == "ipc":
            lazy = lazy.with_columns(
                pl.col([n for n in repeated_texts if n in schema]).cast(pl.Categorical)
            )
        self._thread = Thread(target=self._write, args=(lazy,), name="frame-writer", daemon=True)
        self._thread.start()

    def write(self, frame: pl.DataFrame) -> None:
        """Hand over some rows; waits while the disk is behind.

        Raises:
            EngineError: An earlier write failed.
        """
        self._raise_failure()
        self._rows += frame.height
        self._frames.put(frame)

    def finish(self) -> Written:
        """End the file, force it to disk, open it again and check it.

        Raises:
            EngineError: The file could not be written.
            SelfCheckError: It does not hold the rows that were handed over.
        """
        self._frames.put(None)
        self._thread.join()
        self._raise_failure()
        with storage_errors(self._target), self._path.open("rb+") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        found = _count_rows(self._path)
        if found != self._rows:
            raise SelfCheckError(
                f"{self._target}: {self._rows:,} rows written, {found:,} found in the file."
            )
        return Written(self._rows, size, digest)

    def abort(self) -> None:
        """Give the file up; what is on disk is of no use."""
        self._aborted = True
        self._frames.put(None)
        self._thread.join()

    def _source(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,  # noqa: ARG002 - the signature is Polars'
        n_rows: int | None,  # noqa: ARG002
        batch_size: int | None,  # noqa: ARG002
    ) -> Iterator[pl.DataFrame]:
        while (frame := self._next()) is not None:
            yield frame if with_columns is None else frame.select(with_columns)
        if self._aborted:
            raise InterruptedError

    def _next(self) -> pl.DataFrame | None:
        frame = None if self._ended else self._frames.get()
        self._ended = frame is None
        return frame

    def _write(self, lazy: pl.LazyFrame) -> None:
        try:
            with storage_errors(self._target):
                _sink(lazy, self._path)
        # The failure is raised again by `write` or `finish`, in the thread that waits for it.
        except BaseException as error:  # noqa: BLE001
            self._failure = error
            while self._next() is not None:
                pass

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


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
            _write_synced(staged, summary)
            if self._rejected is not None:
                _move(self._staged(quarantine, "quarantine"), quarantine)
            _move(staged, summary_path)
            _move(self._staged(out, "scores"), out)
            self.committed = True
            if self._rejected is None and self.targets.own_quarantine:
                quarantine.unlink(missing_ok=True)
            for folder in {path.parent for path in self.targets.paths}:
                _sync_directory(folder)

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


def output_format(path: Path) -> str:
    """The format that the ending of a path stands for.

    Raises:
        CannotCreateError: The ending stands for none.
    """
    kind = ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise CannotCreateError(
            f"{path}: the ending {path.suffix!r} names no format. Use one of: {', '.join(ENDINGS)}"
        )
    return kind


def write_private(path: Path, content: bytes) -> None:
    """Write a small file in one atomic step, readable by its owner only."""
    staging = path.with_name(f".{path.name}.staging-{os.getpid()}")
    try:
        _write_synced(staging, content)
        _move(staging, path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk or Polars raises while writing into an `EngineError` that names the path."""
    try:
        yield
    except EngineError:
        raise
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _storage_error(path, error) from error


def glob_escape(name: str) -> str:
    """A file name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _storage_error(path: Path, error: BaseException) -> EngineError:
    # NOTE: Polars raises some operating-system errors without errno, only in the text.
    stated = re.search(r"os error (\d+)", str(error))
    number = getattr(error, "errno", None) or (int(stated[1]) if stated else None)
    reason = os.strerror(number) if number else str(error).split("\n")[0]
    if number in (errno.EACCES, errno.EPERM):
        return AccessError(f"{path}: may not be written by this user ({reason}).")
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG):
        return CannotCreateError(f"{path}: cannot be created: {reason}.")
    return StorageError(
        f"{path}: could not be written: {reason}. Nothing was published; free space and run again."
    )


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise CannotCreateError(f"{path}: is a directory. Name a file.")
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


def _sink(lazy: pl.LazyFrame, path: Path) -> None:
    kind = output_format(path)
    if kind == "parquet":
        lazy.sink_parquet(path, row_group_size=ROW_GROUP_ROWS, maintain_order=True)
    elif kind == "ipc":
        lazy.sink_ipc(path, record_batch_size=ROW_GROUP_ROWS, maintain_order=True)
    elif kind == "csv":
        lazy.sink_csv(path, maintain_order=True)
    else:
        lazy.sink_ndjson(path, maintain_order=True)


def _count_rows(path: Path) -> int:
    kind = output_format(path)
    with storage_errors(path):
        if kind == "parquet":
            frame = pl.scan_parquet(path, glob=False)
        elif kind == "ipc":
            frame = pl.scan_ipc(path, glob=False)
        elif kind == "csv":
            frame = pl.scan_csv(path, infer_schema=False, glob=False)
        else:
            with path.open("rb") as file:
                return sum(1 for _ in file)
        return int(frame.select(pl.len()).collect().item())


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _move(source: Path, target: Path) -> None:
    source.chmod(PRIVATE_MODE)
    source.replace(target)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
