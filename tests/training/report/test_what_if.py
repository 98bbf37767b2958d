"""What a what-if page is made of, and where it may be put."""

import gzip
import json
import re
import subprocess
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import CHANCE, Segment
from engine.bundle.open import open_bundle
from engine.bundle.schema import Feature, default_schema_path, load_schema
from engine.errors import CannotCreateError
from engine.words import effect_words, value_words
from tests.helpers import BUNDLE
from tests.integration.javascript import EXAMPLES, install, needs_npm
from training.data.dataset import load_dataset
from training.data.scored import score_users
from training.metrics.disclosure import MIN_USERS
from training.report.subject import Subject
from training.report.what_if.facts import page_facts, slider_stops
from training.report.what_if.folder import check_folder
from training.report.what_if.page import PAGE, RUNTIME_LICENCES, runtime_script, what_if_files
from training.report.what_if.typical import usual_users, usual_values
from training.simulate import SimulateOptions
from training.simulate.write import write_users

HOSTILE = "</script><script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def users_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users.parquet"
    write_users(SimulateOptions(rows=2_000, seed=5), path)
    return path


@pytest.fixture(scope="module")
def usual(bundle, users_file):
    return usual_of(bundle, users_file)


def usual_of(bundle, path):
    dataset = load_dataset([str(path)], bundle.manifest.schema)
    return usual_users(bundle.manifest, score_users(bundle, dataset))


def subject_of(bundle, manifest=None):
    """The bundle as it was measured in its fit, with another manifest if one is given."""
    return Subject(manifest or bundle.manifest, read_evaluation(bundle))


def with_features(bundle, *features):
    """The manifest with other features; the first is categorical if it has values."""
    schema = replace(bundle.manifest.schema, features=features)
    tables = {f.name: f.values for f in features if f.kind == "categorical"}
    return replace(bundle.manifest, schema=schema, categories=tables)


def all_users(manifest, column):
    """What is usual of one feature among users of no segment."""
    features = np.array(column, np.float32).reshape(-1, 1)
    rows = len(features)
    return usual_values(manifest, features, np.zeros(rows, np.int64), np.arange(rows))


NUMBER = Feature("n", "numeric", min=0, max=1_000)
CITY = Feature("c", "categorical", values=("rome", "oslo"))


@pytest.mark.parametrize(
    ("feature", "column", "value"),
    [
        (NUMBER, [5] * 30 + [7] * 10, 5.0),
        (NUMBER, [123.4] * 40, 120.0),
        (NUMBER, [998] * 40, 1_000.0),
        (NUMBER, [np.nan] * 21 + [7] * 20, None),
        (NUMBER, [np.nan] * 19 + [7] * 19, None),
        (replace(NUMBER, max=997), [998] * 40, 997.0),
        (CITY, [1] * 30 + [0] * 20, "oslo"),
        (CITY, [0] * 25 + [1] * 25, "rome"),
        (CITY, [np.nan] * 30 + [1] * 20, None),
        (CITY, [0] * 19 + [1] * 19, None),
    ],
)
def test_the_usual_value_is_a_rounded_median_or_the_most_frequent(bundle, feature, column, value):
    found = all_users(with_features(bundle, feature), column)
    assert [typical.values for typical in found.typical] == [(value,)]


@pytest.mark.parametrize(("column", "whole"), [([1, 2, np.nan], True), ([1, 2.5], False)])
def test_whole_numbers_are_told(bundle, column, whole):
    assert all_users(with_features(bundle, NUMBER), column * 20).whole == (whole,)


def test_a_segment_of_few_users_is_no_typical_user(bundle):
    manifest = replace(
        with_features(bundle, NUMBER), segments=(Segment(1, "many", 0.9), Segment(4, "few", 0.1))
    )
    features = np.ones((60, 1), np.float32)
    segment = np.repeat([1, 4], [60 - MIN_USERS + 1, MIN_USERS - 1])
    found = usual_values(manifest, features, segment, np.arange(60))
    assert [typical.segment for typical in found.typical] == [None, 1]


def test_many_rows_of_few_users_tell_of_nobody(bundle):
    manifest = with_features(bundle, NUMBER)
    features, segment = np.ones((400, 1), np.float32), np.zeros(400, np.int64)
    few = usual_values(manifest, features, segment, np.arange(400) % (MIN_USERS - 1))
    enough = usual_values(manifest, features, segment, np.arange(400) % MIN_USERS)
    assert (len(few.typical), len(enough.typical)) == (0, 1)


@given(
    low=st.none() | st.floats(-1e6, 0),
    high=st.none() | st.floats(1, 1e6),
    edges=st.lists(st.floats(-1e5, 1e5, width=32), unique=True).map(sorted),
    whole=st.booleans(),
)
def test_stops_rise_from_one_end_of_the_range_to_the_other(low, high, edges, whole):
    stops = slider_stops(Feature("n", "numeric", min=low, max=high), tuple(edges), whole=whole)
    assert len(stops) >= 2
    assert stops == sorted(set(stops))
    assert low is None or stops[0] == low
    assert high is None or stops[-1] == high


def test_stops_are_the_bins_of_the_reference_rounded():
    feature = Feature("spend", "numeric", min=0, max=1_000)
    lowest_alone = float(np.nextafter(np.float32(0), np.float32(1)))
    edges = (lowest_alone, 40.31999, 75.98999, 705.28)
    assert slider_stops(feature, edges, whole=False) == [0, 40.3, 76, 705, 1_000]
    assert slider_stops(feature, edges, whole=True) == [0, 40, 76, 705, 1_000]


def test_the_same_bundle_and_users_give_the_same_bytes(bundle, users_file, usual):
    subject = subject_of(bundle)
    again = usual_of(open_bundle(BUNDLE), users_file)
    assert what_if_files(bundle, subject, usual) == what_if_files(bundle, subject, again)


def test_no_name_ends_a_script(bundle, usual):
    manifest = bundle.manifest
    schema = manifest.schema
    hostile = replace(
        manifest,
        schema=replace(
            schema, features=tuple(replace(f, label=HOSTILE + f.name) for f in schema.features)
        ),
        segments=tuple(replace(s, name=HOSTILE, sentence=HOSTILE) for s in manifest.segments),
    )
    page = what_if_files(replace(bundle, manifest=hostile), subject_of(bundle, hostile), usual)[
        PAGE
    ].decode()
    assert page.count("<script") == page.count("</script>") == 5
    assert "\u202e" not in page
    assert facts_of(page)["segments"][0]["name"] == "</script><script>alert(1)</script>\\u202e"


def test_why_an_action_is_recommended_is_a_sentence(bundle, usual):
    page = what_if_files(bundle, subject_of(bundle), usual)[PAGE].decode()
    reasons = {action["rationale"] for action in facts_of(page)["actions"]}
    assert len(reasons) > 3
    assert all(re.fullmatch(r"[A-Z].*\.", reason) for reason in reasons)


def facts_of(page):
    return json.loads(re.search(r'id="facts">(.*?)</script>', page, re.DOTALL)[1])


def test_an_unusable_bundle_says_so(bundle, usual):
    unusable = replace(bundle.manifest, unusable=("it ranks no better than chance",))
    page = what_if_files(replace(bundle, manifest=unusable), subject_of(bundle, unusable), usual)[
        PAGE
    ]
    assert "Must not be used" in page.decode()
    usable = what_if_files(bundle, subject_of(bundle), usual)[PAGE]
    assert "Must not be used" not in usable.decode()


def test_segments_no_better_than_chance_are_not_named(bundle, users_file):
    manifest = replace(bundle.manifest, segments_verdict=CHANCE)
    chance = replace(bundle, manifest=manifest)
    usual = usual_of(chance, users_file)
    page = what_if_files(chance, subject_of(bundle, manifest), usual)[PAGE].decode()
    facts = facts_of(page)
    assert facts["segments"] == []
    assert [start["title"] for start in facts["starts"]] == ["All users"]
    assert 'id="segment-name"' not in page
    assert not [s.name for s in manifest.segments if s.name in page]


def test_the_licences_of_the_runtime_lie_beside_the_page(bundle, usual):
    made = what_if_files(bundle, subject_of(bundle), usual)
    assert set(made) == {PAGE, *RUNTIME_LICENCES}
    assert made["LICENSE-onnxruntime.txt"].startswith(b"MIT License")
    assert b"emscripten" in made["ThirdPartyNotices-onnxruntime.txt"]
    assert all(name in made[PAGE].decode() for name in RUNTIME_LICENCES)


def test_the_runtime_becomes_one_global_object():
    script = runtime_script()
    assert 'globalThis.ort={"InferenceSession":' in script
    assert not re.search(r"\bexport\s*\{|sourceMappingURL|</script", script)


SPOKEN = """
const { effects, features, impacts, values } = JSON.parse(require('node:fs').readFileSync(0));
const known = (feature) => feature.kind === 'categorical' ? feature.values.map(({ value }) => value) : values;
console.log(JSON.stringify({
  effects: impacts.map((impact) => effectWords(effects, impact)),
  values: features.map((feature) => [...known(feature), null].map((value) => valueWords(feature, value))),
}));
"""
NUMBERS = [
    *(
        0,
        1,
        -1,
        0.5,
        1.005,
        9.995,
        45.25,
        99.96,
        999.5,
        1234.5,
        9_999.6,
        12_345,
        1e6,
        16_777_217,
        1e15,
        3.4e38,
    ),
    *(
        0.004,
        0.005,
        0.29,
        0.995,
        0.997,
        1.004,
        0.001,
        0.00012345,
        1e-5,
        1e-40,
        -0.004,
        -0.41,
        -2_500.5,
        -0.0,
    ),
    *(float(10.0**n) for n in range(-12, 13)),
    *np.random.default_rng(1).lognormal(0, 6, 300).tolist(),
]


@needs_npm
@pytest.mark.parametrize("shipped", [False, True])
def test_the_page_says_values_and_effects_in_the_words_of_the_engine(bundle, usual, shipped):
    """With the phrases of the shipped schema, and with those that labels and units give."""
    manifest = bundle.manifest
    schema = load_schema(default_schema_path()) if shipped else manifest.schema
    manifest = replace(manifest, schema=schema)
    facts = page_facts(replace(bundle, manifest=manifest), subject_of(bundle, manifest), usual)
    impacts = [*facts["effects"]["bounds"], *np.linspace(-4, 4, 200).tolist()]
    script = (files("training.report.what_if") / "templates" / "words.js").read_text() + SPOKEN
    asked = {**facts, "impacts": impacts, "values": NUMBERS}
    said = subprocess.run(
        ["node", "-e", script], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)
    assert found["effects"] == [effect_words(impact) for impact in impacts]
    for feature, texts in zip(schema.model_features, found["values"], strict=True):
        values = feature.values if feature.kind == "categorical" else NUMBERS
        assert texts == [value_words(feature, value) for value in (*values, None)]


@needs_npm
def test_the_runtime_is_that_of_the_npm_package():
    install(EXAMPLES / "browser")
    package = EXAMPLES / "browser" / "node_modules" / "onnxruntime-web" / "dist"
    held = files("training.report.what_if") / "runtime"
    script = "ort.wasm.bundle.min.mjs"
    wasm = "ort-wasm-simd-threaded.wasm"
    assert (held / script).read_bytes() == (package / script).read_bytes()
    assert gzip.decompress((held / f"{wasm}.gz").read_bytes()) == (package / wasm).read_bytes()


def test_a_page_may_be_made_anew_in_its_folder(tmp_path):
    (tmp_path / PAGE).write_text("an older page")
    check_folder(tmp_path)
    check_folder(tmp_path / "new")


def test_a_folder_with_files_of_others_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(
        CannotCreateError, match=r"holds 'thesis.txt', which is no part of a what-if"
    ):
        check_folder(tmp_path)


def test_a_file_and_a_missing_place_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateError, match=r"file: exists and is not a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(CannotCreateError, match=r"the directory \S+ does not exist"):
        check_folder(tmp_path / "no" / "place")


@pytest.mark.parametrize(
    ("folder", "code", "words"),
    [
        (".", 2, "lies in a directory that is an input"),
        ("absent/page", 73, "does not exist. Make it first."),
        (BUNDLE / "page", 2, "a bundle or a folder of bundles"),
    ],
)
def test_a_place_that_cannot_be_is_told_before_anything_is_written(
    users_file, tmp_path, command, folder, code, words
):
    place = folder if folder != "." else users_file.parent
    out = tmp_path / "report.html"
    data = users_file.parent
    said = command("training", "report", BUNDLE, data, "--out", out, "--what-if", place)
    assert said.returncode == code
    assert words in said.stderr
    assert not out.exists()
