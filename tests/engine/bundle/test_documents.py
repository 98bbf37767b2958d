import json
import time

import pytest

from engine.bundle.documents import parse_json, read_toml
from engine.errors import BundleError


@pytest.mark.parametrize("content", [b'["\xed\xa0\x80"]', "[]".encode("utf-16"), b"\xef\xbb\xbf[]"])
def test_json_is_utf8(content):
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)


@pytest.mark.parametrize("text", ["{", "[NaN]", "[" * 100_000, '["\\ud800"]', '["\\uDC00\\uD800"]'])
def test_what_is_no_json_that_can_be_written_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text.encode())


def test_a_pair_of_surrogates_is_one_character():
    assert parse_json(b'["\\ud83d\\uded2", "caf\xc3\xa9"]') == ["🛒", "café"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"b": 1, "b": 2}}', "'b' named more than once"),
        ('{"a": 1, "\\u0061": 2}', "'a' named more than once"),
        ("[1e999]", "beyond a number of 64 bits"),
        (f"[{2**63}]", "beyond a number of 64 bits"),
        (f"[-{'9' * 5_000}]", "beyond a number of 64 bits"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
    ],
)
def test_json_that_two_readers_may_read_differently_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text.encode())


@pytest.mark.parametrize("text", ["1", f"[{2**63 - 1}, -{2**63}, 1.7e308]", "[" * 64 + "]" * 64])
def test_json_within_the_limits_is_read(text):
    assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".".join("a" * 20_000) + " = 1", "more than 64 parts joined by dots"),
        (" . ".join(['"\\""'] * 10_000) + " = 1", "more than 64 parts joined by dots"),
        (f"a = 0x{'f' * 40_000}", "an integer of 160,000 bits"),
        ("a = " + "[" * 40_000, "not a readable TOML file"),
    ],
)
def test_toml_that_takes_long_is_refused_at_once(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    started = time.process_time()
    with pytest.raises(BundleError, match=message):
        read_toml(tmp_path / "a.toml", absent="absent")
    assert time.process_time() - started < 2


LONG = "a." * 100_000


@pytest.mark.parametrize(
    "text",
    [
        f"{'a.' * 63}b = '{'two words. ' * 10_000}' # {'. ' * 100}",
        f"a = 1 # {LONG}",
        f'a = "{LONG}"',
        f"a = '{LONG}'",
        f'a = """{LONG}\n\\""" {LONG}"""""\nb = 1',
        f"a = '''{LONG}\n' {LONG}'''\nb = 1",
        'a = "' + '\\"' * 200_000 + '"',
        "a = [" + '"",' * 100_000 + "]",
    ],
)
def test_toml_of_long_texts_and_64_parts_is_read_at_once(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    started = time.process_time()
    assert read_toml(tmp_path / "a.toml", absent="absent")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ['"' * 400_000, 'a = """' + '\\"""' * 100_000, "''' " * 100_001])
def test_toml_of_quotes_alone_is_refused_at_once(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    started = time.process_time()
    with pytest.raises(BundleError, match="not a readable TOML file"):
        read_toml(tmp_path / "a.toml", absent="absent")
    assert time.process_time() - started < 2
