"""Bad input: files, columns, values and keys, by the numbers of the list in docs/reliability.md.

Whatever comes in, either the new scores are complete and published, or those of yesterday stand byte
for byte; rows read = rows scored + rows set aside; a summary is written; no message shows a value.
"""

import codecs
import gzip
import json
import os
import random
import re
import resource
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.bundle import open_bundle
from engine.errors import EngineError, InputError
from engine.preview import preview
from engine.source import open_inputs, read_chunks
from engine.tensors import to_features
from tests.helpers import BUNDLE, read_summary, read_table, run, write_table

CASES = {
    "A01": "path missing: 66",
    "A02": "empty glob, empty directory: 66",
    "A03": "zero-byte Parquet: 65",
    "A04": "zero-byte CSV: 65",
    "A05": "header without rows: 65",
    "A06": "Parquet cut off: 65, 'incomplete or damaged'",
    "A07": "random bytes named .parquet: 65",
    "A08": "one format under the name of another: accepted: the first bytes tell the format",
    "A09": "a flipped bit in the data: scores or 65, never a crash; what a flip leaves valid cannot be seen: the producer's checksum is the only means",
    "A10": "a flipped bit in the footer: 65 or scores",
    "A11": "what makes Polars panic: 65",
    "A12": "cut off while it is read: 65: what is mapped into memory is a copy",
    "A13": "replaced while it is read: 65",
    "A14": "gzip cut off: 65; several members are accepted",
    "A15": "UTF-16: 65",
    "A16": "Latin-1: 65 with the byte",
    "A17": "UTF-8 with a mark of byte order: accepted",
    "A18": "CRLF, and CR alone: CRLF accepted, CR alone 65",
    "A19": "another separator: 65 with the separator that is meant",
    "A20": "a web page: 65",
    "A21": "a quote that is never closed: 65 with the row",
    "A22": "a row longer than the header: 65 with the row",
    "A23": "a row shorter than the header: set aside; 65 where it is the last one",
    "A24": "NUL in a text: scored, passes through",
    "A25": "a text that spans lines: accepted",
    "A26": "10 GB on a box of 2 GB: streams; memory does not grow with the rows",
    "A27": "many small files, few descriptors: works with 40 descriptors",
    "A28": "one broken file among good ones: 65 naming it",
    "A29": "hidden files and marks of other programs: passed over",
    "A30": "symbolic links in a circle: 66",
    "A31": "a file that may not be read: 77",
    "A32": "encrypted Parquet: 65",
    "A33": "an address instead of a path: 66: inputs are files",
    "B01": "a column missing: 65 with near names",
    "B02": "further columns: passed over",
    "B03": "another order of columns: the same scores",
    "B04": "a column named twice: 65",
    "B05": "names in another case, with spaces: 65 with what may be meant",
    "B06": "numbers as text: cast; set aside where it is no number",
    "B07": "decimal commas: set aside; the cause is named",
    "B08": "128-bit integers: 65",
    "B09": "Float32 in one file, Float64 in another: the same scores",
    "B10": "Booleans of all kinds: true and false are 1 and 0, other words set aside",
    "B11": "a date in another form: set aside; the cause is named",
    "B12": "a date with a time: 65; a text with a time is set aside",
    "B13": "dictionaries that differ: the same scores",
    "B14": "a nested column: 65",
    "B15": "a second file with other columns: 65 naming both",
    "B16": "a column of type Null: cast: no values",
    "B17": "a column without any value: set aside or missing; the cause is named",
    "B18": "cannot arise: tables bear no version; columns and types are compared instead",
    "B19": "a partition in the path: no column is made of it",
    "C01": "null where the schema forbids it: set aside",
    "C02": "null where the schema allows it: scored as missing",
    "C03": "NaN and null: the same scores",
    "C04": "infinity: set aside",
    "C05": "1e400: set aside",
    "C06": "a negative count: set aside",
    "C07": "out of range: set aside",
    "C08": "an unseen category: scored as missing, counted",
    "C09": "a category in another spelling: scored as missing, counted; near values are told",
    "C10": "an empty text and null: the same scores",
    "C11": "a snapshot before 2000: set aside; a date in the future is scored: no clock is read",
    "C12": "cannot arise: no age of a feed is set, and no clock is read; the scores bear the snapshot date",
    "C13": "a column with one value: drift alarm, 65 with --strict",
    "C14": "another unit: set aside beyond the bounds, and 65 that names the unit; within them a drift alarm",
    "C15": "half the rows of the run before: drift alarm, 65 with --strict; without a summary beside the output told as not compared",
    "C16": "values at a threshold and one step beside it: the leaf of the native model",
    "C17": "denormals, -0.0, 2^24 + 1: the same scores in every format",
    "C18": "a text of 1 MB: passes through",
    "C19": "emoji, right-to-left marks, control characters: passes through",
    "C20": "all rows alike: scored",
    "C21": "one row: scored",
    "C22": "a row at the edge of a chunk: the same scores for every chunk size and thread count",
    "D01": "a key twice, the same row: the first scored, later ones set aside",
    "D02": "a key twice, different rows: the same",
    "D03": "no id: set aside",
    "D04": "00123: stays text",
    "D05": "an id above 2^53: stays itself",
    "D06": "ids that differ in case and spaces: distinct, told by validate",
    "D07": "a key in two files and chunks: found",
    "D08": "scored and set aside make up the input: checked by position and id",
    "D09": "the order of the input: kept",
    "D10": "ids and categories that are formulas, scripts, marks: pass through; an apostrophe with --csv-for-spreadsheets",
    "D11": "ids that are addresses: never in a message, summary or metric",
    "D12": "a user twice with different data: set aside on the same date, scored on another",
}
"""What each case is; every test below bears the numbers that it is for."""

YESTERDAY = b"yesterday"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with."""

    code: int
    message: str = ""
    summary: dict = field(default_factory=dict)
    scores: pl.DataFrame = field(default_factory=pl.DataFrame)
    rejected: pl.DataFrame = field(default_factory=pl.DataFrame)


def outcome(*inputs, progress=(), **options) -> Outcome:
    """Score inputs over the scores of yesterday, and check what holds in every case."""
    folder = Path(inputs[0]).parent / ".out"
    folder.mkdir(exist_ok=True)
    out = folder / "s.parquet"
    out.write_bytes(YESTERDAY)
    settings = ScoreOptions(if_exists="replace", **{"max_reject_share": 1.0, **options})
    code, message = 0, ""
    try:
        score([str(path) for path in inputs], BUNDLE, out, settings, *progress)
    except EngineError as error:
        code, message = error.exit_code, str(error)
    assert not list(folder.glob(".s.parquet.staging*"))
    summary = read_summary(out)
    assert (summary["published"], summary["exit_code"]) == (code == 0, code)
    if code:
        assert out.read_bytes() == YESTERDAY
        return Outcome(code, message, summary)
    quarantine = folder / "s.parquet.quarantine.parquet"
    scores = read_table(out)
    rejected = read_table(quarantine) if quarantine.exists() else pl.DataFrame()
    quarantine.unlink(missing_ok=True)
    assert summary["rows_read"] == scores.height + rejected.height
    assert (summary["rows_scored"], summary["rows_quarantined"]) == (
        scores.height,
        rejected.height,
    )
    return Outcome(0, "", summary, scores, rejected)


def previewed(*inputs):
    return preview([str(path) for path in inputs], BUNDLE, max_reject_share=1.0)


def case(number, *values):
    assert number[:3] in CASES
    return pytest.param(*values, id=number)


@pytest.fixture(scope="module")
def few(users):
    return users[:30]


@pytest.fixture(scope="module")
def csv(few):
    return few.write_csv().encode()


@pytest.fixture(scope="module")
def expected(few, scorer):
    return scorer.score(few)


def bytes_of(frame, ending, folder):
    return write_table(frame, folder / f"made{ending}").read_bytes()


REFUSED_FILES = [
    case("A03", "u.parquet", lambda *_: b"", "empty file"),
    case("A04", "u.csv", lambda *_: b"", "empty file"),
    case("A05-csv", "u.csv", lambda csv, *_: csv.split(b"\n")[0] + b"\n", "no rows"),
    case("A05-parquet", "u.parquet", lambda _, f, p: bytes_of(f[:0], ".parquet", p), "no rows"),
    case("A06", "u.parquet", lambda _, f, p: bytes_of(f, ".parquet", p)[:-9], "incomplete"),
    case("A07", "u.parquet", lambda *_: random.Random(1).randbytes(4_000), "byte|missing column"),
    case("A11", "u.arrow", lambda *_: b"ARROW1" + b"\xff" * 200, "incomplete or damaged"),
    case("A14", "u.csv.gz", lambda csv, *_: gzip.compress(csv)[:-20], "gzip stream breaks off"),
    case("A15", "u.csv", lambda csv, *_: csv.decode().encode("utf-16"), "must become UTF-8"),
    case("A15-no-mark", "u.csv", lambda csv, *_: csv.decode().encode("utf-16-le"), "UTF-8"),
    case(
        "A16",
        "u.csv",
        lambda csv, *_: csv.replace(b"\nU", b"\nU\xe9", 1),
        r"byte {byte:,} is no UTF-8; save the table as UTF-8",
    ),
    case(
        "A16-ndjson",
        "u.ndjson",
        lambda _, f, p: bytes_of(f, ".ndjson", p).replace(b"US", b"U\xe9"),
        r"byte {byte:,} is no UTF-8",
    ),
    case(
        "A06-ndjson",
        "u.ndjson",
        lambda _, f, p: bytes_of(f, ".ndjson", p)[:-20],
        "line 30 is no JSON object",
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
    case("A33", lambda _: Path("s3://bucket/users.parquet")),
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
        previewed(path)
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
            previewed(path)
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
        chunks = read_chunks(tables, None, 100)
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


WRONG_COLUMNS = [
    case(
        "B01", lambda u: u.drop("country", "age_band"), "2 missing columns: 'age_band', 'country'"
    ),
    case(
        "B05",
        lambda u: u.rename({"country": " Country ", "age_band": "Age Band", "user_id": "USER_ID"}),
        "Did you mean 'Age Band' for 'age_band', ' Country ' for 'country', "
        "'USER_ID' for 'user_id'",
    ),
    case(
        "B08",
        lambda u: u.with_columns(pl.col("sessions_last_7d").cast(pl.Int128)),
        "'sessions_last_7d' expected a number, found Int128",
    ),
    case(
        "B12",
        lambda u: u.with_columns(pl.col("snapshot_date").cast(pl.Datetime("us", "UTC"))),
        "'snapshot_date' expected a date without a time, as 2026-11-22, found Datetime",
    ),
    case(
        "B14-list",
        lambda u: u.with_columns(country=pl.concat_list("country")),
        "'country' expected a text or a whole number, found List",
    ),
    case(
        "B14-struct",
        lambda u: u.with_columns(sessions_last_7d=pl.struct("sessions_last_7d")),
        "'sessions_last_7d' expected a number, found Struct",
    ),
    case("D03-type", lambda u: u.with_columns(user_id=pl.lit(None)), "'user_id' .*found Null"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_COLUMNS)
@pytest.mark.parametrize("position", [0, 1])
def test_wrong_columns_are_named_with_what_was_expected(few, tmp_path, change, message, position):
    files = [write_table(few, tmp_path / "good.parquet")]
    files.insert(position, write_table(change(few), tmp_path / "wrong.parquet"))
    with pytest.raises(InputError, match=f"wrong.parquet: .*{message}") as caught:
        previewed(*files)
    # B15: where the first file is right, the message names both.
    assert ("good.parquet has the columns as needed" in str(caught.value)) == (position == 1)


def test_a_date_with_a_time_in_the_second_file_names_both_b12_b15(few, tmp_path):
    first = write_table(few, tmp_path / "first.parquet")
    timed = few.with_columns(pl.col("snapshot_date").cast(pl.Datetime))
    found = outcome(first, write_table(timed, tmp_path / "second.parquet"))
    assert found.code == 65
    assert all(name in found.message for name in ("first.parquet", "second.parquet", "Datetime"))


SAME_SCORES = [
    case("B02", lambda u: u.with_columns(more=pl.lit("x"))),
    case("B03", lambda u: u.select(sorted(u.columns))),
    case("B06", lambda u: u.with_columns(pl.col(pl.Float32, pl.Float64, pl.Int64).cast(pl.String))),
    case("B09", lambda u: u.with_columns(pl.col(pl.Float32).cast(pl.Float64))),
    case("B13-categorical", lambda u: u.with_columns(pl.col("country").cast(pl.Categorical))),
    case("C03", lambda u: u.with_columns(pl.col(pl.Float32).fill_null(float("nan")))),
    case("C10", lambda u: u.with_columns(pl.col("country", "age_band").fill_null(""))),
]


@pytest.mark.parametrize("change", SAME_SCORES)
def test_another_form_of_the_same_users_gives_the_same_scores(few, expected, tmp_path, change):
    assert outcome(write_table(change(few), tmp_path / "u.parquet")).scores.equals(expected)


def test_forms_that_differ_between_files_give_the_same_scores_b09_b13(few, expected, tmp_path):
    first = few[:10].with_columns(pl.col("country").cast(pl.Categorical))
    second = few[10:20].with_columns(
        pl.col(pl.Float32).cast(pl.Float64),
        pl.col("country").cast(pl.Enum(few["country"].drop_nulls().unique().sort(descending=True))),
    )
    files = [
        write_table(frame, tmp_path / f"{n}.parquet")
        for n, frame in enumerate((first, second, few[20:]))
    ]
    assert outcome(*files).scores.equals(expected)


def test_a_path_that_looks_like_a_partition_adds_no_column_b19(few, expected, tmp_path):
    folder = made(tmp_path / "country=Atlantis")
    assert outcome(write_table(few, folder / "u.parquet")).scores.equals(expected)


BOOLEANS = [
    case("B10-bool", pl.Series([True, False]), [1.0, 0.0]),
    case("B10-text", pl.Series(["true", "FALSE"]), [1.0, 0.0]),
    case("B10-number", pl.Series([1, 0]), [1.0, 0.0]),
]


@pytest.mark.parametrize(("column", "numbers"), BOOLEANS)
def test_booleans_are_one_and_zero(few, scorer, tmp_path, column, numbers):
    found = outcome(
        write_table(few[:2].with_columns(sessions_last_7d=column), tmp_path / "u.parquet")
    )
    assert found.scores.equals(
        scorer.score(few[:2].with_columns(sessions_last_7d=pl.Series(numbers)))
    )


SESSIONS = "sessions_last_7d"
SET_ASIDE = [
    case("B07", {"avg_order_value": "12,5"}, "avg_order_value|not_a_number"),
    case("B10-word", {SESSIONS: "Y"}, f"{SESSIONS}|not_a_number"),
    case("B11", {"snapshot_date": "22.11.2026"}, "snapshot_date|not_a_date"),
    case("B12-text", {"snapshot_date": "2026-11-22T00:00:00Z"}, "snapshot_date|not_a_date"),
    case("C01", {SESSIONS: None}, f"{SESSIONS}|missing"),
    case("C01-nan", {SESSIONS: "NaN"}, f"{SESSIONS}|missing"),
    case("C04", {SESSIONS: "inf"}, f"{SESSIONS}|not_finite"),
    case("C04-minus", {SESSIONS: "-inf"}, f"{SESSIONS}|not_finite"),
    case("C05", {SESSIONS: "1e400"}, f"{SESSIONS}|not_finite"),
    case("C05-float32", {SESSIONS: "1e39"}, f"{SESSIONS}|not_finite"),
    case("C06", {SESSIONS: "-1"}, f"{SESSIONS}|below_min"),
    case("C07", {SESSIONS: "501"}, f"{SESSIONS}|above_max"),
    case("C11-epoch", {"snapshot_date": "1970-01-01"}, "snapshot_date|before_2000"),
    case("C11-century", {"snapshot_date": "1926-11-22"}, "snapshot_date|before_2000"),
    case("D03", {"user_id": None}, "user_id|missing"),
    case("D03-empty", {"user_id": ""}, "user_id|missing"),
]


@pytest.mark.parametrize(("wrong", "reason"), SET_ASIDE)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_wrong_row_is_set_aside_with_its_place_and_reason(
    few, expected, tmp_path, wrong, reason, ending
):
    texts = few.with_columns(pl.all().cast(pl.String))
    is_fifth = pl.int_range(pl.len()) == 4
    changed = texts.with_columns(
        pl.when(is_fifth).then(pl.lit(value, pl.String)).otherwise(name).alias(name)
        for name, value in wrong.items()
    )
    path = write_table(changed, tmp_path / f"u{ending}")
    found = outcome(path)
    assert found.rejected.select("source_file", "source_row", "reasons").rows() == [
        (str(path), 5, reason)
    ]
    assert found.summary["reasons"] == {reason: 1}
    assert found.scores.equals(expected.filter(~is_fifth))


def test_missing_values_that_are_allowed_are_scored_c02(few, scorer, tmp_path):
    empty = few.with_columns(avg_order_value=pl.lit(None, pl.Float32))
    found = outcome(write_table(empty, tmp_path / "u.csv"))
    assert found.scores.equals(scorer.score(empty))
    assert found.summary["rows_scored"] == few.height


@pytest.mark.parametrize("column", [case("B16", "country"), case("B16-date", "snapshot_date")])
def test_a_column_of_type_null_is_a_column_without_values(few, scorer, tmp_path, column):
    dtype = few.schema[column]
    found = outcome(
        write_table(few.with_columns(pl.lit(None).alias(column)), tmp_path / "u.parquet")
    )
    assert found.scores.equals(scorer.score(few.with_columns(pl.lit(None, dtype).alias(column))))


CAUSES = [
    case("B07", {"avg_order_value": "12,5"}, "'avg_order_value' has numbers with commas"),
    case("B11", {"snapshot_date": "22.11.2026"}, "'snapshot_date' has dates in another form"),
    case("B17", {SESSIONS: None}, f"'{SESSIONS}' has no value in any of the first 30 rows"),
    case("B10", {SESSIONS: "many"}, f"'{SESSIONS}' holds text in 100% of the rows"),
    case("B17-exchanged", {SESSIONS: "DE"}, f"'{SESSIONS}' holds values of 'country'"),
    case("D01", {"user_id": "same"}, "many 'user_id' come more than once"),
]


@pytest.mark.parametrize(("wrong", "cause"), CAUSES)
def test_too_many_wrong_rows_name_the_probable_cause(few, tmp_path, wrong, cause):
    texts = few.with_columns(pl.all().cast(pl.String))
    changed = texts.with_columns(pl.lit(v, pl.String).alias(name) for name, v in wrong.items())
    found = outcome(write_table(changed, tmp_path / "u.csv"), max_reject_share=0.01)
    assert found.code == 65
    assert f"Probable cause in {tmp_path / 'u.csv'}: {cause}" in found.message


def test_a_changed_unit_is_named_c14(users, tmp_path):
    cents = users.with_columns(pl.col("account_age_days", "avg_order_value") * 100)
    found = outcome(write_table(cents, tmp_path / "u.parquet"), max_reject_share=0.01)
    assert found.code == 65
    assert "values are about 100 times those of training" in found.message


def test_unseen_values_are_counted_and_near_ones_told_c08_c09(few, scorer, tmp_path):
    spelled = few.with_columns(country=pl.lit("de "), device_type=pl.lit("toaster"))
    path = write_table(spelled, tmp_path / "u.csv")
    found = outcome(path)
    assert found.summary["unseen_categories"] == {"country": 30, "device_type": 30}
    missing = few.with_columns(country=pl.lit(None, pl.String), device_type=pl.lit(None, pl.String))
    assert found.scores.equals(scorer.score(missing))
    report = previewed(path)
    assert report.near_categories == {"country": {"DE": 30}}
    assert "30 in country (30 near 'DE')" in "\n".join(report.to_lines())


def test_odd_numbers_score_alike_in_every_format_c17(few, tmp_path):
    odd = pl.Series([-0.0, 1e-40, 1e-45, 2.0**24 + 1, 0.1], dtype=pl.Float64)
    some = few[:5].with_columns(
        total_spend_last_365d=odd.clip(upper_bound=50_000), avg_order_value=odd
    )
    first = outcome(write_table(some, tmp_path / "u.parquet")).scores
    assert first.height + 0 == outcome(write_table(some, tmp_path / "u.csv")).scores.height
    assert first.equals(outcome(write_table(some, tmp_path / "u.ndjson")).scores)


ODD_IDS = [
    case("A24", "a\0b"),
    case("C18", "x" * 1_000_000),
    case("C19", "\u202eעברית 🛒\t\x1b[31m"),
    case("A25", 'two\nlines, "quoted"'),
    case("D04", "00123"),
    case("D05", "9007199254740993"),
    case("D11", "someone@example.com"),
]


@pytest.mark.parametrize("odd", ODD_IDS)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".ndjson"])
def test_an_odd_id_passes_through_untouched_and_is_in_no_message(few, tmp_path, odd, ending):
    ids = few["user_id"].clone()
    ids[0] = odd
    path = write_table(few.with_columns(user_id=ids), tmp_path / f"u{ending}")
    found = outcome(path)
    assert found.scores["user_id"].to_list() == ids.to_list()
    assert odd not in json.dumps(found.summary, ensure_ascii=False)


def test_an_id_above_2_to_53_stays_itself_in_ndjson_d05(few, tmp_path):
    ids = pl.Series([2**53 + 1 + n for n in range(few.height)])
    path = write_table(few.with_columns(user_id=ids), tmp_path / "u.ndjson")
    assert outcome(path).scores["user_id"].to_list() == [str(n) for n in ids]


def test_an_odd_category_changes_nothing_but_itself_c18_c19(few, scorer, tmp_path):
    odd = few.with_columns(country=pl.lit("\0<script>\u202e" + "x" * 100_000))
    found = outcome(write_table(odd, tmp_path / "u.csv"))
    assert found.scores.equals(scorer.score(few.with_columns(country=pl.lit(None, pl.String))))


@pytest.mark.parametrize("rows", [case("C21", 1), case("C20", 2_000)])
def test_one_row_and_rows_all_alike_are_scored(few, scorer, tmp_path, rows):
    alike = pl.concat([few[:1]] * rows).with_columns(user_id=pl.int_range(rows).cast(pl.String))
    found = outcome(write_table(alike, tmp_path / "u.parquet"))
    assert found.scores["purchase_probability"].n_unique() == 1
    assert found.scores.height == rows


DUPLICATES = [
    case("D01", lambda u: u[3:5]),
    case("D02", lambda u: u[3:5].with_columns(sessions_last_7d=0, country=pl.lit("US"))),
    case("D12", lambda u: u[3:5].with_columns(age_band=pl.lit(None, pl.String))),
]


@pytest.mark.parametrize("later", DUPLICATES)
@pytest.mark.parametrize(("chunk_rows", "threads"), [(1, 1), (7, 5), (100, 2)])
@pytest.mark.parametrize("ending", [".parquet", ".csv.gz"])
def test_the_first_of_a_key_is_scored_wherever_it_comes_again_d07_c22(
    few, expected, tmp_path, later, chunk_rows, threads, ending
):
    first = write_table(pl.concat([few, later(few)]), tmp_path / f"a{ending}")
    second = write_table(later(few), tmp_path / f"b{ending}")
    found = outcome(first, second, chunk_rows=chunk_rows, threads=threads)
    assert found.scores.equals(expected)
    assert found.rejected.select("source_file", "source_row", "reasons").rows() == [
        (str(first), 31, "user_id|duplicate"),
        (str(first), 32, "user_id|duplicate"),
        (str(second), 1, "user_id|duplicate"),
        (str(second), 2, "user_id|duplicate"),
    ]


def test_a_row_set_aside_does_not_count_as_the_first_of_its_key_d02(few, expected, tmp_path):
    broken = few[:1].with_columns(sessions_last_7d=-1)
    found = outcome(write_table(pl.concat([broken, few, few[:1]]), tmp_path / "u.parquet"))
    assert found.rejected["reasons"].to_list() == [f"{SESSIONS}|below_min", "user_id|duplicate"]
    assert found.scores.equals(expected)


def test_a_user_of_two_snapshots_is_scored_twice_d12(few, tmp_path):
    later = few.with_columns(pl.col("snapshot_date").dt.offset_by("7d"))
    found = outcome(write_table(pl.concat([few, later]), tmp_path / "u.parquet"))
    assert (found.scores.height, found.rejected.height) == (60, 0)


def test_ids_that_differ_in_case_and_spaces_are_distinct_and_told_d06(few, tmp_path):
    ids = pl.Series(["Zoe", "zoe", " zoe", "ZOE", "ann", *few["user_id"][5:]])
    path = write_table(few.with_columns(user_id=ids), tmp_path / "u.csv")
    assert outcome(path).scores["user_id"].to_list() == ids.to_list()
    report = previewed(path)
    assert report.near_ids == 3
    assert any(text.startswith("3 ids like an earlier one but for") for text in report.to_lines())


def test_scored_and_set_aside_make_up_the_input_in_its_order_d08_d09(users, tmp_path):
    draws = np.random.default_rng(2)
    some = users[:900][draws.integers(0, 900, 1_500)].with_columns(
        sessions_last_7d=pl.Series(draws.integers(-1, 9, 1_500))
    )
    found = outcome(write_table(some, tmp_path / "u.parquet"), chunk_rows=64)
    assert found.rejected["source_row"].is_sorted()
    numbered = some["user_id"].to_frame().with_row_index("row", offset=1)
    kept = numbered.filter(~pl.col("row").is_in(found.rejected["source_row"].implode()))
    assert found.scores["user_id"].equals(kept["user_id"])
    assert found.scores["user_id"].n_unique() == found.scores.height


def test_one_value_for_all_is_an_alarm_that_stops_a_strict_run_c13(users, tmp_path):
    path = write_table(users[:1_000].with_columns(avg_session_duration=5.0), tmp_path / "u.parquet")
    alarm = "avg_session_duration: has one value for every user"
    assert any(words.startswith(alarm) for words in outcome(path).summary["drift"]["alarms"])
    found = outcome(path, strict=True)
    assert (found.code, alarm in found.message) == (65, True)


def test_half_the_rows_are_an_alarm_that_stops_a_strict_run_c15(users, tmp_path):
    path = write_table(users[:1_000], tmp_path / "u.parquet")
    first = outcome(path, strict=True)
    assert (first.code, first.summary["drift"]["rows_before"]) == (0, None)
    found = outcome(write_table(users[:500], path), strict=True)
    assert (found.code, "50% fewer than the 1,000 of the run before" in found.message) == (65, True)


def test_values_at_a_threshold_score_as_the_native_model_does_c16(few, scorer):
    native = (open_bundle(BUNDLE).path / "native" / "classifier.txt").read_text()
    names = [feature.name for feature in scorer.manifest.schema.model_features]
    place = names.index("avg_order_value")
    trees = re.findall(r"^split_feature=(.*)\n(?:.*\n)*?threshold=(.*)$", native, re.MULTILINE)
    edges = np.array(
        [
            edge
            for features, thresholds in trees
            for feature, edge in zip(features.split(), thresholds.split(), strict=True)
            if int(feature) == place
        ],
        np.float32,
    )
    assert len(edges) > 0
    values = np.concatenate([np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)])
    values = np.concatenate([edges, values])
    frame = pl.concat([few[:1]] * len(values)).with_columns(
        user_id=pl.int_range(len(values)).cast(pl.String), avg_order_value=pl.Series(values)
    )
    fit = (frame["avg_order_value"] >= 0) & (frame["avg_order_value"] <= 50_000)
    frame = frame.filter(fit)
    features = to_features(frame, scorer.manifest.schema.model_features, scorer.manifest.categories)
    raw = lgb.Booster(model_str=native).predict(features, raw_score=True)
    calibration = scorer.manifest.calibration
    margin = calibration.slope * raw + calibration.intercept
    found = scorer.score(frame)["purchase_probability"].to_numpy()
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-margin)), atol=1e-6)


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
