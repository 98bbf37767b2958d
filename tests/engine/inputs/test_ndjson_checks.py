import pytest

from engine.inputs import formats, ndjson_checks
from engine.inputs.ndjson_checks import half_character, ndjson_fault


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"a":1}\n{"a":"x"}\n\n{"b":[1]}', None),
        (b'{"a":1}\n{"a":2}\n{"a":\n{"a":4}\n', "line 3 is not a JSON object"),
        (b'{"a":1}\nsecret\n', "line 2 is not a JSON object"),
        (b'{"a":1}\n{"a":"\xe9"}\n', "byte 15 is not UTF-8; save the table as UTF-8"),
    ],
)
def test_a_fault_of_ndjson_is_named_by_its_line(tmp_path, monkeypatch, block, content, fault):
    for module in (formats, ndjson_checks):
        monkeypatch.setattr(module, "BLOCK_BYTES", block)
    path = tmp_path / "t.ndjson"
    path.write_bytes(content)
    assert ndjson_fault(path) == fault


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a":"\\ud800"}', 2),
        ('{"a":"\\\\\\uDBFFx"}', 2),
        ('{"a":"\\ud83d\\ude00"}', None),
        ('{"a":"\\\\ud800"}', None),
        ('{"a":"d800"}', None),
    ],
)
def test_half_a_character_is_found(tmp_path, text, line):
    path = tmp_path / "u.ndjson"
    path.write_text(f'{{"a":"x"}}\n{text}\n')
    assert half_character(path) == line
