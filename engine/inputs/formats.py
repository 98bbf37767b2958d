"""Recognises formats by their first bytes, and refuses files that Polars would misread.

Takes paths and returns formats and plain files; `open` and `chunks` read the rows.
"""

import csv
import shutil
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from engine.errors import InputError, pluralize, quoted
from engine.inputs.csv_checks import has_lone_returns, misplaced_quote, wrong_byte

Format = Literal["parquet", "ipc", "csv", "ndjson"]

SNIFFED_BYTES = 65_536
TAIL_BYTES = 65_536
GZIP_MAGIC = b"\x1f\x8b"
_MAGIC: tuple[tuple[bytes, Format], ...] = ((b"PAR1", "parquet"), (b"ARROW1", "ipc"))
# NOTE: Polars unpacks some of these itself, but the checks here need the plain bytes.
_PACKED = (
    (GZIP_MAGIC, "gzip within gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"PK\x03\x04", "a ZIP archive, as workbooks are"),
)
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
COPIED_BYTES = 1 << 20


def read_head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(SNIFFED_BYTES)


def unpacked(path: Path, target: Path) -> Path:
    """Unpack a file of one or more gzip members."""
    member = zlib.decompressobj(wbits=31)
    with path.open("rb") as packed, target.open("wb") as plain:
        while content := packed.read(COPIED_BYTES):
            while content:
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                plain.write(member.decompress(content))
                # Members may be padded with zeros.
                content = member.unused_data.lstrip(b"\0")
    if not member.eof:
        raise EOFError("the gzip stream is truncated")
    return target


def without_mark(path: Path, target: Path) -> Path:
    """Copy a text without its byte order mark, which Polars would read as part of NDJSON."""
    with path.open("rb") as marked, target.open("wb") as plain:
        marked.seek(len(BOM_UTF8))
        shutil.copyfileobj(marked, plain)
    return target


def told_format(head: bytes, name: str) -> Format:
    """The format of a file by its first bytes, whatever its ending."""
    if not head:
        raise InputError(f"{name}: empty file. Check the job that writes it.")
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for magic, what in _PACKED:
        if head.startswith(magic):
            raise InputError(
                f"{name}: {what}. Unpack it; CSV and NDJSON may be packed with gzip once."
            )
    # NOTE: a text may hold a few NULs; UTF-16 has one in every second byte.
    if head.startswith((*UTF16_MARKS, b"PARE")) or head.count(b"\0") > len(head) // 8:
        raise InputError(
            f"{name}: neither Parquet (not encrypted), Arrow IPC, UTF-8 CSV nor NDJSON. "
            "Save it in one of these; UTF-16 text must become UTF-8."
        )
    text = head.removeprefix(BOM_UTF8).lstrip()
    if text.startswith(b"<"):
        raise InputError(f"{name}: a web page or XML, not a table. Check the download.")
    if text.startswith(b"["):
        raise InputError(f"{name}: a JSON array. Write one object a line (NDJSON).")
    return "ndjson" if text.startswith(b"{") else "csv"


def check_csv(path: Path, head: bytes, name: str, wanted: Sequence[str] = ()) -> None:
    """Refuse files that Polars would misread silently.

    Args:
        path: The file.
        head: Its first bytes.
        name: Its name in messages.
        wanted: Column names that may be shown; without a header, the others are values of a user.

    Raises:
        InputError: The file has repeated columns, other separators or line ends, misplaced quotes,
            or ends in the middle of a row.
    """
    if has_lone_returns(head):
        raise InputError(
            f"{name}: its lines end with CR alone. Write them with LF, or with CR and LF."
        )
    header = csv_header(path)
    if repeated := [column for column, times in Counter(header).items() if column and times > 1]:
        raise InputError(f"{name}: {_repeated_words(header, repeated, wanted)}")
    separators = {"';'": ";", "a tab": "\t", "'|'": "|"}
    meant = [words for words, separator in separators.items() if separator in "".join(header)]
    if len(header) == 1 and meant:
        raise InputError(
            f"{name}: found 1 column, did you mean {meant[0]}? Columns are separated by commas: "
            "write the file again with them."
        )
    if (row := misplaced_quote(path)) is not None:
        # If the bytes are not text, quotes mean nothing.
        fault = wrong_byte(path) or (
            f"row {row:,} (the header is 0) has a quote in the middle of a text. Write such a text in "
            'quotes, and quotes within it twice: "a ""b"" c"; a backslash escapes nothing'
        )
        raise InputError(f"{name}: {fault}.")
    if _ends_within_row(path, len(header)):
        raise InputError(
            f"{name}: ends in the middle of a row. The file is incomplete: write it again."
        )


def _repeated_words(header: Sequence[str], repeated: Sequence[str], wanted: Sequence[str]) -> str:
    known = sorted(set(repeated).intersection(wanted))
    places = f"the first of them in column {header.index(repeated[0]) + 1:,}"
    return (
        f"{pluralize(len(repeated), 'column')} named more than once: "
        f"{quoted(known) if known else places}. Rename or remove the others, or give the file its header."
    )


def csv_header(path: Path) -> list[str]:
    """The names of the columns of a CSV."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        return next((row for row in csv.reader(text) if row), [])


def _ends_within_row(path: Path, columns: int) -> bool:
    """Whether the last line seems to be truncated, judged by the last bytes."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read()
    before, newline, last = tail.rpartition(b"\n")
    # NOTE: a line with a quote may end a text that spans lines, so it cannot be judged.
    is_telling = before and newline and last and b'"' not in last
    return bool(is_telling) and last.count(b",") < columns - 1
