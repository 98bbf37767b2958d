import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.inputs import csv_checks, csv_scan, formats
from engine.inputs.csv_checks import (
    csv_fault,
    has_lone_returns,
    misplaced_quote,
    short_rows,
)
from engine.inputs.csv_scan import may_have_blank_lines, without_blank_lines

FIELDS = st.text(st.sampled_from('ab,"\né'), max_size=3)
ROWS = st.lists(st.lists(FIELDS, min_size=2, max_size=3), max_size=12)


def set_block_bytes(patch, block):
    for module in (csv_checks, csv_scan, formats):
        patch.setattr(module, "BLOCK_BYTES", block)


@given(ROWS, st.integers(1, 40), st.booleans())
def test_short_rows_are_those_that_the_csv_module_finds(tmp_path_factory, rows, block, ends):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(text.getvalue() if ends else text.getvalue()[:-1], newline="")
    with pytest.MonkeyPatch.context() as patch:
        set_block_bytes(patch, block)
        found = short_rows(path, 3).tolist()
    assert found == [n for n, row in enumerate(rows) if len(row) < 3]


@given(ROWS, st.integers(1, 9))
def test_no_quote_of_the_csv_module_is_misplaced(tmp_path_factory, rows, block):
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(text.getvalue(), newline="", encoding="utf-8-sig")
    with pytest.MonkeyPatch.context() as patch:
        set_block_bytes(patch, block)
        assert misplaced_quote(path) is None


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    ("content", "row"),
    [
        (b'a,b\n1,"x"\n', None),
        (b'"a","b"\n"1",""""\n"","x""y"', None),
        (b'a,b\r\n"1","x\ny"\r\n', None),
        (b'a,b\n1,"x\\"y"\n2,"z"\n', 1),
        (b'a,b\n1,2\n5" wide,3\n5" high,4\n', 2),
        (b'a,b\n1, "x"\n', 1),
        (b'a,b\n1,"x" \n', 1),
        (b'a",b\n1,2\n', 0),
    ],
)
def test_a_quote_within_a_text_is_found(tmp_path, monkeypatch, block, content, row):
    set_block_bytes(monkeypatch, block)
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert misplaced_quote(path) == row


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a,b\n1,2\n", []),
        (b"\n\r\na,b\n1\n1,2\n", [0]),
        (b"a,b\r\n1,2\r\n3\r\n", [1]),
        (b"a,b\n1,2\n\n", [1]),
        (b"a,b\n", []),
        (b"a\n1\n\n2", []),
    ],
)
def test_rows_count_from_the_header(tmp_path, content, found):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert short_rows(path, content.strip().split(b"\n")[0].count(b",") + 1).tolist() == found


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a,b\n1,2\n", None),
        (b"a,b\n1,2\n1,2,3\n", "row 2 has 3 fields, the header 2"),
        (b'a,b\n"x\ny",2\n1,2,3\n', "row 2 has 3 fields, the header 2"),
        (b'a,b\n1,2\n3,"x\n5,6\n', "a quote that opens in row 2 is never closed"),
        (b"a,b\n1,\xe9\n", "byte 7 is not UTF-8; save the table as UTF-8"),
        ("a,b\n1,é\n".encode() + b"\xc3", "byte 10 is not UTF-8; save the table as UTF-8"),
    ],
)
def test_a_fault_of_csv_is_named_by_its_place(tmp_path, monkeypatch, block, content, fault):
    set_block_bytes(monkeypatch, block)
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert csv_fault(path, 2) == fault


@pytest.mark.parametrize(
    ("head", "lone"),
    [(b"a,b\r1,2\r", True), (b"a,b\r\n1,2\r\n", False), (b"a,b\n1,2", False), (b"a,b", False)],
)
def test_lines_that_end_with_cr_alone_are_found(head, lone):
    assert has_lone_returns(head) == lone


LINES = ["id,x", "a,1", '"b\n\n \nc",2', "d,", '"",4']


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", ["", " ", "\t  ", "\ufeff"])
@pytest.mark.parametrize("block_bytes", [7, 1 << 20])
def test_lines_of_white_space_and_marks_of_joined_files_are_no_rows(
    tmp_path, monkeypatch, end, blank, block_bytes
):
    monkeypatch.setattr(csv_scan, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "t.csv"
    between = f"{end}{blank}{end}"
    path.write_text(between.join(["", *LINES, ""]) + blank, newline="")
    assert may_have_blank_lines(path)
    copy = without_blank_lines(path, tmp_path / "copy.csv")
    assert copy.read_bytes().decode() == end.join([*LINES, ""])


def test_a_mark_that_begins_a_row_is_removed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffid,x\na,1\n\ufeffb,2\n")
    assert may_have_blank_lines(path)
    copy = without_blank_lines(path, tmp_path / "copy.csv")
    assert copy.read_text() == "id,x\na,1\nb,2\n"


def test_ordinary_files_have_no_blank_lines(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,x\n a , 1\n,\n\u00a0,2\n")
    assert not may_have_blank_lines(path)


PARTS = st.sampled_from(
    [b"a", b",", b"\n", b"\r\n", b" ", b"\t", b'"', b'"x\n\ny"', b"\xef\xbb\xbf"]
)


def rows_of(content):
    """The lines of a CSV, one by one, as `without_blank_lines` should leave them."""
    lines, is_inside = [b""], False
    for byte in content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"):
        lines[-1] += bytes([byte])
        is_inside ^= byte == ord('"')
        if byte == ord("\n") and not is_inside:
            lines.append(b"")
    lines = [line.removeprefix(b"\xef\xbb\xbf") for line in lines]
    return b"".join(line for line in lines if line.strip(b" \t\r\n"))


@given(st.lists(PARTS, max_size=40).map(b"".join), st.sampled_from([7, 16, 64]))
@example(b"id,x\na,1\n\xef\xbb\xbfb,2\n", 7)
@example(b"\xef\xbb\xbf\nid,x\na,1\n", 7)
def test_no_line_is_blank_or_begins_with_a_mark(tmp_path_factory, content, block):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_scan, "BLOCK_BYTES", block)
        may_have = may_have_blank_lines(path)
        copy = without_blank_lines(path, path.with_name("copy.csv")).read_bytes()
    assert copy == rows_of(content)
    assert may_have or copy == content.removeprefix(b"\xef\xbb\xbf")
