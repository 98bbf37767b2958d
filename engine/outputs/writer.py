"""Frames and small files to disk: written, forced out, opened again and checked.

What stands where, and when it is published, is left to `sink`.
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread

import polars as pl
from polars.io.plugins import register_io_source

from engine.errors import (
    AccessError,
    CannotCreateError,
    EngineError,
    SelfCheckError,
    StorageError,
)
from engine.outputs.spreadsheets import without_formulas

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
SHARED_MODE = 0o666
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
    place where the file will go. CSV `for_spreadsheets` holds no formulas.
    """

    def __init__(
        self,
        path: Path,
        schema: Mapping[str, pl.DataType],
        repeated_texts: tuple[str, ...] = (),
        target: Path | None = None,
        *,
        for_spreadsheets: bool = False,
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
        if for_spreadsheets and output_format(path) == "csv":
            lazy = without_formulas(lazy)
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
    _write_whole(path, content, PRIVATE_MODE)


def write_shared(path: Path, content: bytes) -> None:
    """Write a small file in one atomic step, readable by all whom the umask admits."""
    _write_whole(path, content, SHARED_MODE)


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    if not path.name:
        raise CannotCreateError(f"{path}: is no name of a file. Name one.")
    staging = path.with_name(f".{path.name}.staging-{os.getpid()}")
    try:
        check_no_device(path)
        write_synced(staging, content, mode)
        staging.replace(path)
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


def write_synced(path: Path, content: bytes, mode: int = PRIVATE_MODE) -> None:
    """Write a small file, by default readable by its owner only, and force it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def check_no_device(path: Path) -> None:
    """Check that nothing stands at a place that a file may not take, as /dev/null or a pipe.

    Raises:
        CannotCreateError: It does.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CannotCreateError(f"{path}: is a device or a pipe, not a file. Name a file.")


def move(source: Path, target: Path, mode: int = PRIVATE_MODE) -> None:
    """Put a file in the place of another, in one step.

    Args:
        source: A file on the same file system.
        target: Its place.
        mode: What others may do with it, by default nothing; less where the umask asked for less
            when the file was made.
    """
    check_no_device(target)
    source.chmod(source.stat().st_mode & mode)
    source.replace(target)


def _storage_error(path: Path, error: BaseException) -> EngineError:
    # NOTE: Polars raises some operating-system errors without errno, only in the text.
    stated = re.search(r"os error (\d+)", str(error))
    number = getattr(error, "errno", None) or (int(stated[1]) if stated else None)
    reason = os.strerror(number) if number else str(error).split("\n")[0]
    if number in (errno.EACCES, errno.EPERM):
        return AccessError(f"{path}: may not be written by this user ({reason}).")
    if number in (
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG),
        *(errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP, errno.EXDEV, errno.EBUSY),
    ):
        return CannotCreateError(f"{path}: cannot be created: {reason}.")
    return StorageError(
        f"{path}: could not be written: {reason}. Nothing was published; free space and run again."
    )


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
