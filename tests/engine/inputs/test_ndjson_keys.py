import json
import random
import time
from collections import Counter

import pytest

from engine.errors import InputError
from engine.inputs import ndjson_keys
from engine.inputs.ndjson_keys import read_keys


def keys_of(tmp_path, text, scalars=("id",), max_columns=100):
    path = tmp_path / "t.ndjson"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_keys(path, "t.ndjson", scalars, max_columns)


def test_names_of_all_rows_in_the_order_of_their_first_appearance(tmp_path):
    text = '{"id":"a","x":1}\n\n{"x":2,"late":[1]}\n{ "id" : "b" , "naïve" : "{\\"no\\":1}" }\n{}\n'
    assert keys_of(tmp_path, text) == ("id", "x", "late", "naïve")


def test_keys_of_objects_within_are_no_columns(tmp_path):
    text = '{"a":{"id":1,"b":{"id":2}},"c":[{"id":3},{"id":4}]}\n\n\n'
    assert keys_of(tmp_path, text) == ("a", "c")


@pytest.mark.parametrize(
    "line",
    [
        '{"id":"a","x":1,"x":2}',
        '{"id":"a","x":1,"\\u0078":2}',
        '{"x":"a\\"b","id":{"q":1},"x":"\\\\"}',
        '{"x": 1, "y": "}{:\\"", "x" : 1}',
        '{"' + "k" * 500 + '":1,"' + "k" * 500 + '":1}',
    ],
)
@pytest.mark.parametrize("before", [0, 1, 50_000])
def test_an_object_with_a_key_twice_is_refused_with_its_line(tmp_path, line, before):
    text = '{"id":"a","x":1}\n' * before + line + "\n" + '{"id":"b","x":1}\n' * 3
    with pytest.raises(InputError, match=rf"line {before + 1:,} has 1 key more than once"):
        keys_of(tmp_path, text, scalars=())


@pytest.mark.parametrize(
    ("one", "two"), [("größe", r"gr\u00f6\u00dfe"), (r"\u0078", r"\u0078"), ("é", r"\u00E9")]
)
def test_an_escaped_name_is_the_same_name(tmp_path, one, two):
    rows = "".join(f'{{"{key}":1,"n":{n}}}\n' for n, key in enumerate([one, two, one]))
    assert len(keys_of(tmp_path, rows)) == 2
    for twice in (f'"{one}":1,"{two}":2', f'"{two}":1,"a":3,"{one}":2'):
        with pytest.raises(InputError, match="line 4 has 1 key more than once"):
            keys_of(tmp_path, rows + f"{{{twice}}}\n")


def test_ragged_rows_with_escaped_names_take_linear_time(tmp_path):
    rows = [r'{"\u00e9":1}', r'{"\u00e9":1,"b":2}'] * 100_000
    began = time.process_time()
    assert keys_of(tmp_path, "\n".join(rows)) == ("é", "b")
    assert time.process_time() - began < 3


def test_keys_that_begin_alike_are_different(tmp_path):
    names = ["k" * n for n in range(1, 60)] + ["k" * 300 + "a", "k" * 300 + "b"]
    text = json.dumps(dict.fromkeys(names, 1)) + "\n"
    assert keys_of(tmp_path, text * 2) == tuple(names)


@pytest.mark.parametrize("value", ['{"a":1}', "[1]", "[]", '{"id":{"id":1}}'])
def test_a_needed_column_with_an_object_is_refused_with_its_line(tmp_path, value):
    text = '{"id":"a","o":[1]}\n{"o":{},"id":' + value + "}\n"
    with pytest.raises(InputError, match=r"line 2: 'id' holds an object or an array"):
        keys_of(tmp_path, text)


def test_a_key_as_long_as_a_value_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"line 2 has a key of more than 1,024 bytes"):
        keys_of(tmp_path, '{"id":1}\n{"' + "k" * 1_025 + '":1}\n')


def test_too_many_keys_are_refused(tmp_path):
    text = "".join(json.dumps({f"k{i}_{j}": 1 for j in range(10)}) + "\n" for i in range(11))
    with pytest.raises(InputError, match=r"110 columns, of which at most 100 .* --max-columns"):
        keys_of(tmp_path, text)


@pytest.mark.parametrize("text", ['{"a', '{"a":', '"', '{"a":1}}\n{"b"', "\\", "   ", '{"a":"\\'])
def test_broken_objects_are_left_to_the_reader(tmp_path, text):
    keys_of(tmp_path, text)


@pytest.mark.parametrize("seed", range(40))
def test_it_finds_what_the_standard_parser_finds(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(ndjson_keys, "BLOCK_BYTES", 64)
    rng = random.Random(seed)
    strings = ["id", "x", "é", 'q"', "\\", "a:b", "{", "}", "[,]", "\n", "", "long key " * 20]

    def value(depth):
        kind = rng.randrange(6 if depth else 4)
        if kind == 4:
            return [value(depth - 1) for _ in range(rng.randrange(3))]
        if kind == 5:
            return {rng.choice(strings): value(depth - 1) for _ in range(rng.randrange(3))}
        return (rng.choice(strings), 1.5, None, True)[kind]

    def member(name):
        ascii_only = rng.random() < 0.5
        return f"{json.dumps(name, ensure_ascii=ascii_only)}{' ' * rng.randrange(2)}:" + json.dumps(
            value(2), ensure_ascii=ascii_only
        )

    lines = []
    for _ in range(30):
        names = rng.sample(strings, rng.randrange(1, 6))
        if rng.random() < 0.01:
            names.append(names[0])
        lines.append("{" + ", ".join(map(member, names)) + "}")
    text = "\n".join(lines) + "\n"
    rows = [json.loads(line, object_pairs_hook=list) for line in lines]
    twice = [n for n, row in enumerate(rows, 1) if max(Counter(k for k, _ in row).values()) > 1]
    if twice:
        with pytest.raises(InputError, match=f"line {twice[0]} has"):
            keys_of(tmp_path, text, scalars=())
    else:
        assert keys_of(tmp_path, text, scalars=()) == tuple(
            dict.fromkeys(key for row in rows for key, _ in row)
        )
