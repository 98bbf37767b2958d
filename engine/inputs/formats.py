"""The format of a file by its first bytes, and plain copies of files that are packed."""

import codecs
import zlib
from pathlib import Path
from typing import Literal

from engine.errors import InputError
from engine.inputs.arrow_messages import MAGIC as ARROW_MAGIC
from engine.inputs.arrow_streams import is_stream
from engine.inputs.parquet_checks import MAGIC as PARQUET_MAGIC

Format = Literal["parquet", "ipc", "csv", "ndjson"]

HEAD_BYTES = 65_536
BLOCK_BYTES = 1 << 20
UNPACKED_BYTES = 64 << 20
"""Below this size, a packed file may be unpacked whatever its ratio is."""
SPACES = b" \t\r\n"
"""What may stand between the values of a text format."""
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MAGIC: tuple[tuple[bytes, Format], ...] = ((PARQUET_MAGIC, "parquet"), (ARROW_MAGIC, "ipc"))
# NOTE: Polars could unpack some of these, but the checks read the bytes of the file.
_PACKED = (
    (GZIP_MAGIC, "gzip within gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"PK\x03\x04", "a ZIP archive, as workbooks are"),
)


def read_head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def detect_format(head: bytes, name: str) -> Format | Literal["ipc_stream"]:
    """Detect the format of a file by its first bytes, because endings may be wrong.

    Raises:
        InputError: It is empty, packed, or in no format that can be read.
    """
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
    if is_stream(head):
        return "ipc_stream"
    # NOTE: a text may have a NUL or two; in UTF-16 every second byte is one.
    if head.startswith((*UTF16_MARKS, b"PARE")) or head.count(b"\0") > len(head) // 8:
        raise InputError(
            f"{name}: neither Parquet (not encrypted), Arrow IPC, UTF-8 CSV nor NDJSON. "
            "Save it in one of these; UTF-16 text must become UTF-8."
        )
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b"<"):
        raise InputError(f"{name}: a web page or XML, not a table. Check the download.")
    if text.startswith(b"["):
        raise InputError(f"{name}: a JSON array. Write one object a line (NDJSON).")
    return "ndjson" if text.startswith(b"{") else "csv"


def unpacked(path: Path, target: Path, name: str, max_ratio: int) -> Path:
    """Unpack a file of one or more gzip members.

    Args:
        path: The packed file.
        target: A new file.
        name: What messages call it.
        max_ratio: How many times larger than `path` the content may be.

    Raises:
        InputError: It is larger.
        EOFError: The file is cut off.
    """
    most = max(UNPACKED_BYTES, max_ratio * path.stat().st_size)
    member = zlib.decompressobj(wbits=31)
    with path.open("rb") as packed, target.open("wb") as plain:
        while content := packed.read(BLOCK_BYTES):
            while content:
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                plain.write(member.decompress(content, BLOCK_BYTES))
                if plain.tell() > most:
                    raise InputError(
                        f"{name}: unpacks to more than {max_ratio:,} times its size, which tables "
                        "do not. Check the job that writes it; the commands of "
                        "engine read more with --max-gzip-ratio."
                    )
                # Members may be padded with zeros.
                content = member.unconsumed_tail or member.unused_data.lstrip(b"\0")
    if not member.eof:
        raise EOFError("the gzip stream is cut off")
    return target


def without_marks(path: Path, target: Path) -> Path:
    """Copy NDJSON without byte order marks that begin lines, as in files that were joined."""
    with path.open("rb") as marked, target.open("wb") as plain:
        while content := marked.read(BLOCK_BYTES) + marked.readline():
            content = content.removeprefix(codecs.BOM_UTF8)
            plain.write(content.replace(b"\n" + codecs.BOM_UTF8, b"\n"))
    return target


def wrong_byte(path: Path) -> str | None:
    """The place of the first byte that is not UTF-8, as a sentence; None if all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with path.open("rb") as file:
        while True:
            content = file.read(BLOCK_BYTES)
            start = done - len(decoder.getstate()[0])
            try:
                decoder.decode(content, final=not content)
            except UnicodeDecodeError as error:
                wrong = start + error.start + 1
                return f"byte {wrong:,} is not UTF-8; save the table as UTF-8"
            if not content:
                return None
            done += len(content)
