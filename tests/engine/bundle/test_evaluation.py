import json

import pytest

from engine.bundle.evaluation import (
    evaluation_from_json,
    evaluation_to_json,
    read_evaluation,
)
from engine.bundle.open import EVALUATION, open_bundle, write_bundle
from engine.errors import BundleError
from engine.explain.inspect import full_lines
from tests.bundles import replace_file, with_a_wrong_value
from tests.golden.make import BUNDLE as FORMAT_1
from tests.helpers import BUNDLE


@pytest.fixture(scope="module", params=[BUNDLE, FORMAT_1], ids=["committed", "format 1"])
def bundle(request):
    return open_bundle(request.param)


@pytest.fixture
def document(bundle):
    return json.loads(evaluation_to_json(read_evaluation(bundle)))


def read(document, bundle):
    return evaluation_from_json(json.dumps(document).encode(), bundle.manifest, "here")


def test_an_evaluation_survives_json(bundle):
    evaluation = read_evaluation(bundle)
    content = evaluation_to_json(evaluation)
    assert evaluation_from_json(content, bundle.manifest, "here") == evaluation
    assert evaluation_to_json(evaluation) == content


def test_a_field_that_a_later_engine_may_add_is_ignored(document, bundle):
    document |= {"surprise": 1}
    document["fit"] |= {"surprise": 1}
    assert read(document, bundle) == read_evaluation(bundle)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("metrics",), [], r"it.metrics cannot be '\[\]'"),
        (("quality", "sentence"), None, "it.quality.sentence cannot be 'None'"),
        (("quality", "may_be_used"), 1, "it.quality.may_be_used cannot be '1'"),
        (("drivers", "groups"), {"a": "much"}, "it.drivers.groups.a cannot be 'much'"),
        (("drivers", "bands", "low"), {"a": True}, "it.drivers.bands.low.a cannot be 'True'"),
        (("metrics", "intervals"), {"f1": [1.0]}, r"it.metrics.intervals.f1 cannot be '\[1.0\]'"),
        (("fit", "training", "snapshots"), ["today"], r"snapshots\[0\] cannot be 'today'"),
        (("metrics", "roc_auc"), 10**400, "1000.* is beyond a number of 64 bits"),
        (("fit", "training", "rows"), 10**400, "1000.* is beyond a number of 64 bits"),
        (("fit", "clustering", "transforms"), [], "'fit.clustering' not of bundle"),
        (("fit", "clustering", "features"), None, "it.fit.clustering.features cannot be"),
        (("fit", "profiles"), {"one": {}}, "it.fit.profiles.one has no 'name_features', 'over'"),
        (("comparison", "fitted"), [{}], r"it.comparison.fitted\[0\] has no 'segment_id'"),
        (("bundle_id",), "other/1", "'bundle_id' not of bundle"),
    ],
)
def test_what_no_evaluation_says_is_refused_in_words(document, bundle, path, value, words):
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(BundleError, match=f"here: not an evaluation: .*{words}"):
        read(document, bundle)


def test_profiles_of_other_segments_are_refused(document, bundle):
    document["fit"]["profiles"].popitem()
    with pytest.raises(BundleError, match="'fit.profiles' not of bundle"):
        read(document, bundle)


@pytest.mark.parametrize("name", ["metrics", "quality", "drivers", "fit", "cautions"])
def test_an_absent_part_is_named(document, bundle, name):
    del document[name]
    with pytest.raises(BundleError, match=f"here: not an evaluation: it has no '{name}'"):
        read(document, bundle)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"metrics": NaN}'])
def test_hostile_json_is_no_evaluation(bundle, content):
    with pytest.raises(BundleError, match="here: not (JSON|an evaluation)"):
        evaluation_from_json(content, bundle.manifest, "here")


def test_any_value_in_the_place_of_another_is_refused_or_can_be_inspected(document, bundle):
    refused = 0
    for seed in range(300):
        try:
            found = read(with_a_wrong_value(document, seed), bundle)
        except BundleError:
            refused += 1
        else:
            assert list(full_lines(bundle.manifest, found))
    assert refused > 100


@pytest.fixture
def copied(tmp_path):
    """A bundle of the current format."""
    opened = open_bundle(BUNDLE)
    write_bundle(tmp_path / "bundle", opened.manifest, opened.contents)
    return tmp_path / "bundle"


def test_scoring_does_not_open_the_evaluation(copied, command, users_file):
    replace_file(copied, EVALUATION, b"not JSON")
    score = ("score", users_file, "--bundle", copied, "--out", "scores.parquet")
    assert command("engine", *score).returncode == 0
    for words in (("inspect", copied), ("inspect", copied, "--json"), ("verify", copied)):
        found = command("engine", *words)
        assert found.returncode == 78
        assert f"{EVALUATION}: not an evaluation" in found.stderr
