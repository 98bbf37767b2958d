import pytest

from engine.format import plain_number, short, shown_name, table, visible


def test_a_table_aligns_numbers_right_and_text_left():
    rows = [("a", "1.5 %", "0.1 to 0.2"), ("long", "12.5 %", "")]
    assert list(table(rows, ("name", "share", "95 %"))) == [
        "name   share        95 %",
        "a      1.5 %  0.1 to 0.2",
        "long  12.5 %",
    ]
    assert list(table([("a", "b c"), ("long", "d")])) == ["a     b c", "long  d"]
    assert list(table([])) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_500.0, "1,500"), (2.25, "2.25"), (2.5, "2.5"), (0.12345, "0.123"), (1e20, "1e+20")],
)
def test_a_number_has_the_digits_that_matter(value, text):
    assert plain_number(value) == text


def test_names_are_safe_to_show():
    assert visible("a\x1b[2J\n") == "a\\x1b[2J\\n"
    assert short("abcdef", 4) == "abc…"
    assert len(shown_name("\n" * 1_000)) == 80
