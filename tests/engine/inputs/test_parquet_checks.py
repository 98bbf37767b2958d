import tracemalloc

import polars as pl
import pytest

from engine.errors import InputError
from engine.inputs import parquet_checks
from engine.inputs.arrow_streams import is_stream
from engine.inputs.errors import DamagedError
from engine.inputs.parquet_checks import checked_parquet
from engine.inputs.thrift import read_struct, write_struct
from tests.helpers import write_table


def footer(content):
    size = int.from_bytes(content[-8:-4], "little")
    return content[-8 - size : -8]


@pytest.mark.parametrize("columns", [3, 40])
def test_a_footer_is_written_as_it_was_read(users, tmp_path, columns):
    some = users[:50].select(users.columns[:columns])
    content = footer(write_table(some, tmp_path / "u.parquet").read_bytes())
    fields, end = read_struct(content)
    assert end == len(content)
    assert write_struct(fields) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends too early"),
        (b"\x15", "ends too early"),
        (b"\x18\x7fshort", "ends too early"),
        (b"\x15" + b"\xff" * 20, "too long"),
        (b"\x1c" * 100, "nested too deeply"),
        (b"\x19" * 100, "nested too deeply"),
        (b"\x1f\x00", "unknown kind"),
    ],
)
def test_bytes_that_are_no_structure_are_refused(content, message):
    with pytest.raises(DamagedError, match=message):
        read_struct(content)


def test_a_sound_file_is_read_where_it_is(users, tmp_path):
    path = write_table(users, tmp_path / "u.parquet")
    assert checked_parquet(path, pytest.fail, "u.parquet", users.columns, 100) == path


def test_an_encrypted_column_is_called_so(users, tmp_path):
    path = write_table(users[:5], tmp_path / "u.parquet")
    content = path.read_bytes()
    fields, _ = read_struct(footer(content))
    fields[8], fields.kinds[8] = read_struct(b"\0")[0], 12
    written = write_struct(fields)
    pages = content[: -8 - len(footer(content))]
    path.write_bytes(pages + written + len(written).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputError, match="u.parquet: is encrypted"):
        checked_parquet(path, pytest.fail, "u.parquet", users.columns, 100)


def with_footer(path, written):
    path.write_bytes(b"PAR1" + written + len(written).to_bytes(4, "little") + b"PAR1")
    return path


MANY = 1_000_000
ROOT = b"\x48\x01s\x15\x02\0"
"""The root of a schema with one column."""
COLUMN = b"\x15\x04\x38\x01a\0"


def varint(number):
    low = [number >> 7 * n & 127 for n in range(5)]
    return bytes([*(part | 128 for part in low[:4]), low[4]])


@pytest.mark.parametrize(
    ("written", "kind", "message"),
    [
        (b"\x29\xfc" + varint(MANY) + ROOT + COLUMN * 9, InputError, "999,999 columns, of which"),
        (b"\x29\x1c\x55" + varint(2 * MANY) + b"\0", InputError, "1,000,000 columns, of which"),
        (
            b"\x29\x2c" + ROOT + COLUMN + b"\x29\xfc" + varint(MANY) + bytes(MANY),
            DamagedError,
            "a row group has no columns",
        ),
        (
            b"\x29\x2c" + ROOT + COLUMN + b"\x29\x1c\x19\xfc" + varint(MANY) + bytes(MANY),
            DamagedError,
            "another number of columns",
        ),
        (b"\x29\xf5" + varint(MANY) + bytes(MANY), DamagedError, "another kind"),
        (b"\xf9\xfc" + varint(2**33) + bytes(MANY), DamagedError, "too early"),
    ],
    ids=["elements", "columns", "groups", "chunks", "numbers", "unknown"],
)
def test_a_footer_is_not_read_beyond_its_first_fault(tmp_path, written, kind, message):
    path = with_footer(tmp_path / "u.parquet", written)
    tracemalloc.start()
    with pytest.raises(kind, match=message):
        checked_parquet(path, pytest.fail, "u.parquet", ["a"], 10_000)
    assert tracemalloc.get_traced_memory()[1] < 4 * MANY
    tracemalloc.stop()


def test_of_a_wide_footer_only_the_needed_columns_are_kept(tmp_path):
    path = tmp_path / "u.parquet"
    wide = pl.DataFrame({f"column_{n}": [float(n)] * 20 for n in range(1_000)})
    wide.write_parquet(path, row_group_size=1)
    size = len(footer(path.read_bytes()))
    tracemalloc.start()
    assert checked_parquet(path, pytest.fail, "u.parquet", ["column_7"], 10_000) == path
    assert tracemalloc.get_traced_memory()[1] < 2 * size
    tracemalloc.stop()


def test_a_footer_that_is_too_large_is_not_read(users, tmp_path, monkeypatch):
    path = write_table(users[:5], tmp_path / "u.parquet")
    monkeypatch.setattr(parquet_checks, "LARGEST_FOOTER_BYTES", 1_000)
    with pytest.raises(InputError, match="bytes, of which at most 1,000 are read"):
        checked_parquet(path, pytest.fail, "u.parquet", users.columns, 100)


@pytest.mark.parametrize("has_dictionary", [True, False])
@pytest.mark.parametrize("rows", [0, 3])
def test_a_row_group_without_rows_is_sound(tmp_path, has_dictionary, rows):
    parquet, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    path = tmp_path / "u.parquet"
    table = pa.table({"x": [1.0, None, 3.0], "s": ["a", None, "c"], "l": [[1], None, []]})
    with parquet.ParquetWriter(path, table.schema, use_dictionary=has_dictionary) as writer:
        writer.write_table(table[:0])
        writer.write_table(table[:rows])
        writer.write_table(table[:0])
    assert parquet.read_metadata(path).num_row_groups == 3
    assert checked_parquet(path, pytest.fail, "u.parquet", (), 100) == path


@pytest.mark.parametrize(
    "head", [b"user_id,x\n1,2\n", b'{"a": 1}', b"", b"\x10\x01\0\0", b"\0" * 99, b"\xfe\xff\0a\0b"]
)
def test_what_is_no_stream_of_arrow_is_not_taken_for_one(head):
    assert not is_stream(head)
