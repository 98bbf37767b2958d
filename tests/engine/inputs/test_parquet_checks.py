import pytest

from engine.errors import InputError
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
    assert checked_parquet(path, pytest.fail, "u.parquet", users.columns) == path


def test_an_encrypted_column_is_called_so(users, tmp_path):
    path = write_table(users[:5], tmp_path / "u.parquet")
    content = path.read_bytes()
    fields, _ = read_struct(footer(content))
    fields[8], fields.kinds[8] = read_struct(b"\0")[0], 12
    written = write_struct(fields)
    pages = content[: -8 - len(footer(content))]
    path.write_bytes(pages + written + len(written).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputError, match="u.parquet: is encrypted"):
        checked_parquet(path, pytest.fail, "u.parquet", users.columns)


@pytest.mark.parametrize(
    "head", [b"user_id,x\n1,2\n", b'{"a": 1}', b"", b"\x10\x01\0\0", b"\0" * 99, b"\xfe\xff\0a\0b"]
)
def test_what_is_no_stream_of_arrow_is_not_taken_for_one(head):
    assert not is_stream(head)
