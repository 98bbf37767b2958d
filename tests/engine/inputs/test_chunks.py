import errno
import gzip
import io
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest

from engine.errors import (
    AccessError,
    InputError,
    InterruptedRunError,
    NoInputError,
    StorageError,
)
from engine.inputs.chunks import read_chunks
from engine.inputs.errors import broken
from engine.inputs.open import open_inputs
from engine.interruption import signals_noted
from tests.helpers import write_table

FRAME = pl.DataFrame({"id": ["00123", "b", "c"], "x": [1.5, None, 3.0]})


def read(*inputs, rows=2):
    with open_inputs([str(i) for i in inputs], ("id", "x")) as tables:
        return list(read_chunks(tables, ("id", "x"), rows))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz", "t.arrow", "t.ndjson"])
def test_every_format_is_read_in_chunks_in_order(tmp_path, name):
    chunks = read(write_table(FRAME, tmp_path / name))
    assert [chunk.frame.height for chunk in chunks] == [2, 1]
    together = pl.concat(chunk.frame for chunk in chunks)
    assert together["id"].to_list() == ["00123", "b", "c"]
    assert together["x"].cast(pl.Float64).to_list() == [1.5, None, 3.0]


def test_format_is_told_by_the_content_not_by_the_name(tmp_path):
    path = write_table(FRAME, tmp_path / "t.parquet").rename(tmp_path / "users.csv")
    assert read(path)[0].frame["x"].dtype == pl.Float64


def test_standard_input_is_read(tmp_path, monkeypatch):
    content = write_table(FRAME, tmp_path / "t.parquet").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert [chunk.file for chunk in read("-", rows=9)] == ["standard input"]


@pytest.mark.parametrize("blocks", [True, False])
def test_a_slow_standard_input_is_read_to_its_end(tmp_path, monkeypatch, blocks):
    content = write_table(FRAME, tmp_path / "t.parquet").read_bytes()
    reader, writer = os.pipe()
    os.set_blocking(reader, blocks)

    def write_slowly():
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            for part in (content[:9], content[9:99], content[99:]):
                time.sleep(0.1)
                pipe.write(part)

    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        thread = threading.Thread(target=write_slowly)
        thread.start()
        assert [chunk.frame.height for chunk in read("-", rows=9)] == [3]
        thread.join()


def test_directory_is_read_by_name_without_what_is_no_input(tmp_path):
    for name in ("b.parquet", "a.csv", ".hidden.parquet", "s.csv.quarantine.csv"):
        write_table(FRAME, tmp_path / name)
    for name in ("_SUCCESS", "s.csv.lock", "s.csv.summary.json", "l.csv.campaign.json"):
        (tmp_path / name).touch()
    chunks = read(tmp_path, rows=9)
    assert [chunk.file.rsplit("/")[-1] for chunk in chunks] == ["a.csv", "b.parquet"]
    assert [(chunk.rows_before, chunk.input_rows_before) for chunk in chunks] == [(0, 0), (0, 3)]


def test_glob_is_expanded_and_a_name_with_brackets_is_not(tmp_path):
    write_table(FRAME, tmp_path / "a1.csv")
    write_table(FRAME, tmp_path / "a2.csv")
    odd = write_table(FRAME, tmp_path / "a[1].csv")
    assert len(read(tmp_path / "a?.csv", rows=9)) == 2
    assert [chunk.file for chunk in read(odd, rows=9)] == [str(odd)]


@pytest.mark.parametrize("name", ["absent.csv", "*.parquet", "."])
def test_nothing_to_read_is_said(tmp_path, name):
    with pytest.raises(NoInputError, match="no such file|without files"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"PAR1 but not really", "incomplete or damaged"),
        (b"ARROW1 but not really", "incomplete or damaged"),
        (b"\x00\x01\x02", "neither Parquet"),
        ("id,x\n".encode("utf-16"), "UTF-16"),
        (b"<html><body>503</body></html>", "web page"),
        (b"\x1f\x8b\x08 truncated", "incomplete or damaged"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "users.any"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"users.any: .*{message}"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,x,id\n1,2,3\n", "1 column named more than once: 'id'"),
        (b'"id",x,x,id\n1,2,3,4\n', "2 columns named more than once: 'id', 'x'"),
        (b"id;x\n1;2\n", "found 1 column, did you mean ';'"),
        (b"id\tx\n1\t2\n", "found 1 column, did you mean a tab"),
        (b"id,x,y\n1,2,3\n4,5", "ends in the middle of a row"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_that_cannot_be_meant_is_refused(tmp_path, content, message, packed):
    if packed and "middle" in message:
        content, message = gzip.compress(content * 2_000)[:-9], "incomplete"
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(content) if packed and "incomp" not in message else content)
    with pytest.raises(InputError, match=f"t.csv: .*{message}"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"id,x,y\n1,2,3\n4,5,6",
        b"id,x,y\r\n1,2,3\r\n4,5,6\r\n",
        b'id,x,y\n1,2,"two\nlines"',
        b'\xef\xbb\xbfid,x,"a;b"\n1,2,3',
        b"id,x,,\n1,2,,\n",
        b"id,x",
    ],
)
def test_an_odd_csv_that_is_whole_is_read(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert all(chunk.frame.columns == ["id", "x"] for chunk in read(path))


def test_a_key_that_first_appears_late_in_ndjson_is_read(tmp_path):
    path = tmp_path / "t.ndjson"
    path.write_text('{"id":"a"}\n' * 5_000 + '{"id":"b","x":3.5}\n')
    with open_inputs([str(path)], ("id", "x", "absent")) as tables:
        assert tables[0].columns.names() == ["id", "x"]
        values = pl.concat(chunk.frame for chunk in read_chunks(tables, ("id", "x"), 999))["x"]
    assert (values.null_count(), values[-1]) == (5_000, "3.5")


def test_truncated_parquet_is_refused(tmp_path):
    path = write_table(FRAME, tmp_path / "t.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="incomplete"):
        read(path)


def failing(error):
    def fail(*_args, **_options):
        raise error

    return fail


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, AccessError),
        (errno.EIO, StorageError),
        (errno.ESTALE, StorageError),
        (errno.ENOENT, NoInputError),
    ],
)
@pytest.mark.parametrize("call", ["is_dir", "iterdir", "open"])
def test_what_the_operating_system_refuses_is_named(tmp_path, monkeypatch, number, kind, call):
    write_table(FRAME, tmp_path / "t.csv")
    monkeypatch.setattr(Path, call, failing(OSError(number, os.strerror(number))))
    words = "may not be read" if kind is AccessError else ""
    with pytest.raises(kind, match=f"{tmp_path}.*{words}"):
        read(tmp_path)


@pytest.mark.parametrize("error", [OSError("Input/output error (os error 5)"), OSError(5, "x")])
def test_a_disk_that_fails_under_polars_is_named(tmp_path, monkeypatch, error):
    path = write_table(FRAME, tmp_path / "t.csv")
    monkeypatch.setattr(pl.LazyFrame, "collect_batches", failing(error))
    with pytest.raises(StorageError, match="t.csv: cannot be read: Input/output error"):
        read(path)


def test_a_name_that_is_too_long_is_no_input():
    with pytest.raises(NoInputError, match="no such file"):
        read("x" * 5_000)


def test_standard_input_that_fills_the_disk_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"id,x")))
    full = OSError(errno.ENOSPC, "full")
    monkeypatch.setattr("engine.inputs.open._copy_standard_input", failing(full))
    with pytest.raises(StorageError, match="standard input: No space left.*TMPDIR"):
        read("-")


def test_no_place_for_temporary_files_is_no_missing_input(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"id,x")))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(StorageError, match="No usable temporary directory found.*set TMPDIR"):
        read("-")


def test_a_closed_standard_input_is_no_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NoInputError, match="standard input: is closed"):
        read("-")


@pytest.mark.parametrize("ending", [".arrow", ".parquet", ".csv", ".csv.gz", ".ndjson"])
def test_rows_are_counted_before_they_are_read(tmp_path, ending):
    with open_inputs([str(write_table(FRAME, tmp_path / f"t{ending}"))]) as tables:
        assert [table.rows for table in tables] == [3]


def test_rows_that_get_lost_while_they_are_read_are_missed(tmp_path):
    """A column named twice has Polars panic in a thread of its own, after which its batches just end."""
    sound = write_table(FRAME, tmp_path / "a.arrow")
    table = FRAME.to_arrow()
    table = pa.table([*table.columns, table["x"]], names=[*table.column_names, "x"])
    with pa.ipc.new_file(tmp_path / "b.arrow", table.schema) as file:
        file.write_table(table)
    with pytest.raises(InputError, match=r"b\.arrow: cannot be read: .*incomplete or damaged"):
        read(sound, tmp_path / "b.arrow")


@pytest.mark.parametrize("ending", [".csv", ".ndjson"])
def test_rows_that_are_missing_are_told(tmp_path, monkeypatch, ending):
    path = write_table(FRAME, tmp_path / f"t{ending}")
    monkeypatch.setattr(pl.LazyFrame, "collect_batches", lambda *_, **__: iter([FRAME[:2]]))
    with pytest.raises(InputError, match="it has 3 rows, of which 2 could be read"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x28\xb5\x2f\xfd....", "Zstandard. Unpack it"),
        (gzip.compress(gzip.compress(b"id,x\n1,2\n")), "gzip within gzip. Unpack it"),
        (b"PK\x03\x04....", "a ZIP archive, as workbooks are. Unpack it"),
        (b'[{"id": 1}]', "a JSON array. Write one object a line"),
        (
            b'id,note\n1,"a\\"b"\n2,"c"\n',
            "row 1 .the header is 0. has a quote in the middle of a text",
        ),
        (b"x1,DE,DE\nU2,FR,FR\n", "1 column named more than once: the first of them in column 2"),
    ],
    # Not by content: gzip has the time in it, and both workers must find the same names.
    ids=["zstandard", "gzip twice", "zip", "JSON array", "escaped quote", "no header"],
)
def test_what_polars_would_read_otherwise_is_refused(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "t")


def test_a_mark_of_byte_order_is_no_part_of_ndjson(tmp_path):
    (tmp_path / "t").write_bytes(b'\xef\xbb\xbf{"id": "a", "x": 1}\n')
    assert read(tmp_path / "t")[0].frame["id"].to_list() == ["a"]


@pytest.mark.parametrize("name", ["/dev/null", "pipe"])
def test_a_device_is_told_from_what_is_not_there(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(NoInputError, match="a device or a pipe, not a file"):
        read(name)


def test_an_address_is_not_shown_whole(tmp_path):
    with pytest.raises(NoInputError) as caught:
        read("postgresql://shop:secret@host/shop")
    assert "secret" not in str(caught.value)


def test_a_read_that_a_signal_ends_early_is_no_damaged_file():
    with signals_noted():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(InterruptedRunError):
            raise broken("users.parquet", "it has 3 rows, of which 0 could be read")
