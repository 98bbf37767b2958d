"""Writes frames to one file, forces it to disk, reopens and verifies it."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from queue import Empty, Full, Queue

import polars as pl
from polars.io.plugins import register_io_source
from polars.selectors import by_name

from engine.errors import CannotCreateError, SelfCheckError
from engine.interruption import CANCEL_SECONDS, STEP_SECONDS, check_interrupted, finished, started
from engine.storage import storage_errors

ENDINGS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
# Fixed, so that the bytes of a file do not depend on the chunk size.
ROW_GROUP_ROWS = 65_536
FRAMES_WAITING = 4
ARROW_SCHEMA = "ARROW:schema"
"""The entry of a Parquet file's metadata that readers of Arrow believe."""
# The characters that OWASP lists under "CSV injection", with their full-width forms:
# https://owasp.org/www-community/attacks/CSV_Injection
_STARTS = r"=+\-@＝＋－＠"
_FORMULA = rf"^[{_STARTS}\t\r\n]"
# Where numbers have decimal commas, a spreadsheet splits a text at semicolons and tabs, in quotes too.
_FORMULA_WITHIN = rf"([;,|\t\r\n][\s\"']*)([{_STARTS}])"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True, slots=True)
class Written:
    """A complete file."""

    rows: int
    size_bytes: int
    sha256: str


class FrameWriter:
    """Streams frames into one file with Polars' writers.

    The format follows the ending of the path. Columns named in `repeated_texts` may be Enum, which
    no file is: they become dictionaries in Arrow IPC and texts everywhere else; Parquet has
    dictionaries anyway. Messages name `target`, the final path of the file. With
    `for_spreadsheets`, a CSV contains no formulas.
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
        self._aborted = False
        self._ended = False
        lazy = register_io_source(self._source, schema=pl.Schema(schema), is_pure=True)
        repeated = [name for name in repeated_texts if name in schema]
        if output_format(path) != "parquet":
            kind = pl.Categorical() if output_format(path) == "ipc" else pl.String()
            lazy = lazy.with_columns(pl.col(repeated).cast(kind))
        stated = {**schema, **dict.fromkeys(repeated, pl.String())}
        if for_spreadsheets and output_format(path) == "csv":
            lazy = without_formulas(lazy)
        self._written = started(partial(self._write, lazy, stated))

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows; waits while the disk is behind.

        Raises:
            EngineError: An earlier write failed, or a signal came.
        """
        self._rows += frame.height
        self._put(frame)

    def finish(self) -> Written:
        """Complete the file, force it to disk, reopen and check it.

        Raises:
            EngineError: The file could not be written, or a signal came.
            SelfCheckError: It does not hold all rows.
        """
        self._put(None)
        return finished(self._written)

    def abort(self) -> None:
        """Abandon the file; its content is incomplete."""
        self._aborted = True
        with suppress(Empty):
            while True:
                self._frames.get_nowait()
        self._frames.put(None)
        wait([self._written], CANCEL_SECONDS)

    def _put(self, frame: pl.DataFrame | None) -> None:
        while True:
            check_interrupted()
            if self._written.done():
                self._written.result()
            with suppress(Full):
                return self._frames.put(frame, timeout=STEP_SECONDS)

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

    def _write(self, lazy: pl.LazyFrame, columns: Mapping[str, pl.DataType]) -> Written:
        with storage_errors(self._target):
            _sink(lazy, self._path, columns)
            with self._path.open("rb+") as file:
                os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
            found = _count_rows(self._path)
        if found != self._rows:
            raise SelfCheckError(
                f"{self._target}: {self._rows:,} rows written, {found:,} found in the file."
            )
        return Written(self._rows, size, digest)


def ending(path: Path) -> str:
    """The ending of a path that names its format, as it is written: `.csv.gz` is one."""
    return path.name[-7:] if path.name.lower().endswith(".csv.gz") else path.suffix


def output_format(path: Path) -> str:
    """The format of a path by its ending.

    Raises:
        CannotCreateError: The ending is unknown.
    """
    kind = ENDINGS.get(ending(path).lower())
    if kind is None:
        raise CannotCreateError(
            f"{path}: the ending {ending(path)!r} names no format. Use one of: {', '.join(ENDINGS)}"
        )
    return kind


def without_formulas(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Put an apostrophe before every text, or part of one, that a spreadsheet would run as a formula.

    This includes column names; plain numbers stay unchanged.
    """
    columns = frame.collect_schema()
    names = pl.Series(list(columns), dtype=pl.String).to_frame("name").select(_harmless("name"))
    texts = (pl.String, pl.Categorical, pl.Enum)
    return frame.with_columns(
        _harmless(name) for name, dtype in columns.items() if dtype.base_type() in texts
    ).rename(dict(zip(columns, names["name"], strict=True)))


def _harmless(name: str) -> pl.Expr:
    text = by_name(name).cast(pl.String)
    runs = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    text = text.str.replace_all(_FORMULA_WITHIN, "${1}'${2}")
    return pl.when(runs).then(pl.lit("'") + text).otherwise(text).alias(name)


def _sink(lazy: pl.LazyFrame, path: Path, columns: Mapping[str, pl.DataType]) -> None:
    """Write a file; `columns` are those that its readers shall see."""
    packed = path.suffix.lower() == ".gz"
    sinks: dict[str, Callable[..., object]] = {
        "parquet": partial(_sink_parquet, lazy, columns),
        "ipc": partial(lazy.sink_ipc, record_batch_size=ROW_GROUP_ROWS),
        "csv": partial(lazy.sink_csv, compression="gzip" if packed else "uncompressed"),
        "ndjson": lazy.sink_ndjson,
    }
    sinks[output_format(path)](path, maintain_order=True)


def _sink_parquet(
    lazy: pl.LazyFrame, columns: Mapping[str, pl.DataType], path: Path, *, maintain_order: bool
) -> None:
    # NOTE: Parquet stores an Enum as it stores any text with a dictionary; only this entry, which Polars
    # would write for its own types, says which of the two a reader of Arrow gets.
    empty = BytesIO()
    pl.DataFrame(schema=columns).write_parquet(empty)
    empty.seek(0)
    stated = {ARROW_SCHEMA: pl.read_parquet_metadata(empty)[ARROW_SCHEMA]}
    lazy.sink_parquet(
        path, row_group_size=ROW_GROUP_ROWS, metadata=stated, maintain_order=maintain_order
    )


def _count_rows(path: Path) -> int:
    if output_format(path) == "ndjson":
        with path.open("rb") as file:
            return sum(1 for _ in file)
    scans: dict[str, Callable[..., pl.LazyFrame]] = {
        "parquet": pl.scan_parquet,
        "ipc": pl.scan_ipc,
        "csv": partial(pl.scan_csv, infer_schema=False),
    }
    frame = scans[output_format(path)](path, glob=False)
    return int(frame.select(pl.len()).collect().item())
