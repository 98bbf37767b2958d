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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
    dictionaries in Arrow IPC; Parquet makes dictionaries by itself.
    """

    def __init__(
        self, path: Path, schema: Mapping[str, pl.DataType], repeated_texts: tuple[str, ...] = ()
    ) -> None:
        self._path = path
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
        with storage_errors(self._path), self._path.open("rb+") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        found = _count_rows(self._path)
        if found != self._rows:
            raise SelfCheckError(
                f"{self._path.name}: {self._rows:,} rows written, {found:,} found in the file."
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
            with storage_errors(self._path):
                _sink(lazy, self._path)
        # The failure is raised again by `write` or `finish`, in the thread that waits for it.
        except BaseException as error:  # noqa: BLE001
            self._failure = error
            while self._next() is not None:
                pass

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._thread.join(0)
            raise self._failure


class Sink:
    """The outputs of one run: scores, and quarantined rows if there are any.

    Used as a context: on entry the output is locked and staging is made beside it; on exit both
    are gone, whatever happened.
    """

    def __init__(
        self, out: Path, quarantine: Path, repeated_texts: tuple[str, ...], *, replace: bool
    ) -> None:
        self.out = out
        self.quarantine = quarantine
        self._repeated_texts = repeated_texts
        self._replace = replace
        self._lock: IO[bytes] | None = None
        self._staging = out.parent / f".{out.name}.staging-{os.getpid()}"
        self._scores: FrameWriter | None = None
        self._rejected: FrameWriter | None = None

    def __enter__(self) -> Self:
        self._lock = _take_lock(self.out)
        if self.out.exists() and not self._replace:
            self._release_lock()
            raise CannotCreateError(
                f"{self.out}: exists already. Use --if-exists replace, or another --out."
            )
        with storage_errors(self.out):
            for stale in self.out.parent.glob(f".{glob_escape(self.out.name)}.staging-*"):
                shutil.rmtree(stale, ignore_errors=True)
            self._staging.mkdir(mode=0o700)
        return self

    def write(self, scores: pl.DataFrame, rejected: pl.DataFrame) -> None:
        """Take the next rows of both outputs."""
        if self._scores is None:
            self._scores = FrameWriter(
                self._staging / self.out.name, scores.schema, self._repeated_texts
            )
        self._scores.write(scores)
        if rejected.height:
            if self._rejected is None:
                self._rejected = FrameWriter(self._staging / self.quarantine.name, rejected.schema)
            self._rejected.write(rejected)

    def finish(self) -> tuple[Written, Written | None]:
        """Complete and verify the staged files; gives scores and quarantine."""
        if self._scores is None:
            raise SelfCheckError(f"{self.out}: no chunk was written.")
        return self._scores.finish(), self._rejected.finish() if self._rejected else None

    def publish(self, summary_path: Path | None, summary: bytes) -> None:
        """Move quarantine, then summary, then scores into place; the last move is the commit."""
        with storage_errors(self.out):
            if self._rejected is not None:
                _move(self._staging / self.quarantine.name, self.quarantine)
            if summary_path is not None:
                write_private(summary_path, summary)
            _move(self._staging / self.out.name, self.out)
            if self._rejected is None:
                # Rows that an earlier run set aside do not belong to these scores.
                self.quarantine.unlink(missing_ok=True)
            _sync_directory(self.out.parent)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            for writer in (self._scores, self._rejected):
                if writer is not None:
                    writer.abort()
        shutil.rmtree(self._staging, ignore_errors=True)
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()


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
    staging = path.parent / f".{path.name}.staging-{os.getpid()}"
    try:
        with staging.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
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


def _take_lock(out: Path) -> IO[bytes]:
    output_format(out)
    if out.is_dir():
        raise CannotCreateError(f"{out}: is a directory. Name a file.")
    if not out.parent.is_dir():
        raise CannotCreateError(f"{out}: the directory {out.parent} does not exist. Make it first.")
    with storage_errors(out):
        lock = out.with_name(f"{out.name}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise LockedError(out) from None
    return lock


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


def _move(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        source.chmod(PRIVATE_MODE)
    source.replace(target)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
