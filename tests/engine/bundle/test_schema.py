import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle.schema import (
    Feature,
    FeatureSchema,
    Phrases,
    default_schema_path,
    is_reserved,
    load_schema,
    schema_from_dict,
    schema_to_dict,
)
from engine.errors import BundleError

NAMES = st.text(min_size=1, max_size=8)


@st.composite
def features(draw, name):
    if draw(st.booleans()):
        low = draw(st.none() | st.integers(-5, 5))
        high = draw(st.none() | st.integers(6, 9))
        phrases = draw(st.none() | st.just(Phrases(value="{} times", missing="never")))
        number = draw(st.sampled_from(["", "plain", "whole", "percent"]))
        return Feature(
            *(name, "numeric"),
            min=low,
            max=high,
            unit=draw(NAMES),
            phrases=phrases,
            number=number,
        )
    values = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    return Feature(name, "categorical", values=values, ordered=draw(st.booleans()))


@st.composite
def schemas(draw):
    # The engine's own names and patterns of names are refused.
    columns = NAMES.filter(lambda name: "|" not in name and name != "*" and not is_reserved(name))
    columns = columns.filter(lambda name: name[0] != "^" or name[-1] != "$")
    names = draw(st.lists(columns, min_size=1, max_size=6, unique=True))
    # A title is the name of a folder.
    titles = NAMES.filter(lambda name: name.isprintable() and "/" not in name)
    title = draw(titles.filter(lambda name: name not in (".", "..")))
    return FeatureSchema(title, tuple(draw(features(name)) for name in names))


@given(schemas())
def test_schema_survives_json(schema):
    text = json.dumps(schema_to_dict(schema))
    again = schema_from_dict(json.loads(text), "here")
    assert again == schema
    assert again.fingerprint == schema.fingerprint


def test_shipped_schema_is_the_38_features_in_five_groups():
    schema = load_schema(default_schema_path())
    groups = [feature.group for feature in schema.model_features]
    sizes = [12, 8, 6, 7, 5]
    assert [groups.count(group) for group in dict.fromkeys(groups)] == sizes
    assert (schema.id, schema.snapshot, schema.horizon_days) == ("user_id", "snapshot_date", 7)


def test_fingerprint_changes_with_any_field():
    schema = load_schema(default_schema_path())
    other = FeatureSchema(schema.name, schema.features, schema.id, schema.label, horizon_days=8)
    assert other.fingerprint != schema.fingerprint


def test_a_schema_without_later_keys_keeps_its_fingerprint():
    schema = FeatureSchema("x", (Feature("week", "numeric"), Feature("month", "numeric")))
    assert "at_least" not in schema_to_dict(schema)["features"][0]
    # Made with the version before `at_least`.
    assert schema.fingerprint == (
        "6e34aea48e5895abac991aec24f9a9b113d7e0ad4a2aaf8e5c9d3eaa7407bf85"
    )
    week, month = schema.features
    compared = replace(schema, features=(week, replace(month, at_least="week")))
    assert compared.fingerprint != schema.fingerprint
    assert schema_from_dict(schema_to_dict(compared), "here") == compared


NUMERIC = "name = 'x'\n[[feature]]\nname = 'a'\nkind = 'numeric'\n"
CATEGORICAL = NUMERIC.replace("numeric", "categorical")
MANY = "name = 'x'\n" + "".join(
    f"[[feature]]\nname = 'f{n}'\nkind = 'numeric'\n" for n in range(10_001)
)
UNBOUNDED = r"must be finite, found .*; leave it out if there is no bound"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'", "at least one"),
        pytest.param(MANY, "10,001 features, at most 10,000 are read", id="many"),
        pytest.param(
            "name = 'x'\n" + 30 * "[[feature]]\nname = 'f'\n",
            "'f': kind .*; and 10 more",
            id="wrong",
        ),
        (
            "name = 'x'\n[[feature]]\nname = 'a'",
            "'a': kind must be one of 'numeric', 'categorical'",
        ),
        ("name = 'x'\n[[feature]]\nkind = 'numeric'", "feature 1 needs a 'name'"),
        (NUMERIC + "min = 3\nmax = 1", "min 3 is above"),
        (NUMERIC + "min = true", "min must be a number"),
        (NUMERIC + "maximum = 3", "keys 'maximum'"),
        (CATEGORICAL + "ordered = true", "lists its"),
        (NUMERIC + "at_least = 3", "'a': at_least must be a text, found 3"),
        (NUMERIC + "at_least = 'a'", "'a': at_least compares .* with another one, found 'a'"),
        (NUMERIC + "at_least = 'b'", "found 'b'"),
        (f"{CATEGORICAL}at_least = 'b'\n[[feature]]\nname = 'b'\nkind = 'numeric'", "found 'b'"),
        (CATEGORICAL + "values = ['', 'b']", "none empty"),
        ("missing_texts = 'NULL'\n" + NUMERIC, "the table: missing_texts must be a list"),
        (CATEGORICAL + "values = ['NA']\nmissing_texts = ['NA']", "'NA' both in values and in"),
        ("id = 'a'\n" + NUMERIC, "more than once: 'a'"),
        (NUMERIC + "use = false", "at least one"),
        ("horizon_days = -1\n" + NUMERIC, "horizon_days"),
        (NUMERIC + "min = nan", UNBOUNDED),
        (NUMERIC + "min = -inf", UNBOUNDED),
        (NUMERIC + "max = inf", UNBOUNDED),
        (NUMERIC + f"min = {'9' * 400}", UNBOUNDED),
        (CATEGORICAL + "values = [['b']]", "different texts"),
        (NUMERIC + "number = 'money'", "number must be one of '', 'plain', 'whole', 'percent'"),
        (CATEGORICAL + "number = 'whole'", "a categorical feature has no number format"),
        (NUMERIC + "phrases = 'a'", "phrases must be a table, found 'a'"),
        (NUMERIC + "phrases = { two = 'a' }", "'a': phrases has unknown keys 'two'"),
        (NUMERIC + "phrases = { value = 'a' }", r"phrases.value must have \{\} once, found 'a'"),
        (NUMERIC + "phrases = { value = '{} of {}' }", r"phrases.value must have \{\} once"),
        (NUMERIC + "phrases = { one = '{} visit' }", r"phrases.one must have \{\} nowhere"),
        (NUMERIC + "phrases = { zero = 3 }", "at most 80 visible characters, found '3'"),
        (NUMERIC + f"phrases = {{ missing = '{'a' * 81}' }}", "at most 80 visible characters"),
        (NUMERIC + 'phrases = { missing = "a\\n" }', "at most 80 visible characters"),
        (CATEGORICAL + "phrases = { one = 'a' }", "are for numbers, but the feature is categ"),
        (NUMERIC.replace("'x'", "'../x'"), r"'name' must not be a path.* found '\.\./x'"),
        (NUMERIC.replace("'x'", "'..'"), r"'name' must not be a path.* found '\.\.'"),
        (NUMERIC.replace("'x'", '"x\\n"'), "invisible characters"),
        ("nonsense", "not a readable TOML file"),
    ],
)
def test_mistakes_in_a_schema_are_named(tmp_path, text, message):
    path = tmp_path / "schema.toml"
    path.write_text(text)
    with pytest.raises(BundleError, match=message):
        load_schema(path)


def table_with(name, place):
    feature = {"name": name if place == "feature" else "plain", "kind": "numeric"}
    keys = {} if place == "feature" else {place: name}
    return {"name": "x", "features": [feature], **keys}


@pytest.mark.parametrize("place", ["feature", "id", "snapshot"])
@pytest.mark.parametrize(
    "name",
    [
        *("row", "will_purchase", "driver_1", "driver_3", "driver_12_impact", "impact_sessions"),
        *("reason_1", "reason_12"),
        *("base_value", "action", "in_control_group", "chunk_row", "reasons", "source_row"),
        *("true_probability", "features", "margin", "probability", "segment", "impacts"),
    ],
)
def test_names_that_the_engine_makes_are_refused(name, place):
    with pytest.raises(BundleError, match=f"here: 1 column named like .* adds: '{name}'") as caught:
        schema_from_dict(table_with(name, place), "here")
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("place", ["feature", "id", "snapshot", "label"])
def test_a_bar_in_a_name_is_refused(place):
    with pytest.raises(BundleError, match=r"1 column with '\|' in the name: 'a\|missing'"):
        schema_from_dict(table_with("a|missing", place), "here")


@pytest.mark.parametrize("place", ["feature", "id", "snapshot", "label"])
@pytest.mark.parametrize("name", ["*", "^x.*$"])
def test_a_pattern_of_names_is_refused(name, place):
    with pytest.raises(BundleError, match="1 column named as a pattern of columns"):
        schema_from_dict(table_with(name, place), "here")


@pytest.mark.parametrize(
    "name", ["rows", "driver_licence", "impact", "segments", "id", "driver_1x", "reason"]
)
def test_names_near_those_are_fine(name):
    assert schema_from_dict(table_with(name, "feature"), "here").features[0].name == name


def test_every_column_of_the_score_file_is_refused_as_a_feature(scorer, users):
    schema = scorer.manifest.schema
    for name in set(scorer.score(users.head(10)).columns) - {schema.id, schema.snapshot}:
        with pytest.raises(BundleError, match="that the engine adds"):
            schema_from_dict(table_with(name, "feature"), "here")


def test_a_label_may_have_the_name_of_a_score():
    assert schema_from_dict(table_with("will_purchase", "label"), "here").label == "will_purchase"


def test_missing_schema_file_says_so(tmp_path):
    with pytest.raises(BundleError, match="no such schema file"):
        load_schema(tmp_path / "absent.toml")


def test_a_schema_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", Path("/dev/zero"), tmp_path):
        with pytest.raises(BundleError, match=f"{path}: not a regular file"):
            load_schema(path)


def test_a_schema_may_be_a_link(tmp_path):
    (tmp_path / "schema.toml").symlink_to(default_schema_path())
    assert load_schema(tmp_path / "schema.toml") == load_schema(default_schema_path())
