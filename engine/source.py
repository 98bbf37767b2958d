"""Inputs to chunks: finds the files, tells their formats, reads them in order.

Gives raw columns as they stand. Types and values are checked by `validation`.
"""

import glob
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from engine.errors import AccessError, InputError, NoInputError, StorageError

Format = Literal["parquet", "ipc", "csv", "ndjson"]

STANDARD_INPUT = "-"
HIDDEN_PREFIXES = (".", "_")
SNIFFED_BYTES = 512
# NDJSON names its columns row by row; this many rows show them all.
NDJSON_HEADER_ROWS = 1_000
_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "ipc"),
    (b"\x1f\x8b", "csv"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """One input file: its name for people, its format and its lazy columns."""

    name: str
    path: Path | None
    format: Format
    frame: pl.LazyFrame
    columns: pl.Schema


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file.

    `rows_before` counts the rows of the same file that came before, `input_rows_before` those of
    the whole input.
    """

    frame: pl.DataFrame
    file: str
    rows_before: int
    input_rows_before: int


@contextmanager
def open_inputs(inputs: Sequence[str]) -> Iterator[tuple[Table, ...]]:
    """Open files, globs, directories or `-` for standard input, in the order given.

    Args:
        inputs: A directory gives its files in the order of their names; names that begin with a
            dot or an underscore are left out.

    Raises:
        NoInputError: Nothing is there to read.
        InputError: A file is of no known format, or broken.
        AccessError: A file may not be read.
    """
    with tempfile.TemporaryDirectory(prefix="engine-") as spool:
        paths = [path for text in inputs for path in _paths(text, Path(spool))]
        yield tuple(_open_table(path, Path(spool)) for path in paths)


def read_chunks(
    tables: Iterable[Table], columns: Sequence[str], chunk_rows: int
) -> Iterator[Chunk]:
    """Read some columns of every table, chunk by chunk, in order.

    Raises:
        InputError: A file breaks off or cannot be decoded.
    """
    input_rows = 0
    for table in tables:
        rows = 0
        wanted = [name for name in columns if name in table.columns]
        for frame in _batches(table, wanted, chunk_rows):
            yield Chunk(frame, table.name, rows, input_rows)
            rows += frame.height
            input_rows += frame.height


def find_rows(table: Table, columns: Sequence[str], condition: pl.Expr) -> pl.DataFrame:
    """The rows of a table that meet a condition, with `source_row` (from 1); others are not kept.

    Raises:
        InputError: The file breaks off or cannot be decoded.
    """
    wanted = [name for name in columns if name in table.columns]
    with _reading(table.name):
        rows = table.frame.select(wanted).with_row_index("source_row", offset=1)
        return rows.filter(condition).collect(engine="streaming")


def count_rows(tables: Iterable[Table]) -> int | None:
    """The number of rows, where the formats tell it without reading them all."""
    tables = list(tables)
    if any(table.format in ("csv", "ndjson") for table in tables):
        return None
    return sum(int(table.frame.select(pl.len()).collect().item()) for table in tables)


def _paths(text: str, spool: Path) -> list[Path]:
    if text == STANDARD_INPUT:
        path = spool / "standard-input"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return [path]
    path = Path(text)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file())
        found = [p for p in found if not p.name.startswith(HIDDEN_PREFIXES)]
        what = f"{text}: a directory without files to read"
    elif path.is_file():
        return [path]
    else:
        # NOTE: a name with brackets is tried as a plain file first.
        found = sorted(p for p in map(Path, glob.glob(text)) if p.is_file())  # noqa: PTH207
        what = f"{text}: no such file"
    if not found:
        raise NoInputError(f"{what}. Check the path; the working directory is {Path.cwd()}.")
    return found


def _open_table(path: Path, spool: Path) -> Table:
    name = "standard input" if path.parent == spool else str(path)
    try:
        with path.open("rb") as file:
            head = file.read(SNIFFED_BYTES)
    except PermissionError:
        raise AccessError(f"{name}: may not be read by this user.") from None
    kind = _format(head, name)
    with _reading(name):
        frame = _scan(path, kind)
        return Table(
            name, None if path.parent == spool else path, kind, frame, frame.collect_schema()
        )


def _format(head: bytes, name: str) -> Format:
    """Tell the format by the first bytes of a file; endings may lie."""
    if not head:
        raise InputError(f"{name}: empty file. Check the job that writes it.")
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if b"\0" in head:
        raise InputError(
            f"{name}: neither Parquet, Arrow IPC, UTF-8 CSV nor NDJSON. "
            "Save it in one of these; UTF-16 text must become UTF-8."
        )
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        raise InputError(f"{name}: a web page or XML, not a table. Check the download.")
    return "ndjson" if text.startswith(b"{") else "csv"


def _scan(path: Path, kind: Format) -> pl.LazyFrame:
    if kind == "parquet":
        return pl.scan_parquet(path, glob=False)
    if kind == "ipc":
        return pl.scan_ipc(path, glob=False)
    if kind == "csv":
        # Every column as text: a guessed type would change ids and hide what is no number.
        return pl.scan_csv(path, infer_schema=False, glob=False)
    names = pl.scan_ndjson(path, infer_schema_length=NDJSON_HEADER_ROWS).collect_schema().names()
    return pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String))


def _batches(table: Table, columns: list[str], chunk_rows: int) -> Iterator[pl.DataFrame]:
    with _reading(table.name):
        # NOTE: `collect_batches` is marked unstable; this is its only use.
        yield from table.frame.select(columns).collect_batches(
            chunk_size=chunk_rows, maintain_order=True
        )


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what Polars raises into an error that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise _broken(name, error) from error
        raise StorageError(f"{name}: cannot be read: {error.strerror}. Run again.") from error
    # NOTE: a panic inside Polars derives from BaseException.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> InputError:
    first_line = str(error).strip().split("\n")[0]
    return InputError(
        f"{name}: cannot be read: {first_line}. "
        "The file may be incomplete or damaged: write it again."
    )
