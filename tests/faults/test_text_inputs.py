"""Text files as other programs write them, and inputs that are larger than they look."""

import gzip
import itertools
import json
import subprocess
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from engine import ScoreOptions, score
from engine.inputs.open import open_inputs
from engine.inputs.rejected import RejectedRows
from engine.limits import InputLimits
from tests.faults.inputs import SESSIONS, case, outcome
from tests.helpers import BUNDLE, read_table, write_table

CASES = {
    "A34": "a key twice in an object of NDJSON, also spelt with an escape: 65 with the line",
    "A35": "columns that nobody needs, nested, ragged or damaged: the same scores",
    "A36": "blank lines in CSV and NDJSON: no rows",
    "A37": "a glob over a directory: the same files as the directory itself",
    "A38": "a mark for missing values, such as NULL: 65 naming it and missing_texts",
    "A39": "white space where a value is missing, or around a number: passed over",
    "A40": "a packed file that unpacks to far more than its size: 65, nothing fills the disk",
    "A41": "a million columns, thousands of new keys a row: 65 in bounded memory",
    "A42": "folders that lead to each other: 65 or 66, never without end",
    "A43": "a byte order mark in the middle, as in joined files: passed over",
    "A44": "an object as id or category in NDJSON: 65 with the line",
}


def ndjson(frame, change=lambda line: line):
    return "".join(change(line) + "\n" for line in frame.write_ndjson().splitlines())


REPEATED = [
    case("A34", lambda line: line[:-1] + f',"{SESSIONS}":1}}'),
    case("A34-escape", lambda line: line[:-1] + r',"\u0073essions_last_7d":1}'),
    case("A34-unneeded", lambda line: line[:-1] + ',"x":1,"x":1}'),
]


@pytest.mark.parametrize("change", REPEATED)
def test_a_key_twice_is_refused_with_its_line(few, tmp_path, change):
    path = tmp_path / "u.ndjson"
    path.write_text(ndjson(few[:7]) + ndjson(few[7:], change))
    found = outcome(path)
    assert (found.code, "u.ndjson: line 8 has 1 key more than once" in found.message) == (65, True)


@pytest.mark.parametrize("value", [case("A44", '{"a":1}'), case("A44-list", '["US"]')])
@pytest.mark.parametrize("column", ["user_id", "country"])
def test_an_object_where_a_text_is_due_is_refused_with_its_line(few, tmp_path, column, value):
    path = tmp_path / "u.ndjson"
    row = json.loads(ndjson(few[3:4])) | {column: "PLACE"}
    path.write_text(ndjson(few[:3]) + json.dumps(row).replace('"PLACE"', value) + "\n")
    found = outcome(path)
    assert found.code == 65
    assert f"line 4: '{column}' holds an object or an array" in found.message


def test_ragged_values_of_an_unneeded_column_do_nothing_a35(few, expected, tmp_path):
    ragged = iter(["[1.5]", "[[[1]],2]", '{"a":{"b":[]}}', "null", '"text"', "7"] * 5)
    path = tmp_path / "u.ndjson"
    path.write_text(ndjson(few, lambda line: f'{line[:-1]},"area":{next(ragged)}}}'))
    assert outcome(path).scores.equals(expected)


def test_a_damaged_column_that_nobody_needs_does_nothing_a35(few, expected, tmp_path, caplog):
    path = tmp_path / "u.parquet"
    more = pl.Series("more", [f"{n:064}" for n in range(few.height)])
    bad = few.with_columns(more).with_columns(
        pl.when(pl.col("user_id") == few["user_id"][4]).then(-1).otherwise(SESSIONS).alias(SESSIONS)
    )
    pa.parquet.write_table(bad.to_arrow(), path, compression="none", use_dictionary=False)
    content = path.read_bytes()
    # The length of the first value.
    place = content.index(b"0" * 64) - 4
    path.write_bytes(content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :])
    found = outcome(path)
    assert found.code == 0, found.message
    kept = expected["user_id"] != few["user_id"][4]
    assert found.scores.equals(expected.filter(kept))
    assert found.rejected["user_id"].to_list() == [few["user_id"][4]]
    assert found.rejected["more"].to_list() == [None]
    assert "a column that scoring does not need cannot be read" in caplog.text


def test_quarantined_rows_have_all_columns_of_the_input(few, tmp_path):
    more = few.with_columns(
        more=pl.int_range(pl.len()).cast(pl.String), tags=pl.concat_list("country")
    )
    bad = more.with_columns(pl.lit(-1).alias(SESSIONS))
    first = write_table(bad[:9], tmp_path / "a.parquet")
    second = write_table(bad[9:].drop("more", "tags"), tmp_path / "b.parquet")
    found = outcome(first, second, first)
    assert found.rejected["more"].head(9).to_list() == [str(n) for n in range(9)]
    assert found.rejected["more"][9:-9].null_count() == few.height - 9
    assert found.rejected["source_row"].to_list() == [
        *range(1, 10),
        *range(1, few.height - 8),
        *range(1, 10),
    ]
    assert "tags" not in found.rejected.columns


@pytest.mark.parametrize("more", [(), ("more",)], ids=["needed", "more"])
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", ".ndjson", ".arrows"])
def test_quarantined_rows_are_as_in_the_input(few, tmp_path, more, ending):
    """Whether or not they are read again."""
    wrong = pl.when(pl.int_range(pl.len()) % 3 == 1).then(pl.lit(" 1e99 "))
    bad = few.drop("purchased_next_7d", strict=False).with_columns(
        wrong.otherwise(pl.col(SESSIONS).cast(pl.String)).alias(SESSIONS),
        *(pl.int_range(pl.len()).alias(name) for name in more),
    )
    path = tmp_path / f"u{ending}"
    if ending == ".arrows":
        bad.write_ipc_stream(path, compat_level=pl.CompatLevel.oldest())
    else:
        write_table(bad, path)
    found = outcome(path, chunk_rows=7)
    rows = range(1, bad.height, 3)
    expected = bad[list(rows)].with_columns(
        source_file=pl.lit(str(path)),
        source_row=pl.Series(rows, dtype=pl.Int64) + 1,
        reasons=pl.lit(f"{SESSIONS}|not_finite"),
    )
    assert found.rejected.columns == expected.columns
    texts = [pl.col(name).cast(pl.String) for name in (SESSIONS, "reasons", "user_id", *more)]
    assert found.rejected.select(texts).equals(expected.select(texts))
    assert found.rejected["source_row"].to_list() == expected["source_row"].to_list()


def test_rejected_rows_take_little_memory_and_none_if_nothing_is_written(few, tmp_path):
    more = few.with_columns(more=pl.lit(1))
    path = write_table(pl.concat([more] * 100), tmp_path / "u.parquet")
    with open_inputs([str(path)], few.columns) as tables:
        rejected = RejectedRows(tables, few.columns, most=2_000)
        rows = pl.concat([few] * 34)[:1_000].with_columns(
            source_file=pl.lit(str(path)),
            source_row=pl.int_range(1, 1_001),
            reasons=pl.lit("user_id|missing"),
        )
        for done, size in ((0, 8_000), (1_000, 16_000), (2_000, 0)):
            chunk = rows.with_columns(pl.col("source_row") + done)
            assert list(rejected.add(chunk, done)) == []
            kept = [places for table in rejected._places.values() for places in table]
            assert sum(places.estimated_size() for places in kept) <= size
        assert list(rejected.read_again()) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "blank", [case("A36", ""), case("A36-spaces", " \t"), case("A43", "\ufeff")]
)
def test_blank_lines_of_a_csv_are_no_rows(few, expected, tmp_path, end, blank):
    path = tmp_path / "u.csv"
    lines = few.write_csv(line_terminator="\n").splitlines()
    path.write_text(f"{end}{blank}{end}".join(["", *lines, ""]), newline="")
    found = outcome(path)
    assert (found.summary.get("rows_read"), found.message) == (few.height, "")
    assert found.scores.equals(expected)


def test_blank_lines_of_ndjson_are_no_rows_a36_a43(few, expected, tmp_path):
    path = tmp_path / "u.ndjson"
    path.write_text("\ufeff" + ndjson(few[:5]) + "\n \t\r\n\ufeff" + ndjson(few[5:]) + "\n\n")
    assert outcome(path).scores.equals(expected)


def test_rows_are_numbered_without_blank_lines_a36(few, tmp_path):
    path = tmp_path / "u.csv"
    bad = few.with_columns(
        pl.when(pl.int_range(pl.len()) == 6).then(-1).otherwise(SESSIONS).alias(SESSIONS)
    )
    path.write_text("\n\n".join(bad.write_csv().splitlines()))
    assert outcome(path).rejected["source_row"].to_list() == [7]


def test_a_glob_reads_what_the_directory_reads_a37(few, expected, tmp_path):
    folder = tmp_path / "out"
    for number, day in enumerate(few["snapshot_date"].unique().sort()):
        part = folder / f"snapshot_date={day}"
        part.mkdir(parents=True)
        rows = few.filter(pl.col("snapshot_date") == day).drop("snapshot_date")
        write_table(rows, part / f"{number}.parquet")
        (part / "_SUCCESS").touch()
    (folder / "_SUCCESS").touch()
    (folder / ".part.crc").write_bytes(b"x")
    tables = []
    for name in (folder, folder / "*", folder / "snapshot_date=*" / "*"):
        score([str(name)], BUNDLE, tmp_path / "s.parquet", ScoreOptions(if_exists="replace"))
        tables.append(read_table(tmp_path / "s.parquet"))
    assert tables[0].sort("user_id").equals(expected.sort("user_id"))
    assert tables[1].equals(tables[0])
    assert tables[2].equals(tables[0])


@pytest.mark.parametrize("mark", ["NULL", "NA", "\\N", "-"])
def test_a_mark_for_missing_values_is_named_a38(few, tmp_path, mark):
    column = pl.col("avg_order_value").cast(pl.String).fill_null(mark)
    path = write_table(few.with_columns(column), tmp_path / "u.csv")
    found = outcome(path, max_reject_share=0.0)
    assert found.code == 65
    assert f"'avg_order_value' holds {mark!r} in" in found.message
    assert f"missing_texts = [{json.dumps(mark)}]" in found.message


@pytest.mark.parametrize("ending", [".csv", ".ndjson", ".parquet"])
def test_white_space_is_no_value_and_none_of_a_number_a39(few, expected, tmp_path, ending):
    padded = few.with_columns(
        pl.format(" {}\t", pl.col("avg_order_value").cast(pl.Float64)).fill_null("  "),
        pl.col("country").fill_null(" "),
    )
    assert outcome(write_table(padded, tmp_path / f"u{ending}")).scores.equals(expected)


def bomb(path, csv):
    with gzip.open(path, "wb") as file:
        file.write(csv)
        for _ in range(500):
            file.write(bytes(1 << 20))


def wide_csv(path, csv):
    header, *rows = csv.decode().splitlines()
    names = ",".join(f"x{n}" for n in range(1_000_000))
    path.write_text(
        f"{header},{names}\n" + "".join(f"{row}{',' * 1_000_000}\n" for row in rows[:3])
    )


def wide_ndjson(path, csv):
    rows = pl.read_csv(csv).write_ndjson().splitlines()
    with path.open("w") as file:
        for number, row in enumerate(rows * 10):
            keys = ",".join(f'"k{number}_{n}":1' for n in range(1_000))
            file.write(f"{row[:-1]},{keys}}}\n")


def circles(path, _):
    path.mkdir()
    for number in range(8):
        (path / f"l{number}=x").symlink_to(path)


def ladders(path, _):
    """Folders without a circle: 8 ** 12 paths lead through them."""
    folders = [path, *(path.parent / f"step{number}" for number in range(12))]
    for folder in folders:
        folder.mkdir()
    for here, there in itertools.pairwise(folders):
        for number in range(8):
            (here / f"l{number}=x").symlink_to(there)


LARGE = [
    case("A40", "u.csv.gz", bomb, 65, "more than 100 times its size.*--max-gzip-ratio"),
    case("A41-csv", "u.csv", wide_csv, 65, "1,000,040 columns.*at most 10,000.*--max-columns"),
    case("A41-ndjson", "u.ndjson", wide_ndjson, 65, "columns, of which at most.*--max-columns"),
    case("A42-circle", "folder", circles, 66, "a link to a folder above it"),
    case("A42-ladder", "folder", ladders, 65, "more than 100,000 files and folders.*--max-files"),
]


@pytest.mark.skipif(sys.platform == "darwin", reason="peak memory is counted otherwise")
@pytest.mark.parametrize(("name", "make", "code", "message"), LARGE)
def test_what_is_larger_than_it_looks_is_refused_in_little_memory(
    csv, tmp_path, name, make, code, message
):
    path = tmp_path / name
    make(path, csv)
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from engine.errors import EngineError\n"
        "from engine.explain.validate import validate_input\n"
        "try:\n    validate_input([sys.argv[1]], Path(sys.argv[2]), 0.0)\n"
        "except EngineError as error:\n"
        # Not the peak that `resource` gives: it begins with that of the parent process.
        "    peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())\n"
        "    print(error.exit_code, int(peak[1]) // 1024, error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, path, BUNDLE], capture_output=True, text=True, check=True
    ).stdout
    found, mebibytes, words = said.split(" ", 2)
    assert int(found) == code
    assert pl.Series([words.replace("\n", " ")]).str.contains(message).item(), words
    assert int(mebibytes) < 600


def test_limits_can_be_raised_a40_a41(few, expected, tmp_path):
    path = tmp_path / "u.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(few.write_csv().encode() + b"\n" * (70 << 20))
    assert outcome(path).code == 65
    assert outcome(path, limits=InputLimits(max_gzip_ratio=10_000)).scores.equals(expected)
    narrow = InputLimits(max_columns=39)
    assert "40 columns" in outcome(write_table(few, tmp_path / "u.parquet"), limits=narrow).message
