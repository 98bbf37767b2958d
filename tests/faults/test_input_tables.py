"""Parquet and Arrow files as other programs write them, and folders of table formats."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.faults.inputs import SESSIONS, case, outcome, write_arrow
from tests.helpers import BUNDLE, ROOT, write_table

CASES = {
    "A45": "a part of a table of Delta Lake, or any folder, glob or file of Iceberg, Hudi, Paimon or Spark's streaming sink: 65 naming the table and what reads it",
    "A46": "Parquet whose footer or page headers contradict the file: 65, and no memory is asked for",
    "A47": "Arrow's stream format: accepted; 65 if a dictionary changes within it, it is cut off or another follows it",
    "A48": "a file name that is not UTF-8, or a locale that is not: accepted",
}

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
parquet = pytest.importorskip("pyarrow.parquet")


ROOTS = [
    case(
        "A45-delta",
        "_delta_log/00000000000000000000.json",
        "Delta Lake.*Give delta:|No table metadata",
    ),
    case("A45-iceberg", "metadata/00000-abc.metadata.json", "Iceberg.*Give iceberg:CATALOG"),
    case("A45-hadoop", "metadata/version-hint.text", "Iceberg"),
    case("A45-hudi", ".hoodie/hoodie.properties", "Hudi.*Spark"),
    case("A45-partition", ".hoodie_partition_metadata", "Hudi.*Spark"),
    case("A45-v2", "metadata/v2.metadata.json", "Iceberg"),
    case("A45-paimon", "schema/schema-0", "Paimon"),
    case("A45-streaming", "_spark_metadata/0", "Spark Structured Streaming"),
]


@pytest.mark.parametrize(("mark", "message"), ROOTS)
def test_files_that_only_a_log_knows_are_refused(few, tmp_path, mark, message):
    table = tmp_path / "table"
    (table / mark).parent.mkdir(parents=True)
    (table / mark).touch()
    for folder in (table, table / "country=DE", table / "data" / "country=DE"):
        folder.mkdir(parents=True, exist_ok=True)
        write_table(few, folder / "0.parquet")
    for named in (
        *(table, table / "country=DE", table / "data", table / "0.parquet", table / "*.parquet"),
        *(table / "*=*" / "*", table / "data" / "country=DE" / "0.parquet"),
    ):
        found = outcome(named) if named.parent.exists() else outcome(table, named)
        assert found.code == 65
        assert str(table) in found.message
        assert re.search(message, found.message)


@pytest.mark.parametrize(
    "file",
    [
        "schema/schema-0001.sql",
        "schema/schema-01",
        "metadata/users.metadata.json",
        "metadata/v.metadata.json",
        "../_delta_log/00000000000000000000.json",
        "../metadata/version-hint.text",
        "../schema/schema-0",
    ],
)
def test_other_folders_in_or_above_an_input_mean_nothing_a45(few, expected, tmp_path, file):
    folder = tmp_path / "project" / "users"
    (folder / "day=1").mkdir(parents=True)
    (folder / file).parent.mkdir()
    (folder / file).touch()
    for path in (folder / "0.parquet", folder / "day=1" / "0.parquet"):
        write_table(few, path)
    for named in (folder / "0.parquet", folder / "*.parquet", folder / "day=1"):
        assert outcome(named).scores.equals(expected)


def test_a_folder_beside_such_a_table_is_read_a45(few, expected, tmp_path):
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    (tmp_path / "table" / "_delta_log" / "0.json").touch()
    (tmp_path / "copied").mkdir()
    write_table(few, tmp_path / "copied" / "0.parquet")
    assert outcome(tmp_path / "copied").scores.equals(expected)


def footer_of(content):
    size = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - size], content[-8 - size : -8]


def test_numbers_that_contradict_the_file_are_not_believed_a46(few, tmp_path):
    # Bytes that would end the process if they were believed: a page of -46 values, and of 2^31.
    write_arrow(few.to_arrow(), tmp_path / "sound.parquet")
    content = (tmp_path / "sound.parquet").read_bytes()
    pages, footer = footer_of(content)
    thirty = b"\x15\x3c"
    path = tmp_path / "damaged.parquet"
    for number in (b"\x15\x5b", b"\x15\xfe\xff\xff\xff\x0f"):
        where = [i for i in range(len(pages)) if pages.startswith(thirty, i)]
        assert where
        for place in where:
            changed = pages[:place] + number + pages[place + 2 :]
            path.write_bytes(changed + footer + content[-8:])
            assert outcome(path).code == 65
        changed = footer.replace(thirty[1:], number[1:], 1)
        path.write_bytes(pages + changed + struct.pack("<I", len(changed)) + b"PAR1")
        assert outcome(path).code == 65


def test_a_damaged_column_that_is_not_needed_stops_no_quarantine_a46(few, tmp_path, caplog):
    users = few.with_columns(user_id=pl.when(pl.int_range(30) > 0).then("user_id"))
    table = users.to_arrow().append_column(
        pa.field("last", pa.int32(), nullable=False), pa.array(range(30), pa.int32())
    )
    path = tmp_path / "u.parquet"
    parquet.write_table(table, path, compression="none", use_dictionary=False)
    pages, footer = footer_of(path.read_bytes())
    place = pages.rindex(b"\x15\x3c")
    changed = pages[:place] + b"\x15\x5b" + pages[place + 2 :]
    path.write_bytes(changed + footer + struct.pack("<I", len(footer)) + b"PAR1")
    found = outcome(path)
    assert (found.code, found.rejected.height, "last" in found.rejected.columns) == (0, 1, True)
    assert "cannot be read" in caplog.text


LIES = (-1, -46, 0, 1, 63, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**62))
EACH_NUMBER = """
import copy, sys
from pathlib import Path
from engine.errors import InputError
from engine.inputs.tables import open_table
from engine.inputs.thrift import read_struct, write_struct
from engine.limits import InputLimits
from tests.faults.test_input_tables import LIES, footer_of

sound, step = Path(sys.argv[1]), int(sys.argv[2])
body, footer = footer_of(sound.read_bytes())
fields, _ = read_struct(footer)

def numbers(part, place=()):
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(value, (dict, list)):
            yield from numbers(value, (*place, key))
        elif isinstance(value, int) and not isinstance(value, bool):
            yield (*place, key)

def changed(part, place, number):
    part = copy.deepcopy(part)
    inner = part
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = number
    return part

def pages():
    for group in fields[4]:
        for chunk in group[1]:
            meta = chunk[3]
            at = min(filter(None, (meta.get(9), meta[9], meta.get(11))))
            end = at + meta[7]
            while at < end:
                header, behind = read_struct(body, at)
                yield at, behind, header, meta
                at = behind + header[3]

def lies():
    for place in numbers(fields):
        for number in LIES:
            yield body, changed(fields, place, number)
    for at, behind, header, _ in pages():
        for place in numbers(header):
            for number in LIES:
                written = write_struct(changed(header, place, number))
                moved = copy.deepcopy(fields)
                more = len(written) - (behind - at)
                for chunk in (chunk for group in moved[4] for chunk in group[1]):
                    meta = chunk[3]
                    first = min(filter(None, (meta[9], meta.get(11))))
                    meta[7] += more * (first <= at < first + meta[7])
                    for key in (9, 11):
                        meta.update({key: meta[key] + more} if meta.get(key, 0) > at else {})
                yield body[:at] + written + body[behind:], moved

path, count = sound.with_name("lying"), 0
for pages_then, footer_then in [*lies()][::step]:
    written = write_struct(footer_then)
    path.write_bytes(pages_then + written + len(written).to_bytes(4, "little") + b"PAR1")
    count += 1
    try:
        table = open_table("lying", path, path, lambda: sound.with_name("copy"), (), InputLimits())
        with table.reading():
            table.frame.collect(engine="streaming")
    except InputError:
        pass
print(count)
"""


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("compression", ["uncompressed", "zstd"])
def test_no_number_of_the_metadata_ends_the_process_a46(
    few, tmp_path, record_property, step, compression
):
    path = tmp_path / "users.parquet"
    few[:, :6].write_parquet(path, compression=compression)
    done = subprocess.run(
        [sys.executable, "-c", EACH_NUMBER, path, str(step)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=1_200,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    record_property("damaged inputs", int(done.stdout))
    assert int(done.stdout) > 100


DAMAGE = """
import random, sys
from pathlib import Path
from engine.errors import InputError
from engine.inputs.tables import open_table
from engine.limits import InputLimits
sound, folder, seed, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
content, draws = sound.read_bytes(), random.Random(seed)
path = folder / "damaged"
for number in range(count):
    changed = bytearray(content)
    tail = draws.choice((0, max(0, len(content) - 2_000)))
    for _ in range(draws.randint(1, 4)):
        place = draws.randrange(max(4, tail), len(content) - 8)
        changed[place] = draws.choice((changed[place] ^ 1 << draws.randrange(8), 0, 127, 128, 255))
    path.write_bytes(changed)
    try:
        table = open_table("damaged", path, path, lambda: folder / f"copy{number}", (), InputLimits())
        with table.reading():
            table.frame.collect(engine="streaming")
    except InputError:
        pass
    (folder / f"copy{number}").unlink(missing_ok=True)
"""


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [
        *("plain.parquet", "delta.parquet", "v2.parquet", "polars.parquet"),
        *("users.arrow", "users.arrows", "zstd.arrow"),
    ],
)
def test_damaged_metadata_never_end_the_process_a46_a47(
    few, tmp_path, record_property, name, count
):
    record_property("damaged inputs", count)
    sound, table = tmp_path / name, few.to_arrow()
    encodings = {"user_id": "DELTA_BYTE_ARRAY", SESSIONS: "DELTA_BINARY_PACKED"}
    options = {
        "plain.parquet": {"compression": "none"},
        "delta.parquet": {"use_dictionary": False, "column_encoding": encodings},
        "v2.parquet": {"data_page_version": "2.0", "compression": "zstd"},
    }
    if name in options:
        parquet.write_table(table, sound, **options[name])
    elif name == "zstd.arrow":
        few.write_ipc(sound, compression="zstd")
    elif name == "polars.parquet":
        few.write_parquet(sound)
    else:
        write_arrow(table, sound)
    done = subprocess.run(
        [sys.executable, "-c", DAMAGE, sound, tmp_path, "6", str(count)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=1_200,
    )
    assert done.returncode == 0, done.stderr[-2_000:]


STREAMS = [
    case("A47-polars", lambda few, path: few.write_ipc_stream(path)),
    case("A47-lz4", lambda few, path: few.write_ipc_stream(path, compression="lz4")),
    case("A47-zstd", lambda few, path: few.write_ipc_stream(path, compression="zstd")),
    case("A47-batches", lambda few, path: write_arrow(few.to_arrow(), path)),
    case(
        "A47-dictionaries",
        lambda few, path: few.with_columns(pl.col("country").cast(pl.Categorical)).write_ipc_stream(
            path
        ),
    ),
]


@pytest.mark.parametrize("write", STREAMS)
@pytest.mark.parametrize("name", ["u.arrows", "u.arrow", "u.csv"])
def test_a_stream_of_arrow_is_read_as_a_file(few, expected, tmp_path, write, name):
    write(few, tmp_path / name)
    assert outcome(tmp_path / name).scores.equals(expected)


def test_a_stream_without_an_end_mark_is_read_a47(few, expected, tmp_path):
    path = write_arrow(few.to_arrow(), tmp_path / "u.arrows")
    path.write_bytes(path.read_bytes()[:-8])
    assert outcome(path).scores.equals(expected)


def test_a_stream_through_standard_input_is_read_a47(few, tmp_path):
    path = write_arrow(few.to_arrow(), tmp_path / "u.arrows")
    with path.open("rb") as stream:
        done = subprocess.run(
            [Path(sys.executable).with_name("engine"), "validate", "-", "--bundle", BUNDLE],
            stdin=stream,
            capture_output=True,
            text=True,
        )
    assert (done.returncode, "30 would be scored" in done.stdout) == (0, True), done.stderr


def test_a_stream_that_is_cut_off_is_refused_a47(few, tmp_path):
    path = write_arrow(few.to_arrow(), tmp_path / "u.arrows")
    content = path.read_bytes()
    for end in (200, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:end])
        found = outcome(path)
        assert (found.code, "UTF-16" in found.message) == (65, False)


def test_streams_that_were_joined_are_refused_a47(few, expected, tmp_path):
    path = write_arrow(few.to_arrow(), tmp_path / "u.arrows")
    content = path.read_bytes()
    marked = content.endswith(b"\xff\xff\xff\xff\0\0\0\0")
    assert marked
    path.write_bytes(content + bytes(56))
    assert outcome(path).scores.equals(expected)
    for joined in (content * 2, content + bytes(8) + content, content + b"\1"):
        path.write_bytes(joined)
        found = outcome(path)
        assert (found.code, "after the mark of its end" in found.message) == (65, True)
    # Without the mark, the second schema gives it away.
    path.write_bytes(content[:-8] * 2)
    found = outcome(path)
    assert (found.code, "a second schema" in found.message) == (65, True)


@pytest.mark.parametrize("grow", [True, False])
def test_a_dictionary_that_changes_within_a_stream_is_refused_a47(few, tmp_path, grow):
    countries = few["country"].fill_null("DE").to_list()
    parts = [sorted(set(countries[:9])), None]
    parts[1] = parts[0] + sorted(set(countries) - set(parts[0])) + ["XX"]
    parts[1] = parts[1] if grow else parts[1][::-1]
    table, path = few.to_arrow(), tmp_path / "u.arrows"
    kind = pa.dictionary(pa.int32(), pa.string())
    place = table.schema.get_field_index("country")
    schema = table.schema.set(place, pa.field("country", kind))
    options = ipc.IpcWriteOptions(emit_dictionary_deltas=grow)
    with ipc.new_stream(path, schema, options=options) as stream:
        for rows, values in zip((slice(0, 9), slice(9, None)), parts, strict=True):
            codes = pa.array([values.index(country) for country in countries[rows]], pa.int32())
            column = pa.DictionaryArray.from_arrays(codes, pa.array(values))
            part = table.slice(rows.start, len(codes)).combine_chunks()
            batch = part.drop_columns(["country"]).add_column(place, "country", column)
            stream.write_table(batch)
    found = outcome(path)
    assert (found.code, "a dictionary changes" in found.message) == (65, True)


ODD_NAMES = [
    case("A48-utf8", "\u00fc \u65e5.parquet".encode()),
    case("A48-latin1", b"u\xfc.parquet"),
    case("A48-csv", b"u\xfc\xff.csv"),
    case("A48-arrow", b"\xfe.arrow"),
    case("A48-ndjson", b"\xfe.ndjson"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_are_bytes_in_every_locale(few, tmp_path, name, locale):
    users = few.with_columns(user_id=pl.when(pl.int_range(30) > 0).then("user_id"))
    made = write_table(users, tmp_path / f"made.{name.decode('latin-1').rpartition('.')[2]}")
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - bytes
    os.rename(made, path)  # noqa: PTH104 - bytes
    environment = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = Path(sys.executable).with_name("engine")
    done = subprocess.run(
        [
            *(program, "score", path, "--bundle", BUNDLE, "--out", tmp_path / "scores.parquet"),
            *("--max-reject-share", "1"),
        ],
        env={**os.environ, **environment},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "scores.parquet").height == 29
    rejected = pl.read_parquet(tmp_path / "scores.parquet.quarantine.parquet")
    assert rejected["source_file"].item() == path.decode(errors="backslashreplace")


def test_the_locale_is_named_where_it_forbids_the_name_of_an_output_a48(few, tmp_path):
    made = write_table(few, tmp_path / "u.parquet")
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = os.fsencode(tmp_path) + "/\u00fc.parquet".encode()
    program = Path(sys.executable).with_name("engine")
    command = [program, "score", made, "--bundle", BUNDLE, "--out", out]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True)
    assert (done.returncode, b"locale" in done.stderr) == (73, True)
    environment["PYTHONUTF8"] = "1"
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True)
    assert (done.returncode, Path(os.fsdecode(out)).exists()) == (0, True)
