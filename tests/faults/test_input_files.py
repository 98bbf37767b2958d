"""Files that are missing, damaged or not what they seem: faults.md, part A."""

import codecs
import gzip
import os
import random
import re
import resource
from pathlib import Path

import polars as pl
import pytest

from engine.errors import EngineError, InputError
from engine.inputs.chunks import read_chunks
from engine.inputs.open import open_inputs
from tests.faults.inputs import bytes_of, case, outcome, validated
from tests.helpers import BUNDLE, read_summary, run, write_table

CASES = {
    "A01": "path missing: 66",
    "A02": "empty glob, empty directory: 66",
    "A03": "zero-byte Parquet: 65",
    "A04": "zero-byte CSV: 65",
    "A05": "header without rows: 65",
    "A06": "truncated Parquet: 65, 'incomplete or damaged'",
    "A07": "random bytes named .parquet: 65",
    "A08": "a file with the ending of another format: accepted, the first bytes decide",
    "A09": "a flipped bit in the data: scores or 65, never a crash; a flip that leaves a valid table needs the producer's checksum",
    "A10": "a flipped bit in the footer: 65 or scores",
    "A11": "a file on which Polars panics: 65",
    "A12": "truncated while it is read: 65; files that Polars maps are read from a copy",
    "A13": "replaced while it is read: 65",
    "A14": "truncated gzip: 65; several members are accepted",
    "A15": "UTF-16: 65",
    "A16": "Latin-1: 65 with the position of the byte",
    "A17": "UTF-8 with a byte order mark: accepted",
    "A18": "line ends: CRLF accepted, CR alone 65",
    "A19": "another separator: 65 naming the separator found",
    "A20": "an HTML page: 65",
    "A21": "a quote that is never closed: 65 with the row",
    "A22": "a row longer than the header: 65 with the row",
    "A23": "a row shorter than the header: quarantined; 65 if it is the last",
    "A24": "a NUL in a text: scored, passes through",
    "A25": "a quoted text that spans lines: accepted",
    "A26": "10 GB of input with 2 GB of memory: streams; memory does not grow with the rows",
    "A27": "many small files, few file descriptors: works with 40",
    "A28": "one damaged file among good ones: 65 naming it",
    "A29": "hidden files and markers of other programs: skipped",
    "A30": "symbolic links in a circle: 66",
    "A31": "a file without read permission: 77",
    "A32": "encrypted Parquet: 65",
    "A33": "an address that is not read, such as https: 66; objects of a store are read",
}

REFUSED_FILES = [
    case("A03", "u.parquet", lambda *_: b"", "empty file"),
    case("A04", "u.csv", lambda *_: b"", "empty file"),
    case("A05-csv", "u.csv", lambda csv, *_: csv.split(b"\n")[0] + b"\n", "no rows"),
    case("A05-parquet", "u.parquet", lambda _, f, p: bytes_of(f[:0], ".parquet", p), "no rows"),
    case("A06", "u.parquet", lambda _, f, p: bytes_of(f, ".parquet", p)[:-9], "incomplete"),
    case("A07", "u.parquet", lambda *_: random.Random(1).randbytes(4_000), "byte|missing column"),
    case("A11", "u.arrow", lambda *_: b"ARROW1" + b"\xff" * 200, "incomplete or damaged"),
    case("A14", "u.csv.gz", lambda csv, *_: gzip.compress(csv)[:-20], "gzip stream is cut off"),
    case("A15", "u.csv", lambda csv, *_: csv.decode().encode("utf-16"), "must become UTF-8"),
    case("A15-no-mark", "u.csv", lambda csv, *_: csv.decode().encode("utf-16-le"), "UTF-8"),
    case(
        "A16",
        "u.csv",
        lambda csv, *_: csv.replace(b"\nU", b"\nU\xe9", 1),
        r"byte {byte:,} is not UTF-8; save the table as UTF-8",
    ),
    case(
        "A16-ndjson",
        "u.ndjson",
        lambda _, f, p: bytes_of(f, ".ndjson", p).replace(b"US", b"U\xe9"),
        r"byte {byte:,} is not UTF-8",
    ),
    case(
        "A06-ndjson",
        "u.ndjson",
        lambda _, f, p: bytes_of(f, ".ndjson", p)[:-20],
        "line 30 is not a JSON object",
    ),
    case("A18", "u.csv", lambda csv, *_: csv.replace(b"\n", b"\r"), "end with CR alone"),
    case("A19", "u.csv", lambda csv, *_: csv.replace(b",", b";"), "1 column, did you mean ';'"),
    case("A19-bar", "u.csv", lambda csv, *_: csv.replace(b",", b"|"), "1 column, .* '\\|'"),
    case("A20", "u.csv", lambda *_: b"<!DOCTYPE html><p>503", "web page or XML"),
    case("A20-xml", "u.csv", lambda *_: b"<?xml version='1.0'?><Error/>", "web page or XML"),
    case(
        "A21",
        "u.csv",
        lambda csv, *_: line(csv, 7, lambda text: b'"' + text),
        "a quote that opens in row 7 is never closed",
    ),
    case(
        "A22",
        "u.csv",
        lambda csv, *_: line(csv, 7, lambda text: text + b",1"),
        "row 7 has 41 fields, the header 40",
    ),
    case("A23-last", "u.csv", lambda csv, *_: csv[: csv.rindex(b",")], "middle of a row"),
    case("A32", "u.parquet", lambda *_: b"PARE" + bytes(range(1, 99)) + b"PARE", "not encrypted"),
    case("B04", "u.csv", lambda csv, *_: csv.replace(b"country", b"user_id", 1), "more than once"),
]


def line(csv, row, change):
    """A CSV with one row changed; 0 is the header."""
    lines = csv.split(b"\n")
    return b"\n".join([*lines[:row], change(lines[row]), *lines[row + 1 :]])


@pytest.mark.parametrize(("name", "make", "message"), REFUSED_FILES)
def test_a_file_that_cannot_be_meant_is_refused_by_name(csv, few, tmp_path, name, make, message):
    path = tmp_path / name
    path.write_bytes(make(csv, few, tmp_path))
    found = outcome(path)
    assert found.code == 65
    assert name in found.message
    wrong = path.read_bytes().find(b"\xe9") + 1
    assert re.search(message.replace("{byte:,}", f"{wrong:,}"), found.message)
    assert not any(user in found.message for user in few["user_id"])


ABSENT = [
    case("A01", lambda folder: folder / "absent.parquet"),
    case("A02-glob", lambda folder: folder / "*.parquet"),
    case("A02-directory", lambda folder: made(folder / "empty")),
    case("A30-link", lambda folder: circle(folder)),
    case("A33", lambda _: Path("https://shop.example/users.parquet")),
]


def made(folder):
    folder.mkdir()
    return folder


def circle(folder):
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


@pytest.mark.parametrize("make", ABSENT)
def test_what_is_not_there_ends_with_66(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    with pytest.raises(EngineError, match="no such file|without files") as caught:
        validated(path)
    assert caught.value.exit_code == 66


ACCEPTED_FILES = [
    case("A17", ".csv", lambda content: codecs.BOM_UTF8 + content),
    case("A18-crlf", ".csv", lambda content: content.replace(b"\n", b"\r\n")),
    case("A14-members", ".csv", lambda c: gzip.compress(c[:999]) + gzip.compress(c[999:])),
    case("A08", ".csv", lambda content: content),
    case("A08-parquet", ".parquet", lambda content: content),
    case("A08-gzip", ".arrow", gzip.compress),
]


@pytest.mark.parametrize(("ending", "change"), ACCEPTED_FILES)
def test_an_odd_file_gives_the_same_scores(few, expected, tmp_path, ending, change):
    path = tmp_path / "users.any"
    path.write_bytes(change(bytes_of(few, ending, tmp_path)))
    assert outcome(path).scores.equals(expected)


@pytest.mark.parametrize(
    ("ending", "last_bytes"),
    [
        case("A09-parquet", ".parquet", None),
        case("A09-arrow", ".arrow", None),
        case("A09-csv", ".csv", None),
        case("A09-gzip", ".csv.gz", None),
        case("A09-ndjson", ".ndjson", None),
        case("A10", ".parquet", 6_000),
    ],
)
def test_a_flipped_bit_ends_with_scores_or_65(few, tmp_path, ending, last_bytes):
    content = bytes_of(few, ending, tmp_path)
    draws = random.Random(5)
    path = tmp_path / f"flipped{ending}"
    codes = set()
    for _ in range(25):
        place = draws.randrange(max(0, len(content) - (last_bytes or len(content))), len(content))
        flipped = bytearray(content)
        flipped[place] ^= 1 << draws.randrange(8)
        path.write_bytes(flipped)
        try:
            validated(path)
        except EngineError as error:
            codes.add(error.exit_code)
    assert codes <= {65}


@pytest.mark.parametrize(
    "ending",
    [case("A12-arrow", ".arrow"), case("A12-ndjson", ".ndjson"), case("A12-gz", ".csv.gz")],
)
def test_a_file_cut_off_while_it_is_read_ends_the_run_and_not_the_process(users, tmp_path, ending):
    path = write_table(users, tmp_path / f"users{ending}")
    with (
        pytest.raises(InputError, match=f"users{ending}: was replaced or written to"),
        open_inputs([str(path)]) as tables,
    ):
        chunks = read_chunks(tables, users.columns, 100)
        next(chunks)
        os.truncate(path, 1_000)
        assert sum(chunk.frame.height for chunk in chunks) == users.height - 100


@pytest.mark.parametrize(
    "change",
    [
        case("A13-replaced", lambda path, frame: write_table(frame, path)),
        case("A13-removed", lambda path, _: path.unlink()),
        case("A13-touched", lambda path, _: os.utime(path, ns=(1, 1))),
    ],
)
def test_a_file_that_changes_during_the_run_publishes_nothing(few, tmp_path, change):
    path = write_table(few, tmp_path / "users.parquet")
    other = few.with_columns(sessions_last_7d=1)
    found = outcome(
        path, chunk_rows=10, progress=[lambda *_: path.exists() and change(path, other)]
    )
    assert (found.code, found.message.count("users.parquet: was replaced")) == (65, 1)


def test_a_row_that_is_too_short_is_set_aside_a23(csv, few, expected, tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(line(csv, 4, lambda text: text[: text.rindex(b",")]))
    found = outcome(path, chunk_rows=3)
    assert found.rejected.select("source_row", "reasons").rows() == [(4, "row|too_short")]
    assert found.scores.equals(expected.filter(pl.col("user_id") != few["user_id"][3]))


def test_a_row_is_short_beside_texts_with_commas_and_lines_a23_a25(few, scorer, tmp_path):
    odd = few.with_columns(country=pl.lit('a,"b"\nc'))
    path = tmp_path / "users.csv"
    content = odd.write_csv()
    assert content.count("\n") == 61
    path.write_text(content + "U1,2026-11-22,3\n")
    found = outcome(path)
    assert found.rejected["source_row"].to_list() == [31]
    assert "row|too_short" in found.rejected["reasons"][0].split(";")
    assert found.scores.equals(scorer.score(odd))


def test_many_small_files_need_few_descriptors_a27(few, expected, tmp_path):
    folder = made(tmp_path / "parts")
    for n in range(150):
        write_table(
            few[n % 30 : n % 30 + 1].with_columns(user_id=pl.lit(f"u{n:03}")),
            folder / f"{n:03}.csv",
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/dev/fd").iterdir()]) + 40, hard))
    try:
        found = outcome(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.scores["user_id"].to_list() == [f"u{n:03}" for n in range(150)]


def test_one_broken_file_among_good_ones_is_named_a28(few, tmp_path):
    for name in ("a", "b", "c"):
        write_table(few, tmp_path / f"{name}.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more")
    found = outcome(tmp_path / "*.parquet")
    assert found.code == 65
    assert "b.parquet: cannot be read" in found.message


def test_hidden_files_and_marks_are_passed_over_a29(few, expected, tmp_path):
    folder = made(tmp_path / "parts")
    write_table(few, folder / "users.parquet")
    for name in ("_SUCCESS", ".users.parquet.crc", "_temporary", ".~lock.users.csv#"):
        (folder / name).write_bytes(b"\0\0")
    assert outcome(folder).scores.equals(expected)


def test_a_file_that_may_not_be_read_ends_with_77_a31(few, tmp_path, monkeypatch):
    path = write_table(few, tmp_path / "users.parquet")
    whole = Path.open

    def refused(self, *args, **options):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return whole(self, *args, **options)

    monkeypatch.setattr(Path, "open", refused)
    found = outcome(path)
    assert (found.code, "users.parquet: may not be read" in found.message) == (77, True)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_but_for_16_bytes_a26(users, tmp_path):
    peaks = []
    for times in (40, 80):
        path = tmp_path / f"{times}.parquet"
        ids = pl.int_range(pl.len()).cast(pl.String)
        write_table(pl.concat([users] * times).with_columns(user_id=ids), path)
        done = run("engine", "score", path, "--bundle", BUNDLE, "--out", tmp_path / f"{times}.csv")
        assert done.returncode == 0, done.stderr
        peaks.append(read_summary(tmp_path / f"{times}.csv")["peak_memory_bytes"])
    # What allocators keep differs from run to run by more than the keys take.
    assert peaks[1] < 1.25 * peaks[0]
