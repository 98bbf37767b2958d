"""What the what-if page makes of a pasted row and of a link, by its own scripts in Node."""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest

pytestmark = pytest.mark.skipif(
    not shutil.which("node"), reason="needs node: apt-get install nodejs"
)

TEMPLATES = files("training.report.what_if") / "templates"
FEATURES = [
    {
        "name": "visits",
        "label": "Visits",
        "kind": "numeric",
        "may_be_missing": False,
        "missing_texts": ["NULL"],
        "min": 0,
        "max": 50,
    },
    {
        "name": "spend",
        "label": "Spend",
        "kind": "numeric",
        "may_be_missing": True,
        "missing_texts": ["-999"],
        "min": None,
        "max": None,
    },
    {
        "name": "city, state",
        "label": "City",
        "kind": "categorical",
        "may_be_missing": True,
        "missing_texts": [],
        "values": [{"value": "rome"}, {"value": 'o"slo'}, {"value": "1"}],
    },
]
BEFORE = {"visits": 7, "spend": 1.5, "city, state": "rome"}


def answer(call):
    """What an expression of JavaScript gives, with the scripts of the page; an error as its message."""
    scripts = "\n".join((TEMPLATES / name).read_text() for name in ("row.js", "link.js"))
    names = f"const features = {json.dumps(FEATURES)}, before = {json.dumps(BEFORE)};"
    code = (
        f"{scripts}\n{names}let found; try {{ found = {call} }} catch (error) {{ found = error.message }}"
        "console.log(JSON.stringify(found))"
    )
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def read(text):
    return answer(f"userOfRow(features, pastedRow({json.dumps(text)}), before)")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('visits,spend,"city, state"\n3,2.5,rome\n', [3, 2.5, "rome"]),
        ('\ufeffvisits,spend,"city, state"\r\n3,2.5,"o""slo"\r\n\r\n', [3, 2.5, 'o"slo']),
        ("city, state\tspend\tvisits\nrome\t\t3", [3, None, "rome"]),
        ('visits;spend;"city, state"\n3;-999;', [3, None, None]),
        ('visits,spend\nTRUE," 1e1 "', [1, 10, "rome"]),
        ('{"visits": 3, "spend": null, "city, state": true}', [3, None, "1"]),
        ('[{"visits": true, "spend": "NaN", "city, state": 1}]', [1, None, "1"]),
        ('"city, state"\n"rome"', [7, 1.5, "rome"]),
    ],
)
def test_a_row_is_read_as_the_engine_reads_it(text, values):
    found = read(text)
    assert list(found["values"].values()) == values
    assert (found["problems"], found["ignored"]) == ([], [])


@pytest.mark.parametrize(
    ("row", "values", "problem"),
    [
        ({"visits": 51}, [51], "Visits: out of range (allowed: from 0 to 50)"),
        ({"visits": -1}, [-1], "Visits: out of range (allowed: from 0 to 50)"),
        ({"visits": "NULL"}, [], "Visits: no value, so unchanged"),
        ({"visits": "0x10"}, [], "Visits: not a number"),
        ({"visits": [1]}, [1], None),
        ({"spend": "1e39"}, [], "Spend: out of range"),
        ({"spend": "Infinity"}, [], "Spend: not a number"),
        ({"spend": "1,5"}, [], "Spend: not a number"),
        ({"city, state": "Rome"}, [], "City: a category that the model does not know"),
    ],
)
def test_what_is_not_valid_is_said_and_not_used(row, values, problem):
    found = read(json.dumps(row))
    assert found["problems"] == ([] if problem is None else [problem])
    kept = found["values"]["visits"]
    assert kept == (values[0] if problem is None else 7)
    missing = [name for name in ("spend", "city, state") if name in row]
    assert all(found["values"][name] is None for name in missing)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Paste a row first."),
        ("visits,spend", "found 0 rows below the first line"),
        ("visits\n1\n2", "found 2 rows below the first line"),
        ("visits,spend\n1", "The header has 2 columns, the row has 1."),
        ('{"visits": 3', "This JSON is not valid."),
        ("[1, 2]", "Paste one JSON object"),
        ("[null]", "Paste one JSON object"),
    ],
)
def test_a_text_that_is_no_row_is_refused_in_words(text, words):
    assert words in read(text)


def test_a_text_of_any_length_and_any_columns_are_refused_or_ignored_in_words():
    assert answer("pastedRow('x'.repeat(2e6))") == "This is far longer than one row."
    many = {f"column {n}": 1 for n in range(500)} | {"visits": 4, "<b>": 1, "__proto__": 1}
    words = answer(
        f"rowWords(features, userOfRow(features, pastedRow({json.dumps(json.dumps(many))}), before))"
    )
    assert words == (
        "1 of 3 features read. Not in the row, so unchanged: Spend, City. Ignored, as the model does not "
        "read them: column 0, column 1, column 2, column 3, column 4, column 5 and 496 more."
    )


@pytest.mark.parametrize("start", [0, 1, None])
def test_a_link_carries_every_value_and_its_start(start):
    values = {"visits": 3, "spend": None, "city, state": 'o"slo'}
    chosen = "{}" if start is None else f"starts[{start}]"
    found = answer(
        f"(() => {{ const starts = [{{n: 0}}, {{n: 1}}]; const values = {json.dumps(values)};"
        f"const link = linkOf(features, starts, {chosen}, values); const back = linkedRow(link, starts);"
        "return [link, userOfRow(features, back.row, before).values, back.start ?? null]; })()"
    )
    assert found[0].isascii()
    assert found[1] == values
    assert found[2] == (None if start is None else {"n": start})


@pytest.mark.parametrize(
    "address", ["", "#", "#features", "#from-x?a=1", "#user", f"#user?{'a' * 2_000_000}"]
)
def test_another_address_is_no_link(address):
    assert answer(f"linkedRow({json.dumps(address[:20])}.padEnd({len(address)}, 'a'), [])") is None
