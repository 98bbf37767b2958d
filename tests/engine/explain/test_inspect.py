import re
from dataclasses import replace

import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import CHANCE, Segment
from engine.bundle.open import open_bundle
from engine.bundle.playbook import playbook_rows
from engine.explain.inspect import full_lines, overview_lines, playbook_lines
from tests.fitting import category, number, schema_of
from tests.helpers import BUNDLE

DRIVERS = {"features": [], "groups": {}, "bands": {}, "segments": {}}


@pytest.fixture(scope="module")
def manifest():
    return replace(
        open_bundle(BUNDLE).manifest,
        unusable=(),
        segments=(Segment(1, "Loyal", 0.5, "Loyal: they order often."), Segment(2, "New", 0.5)),
    )


@pytest.fixture(scope="module")
def evaluation():
    return replace(
        read_evaluation(open_bundle(BUNDLE)),
        quality={"sentence": "Good: it ranks well.", "reasons": ["segments: few"]},
        metrics={
            "rows": 9,
            "roc_auc": 0.75,
            "f1": None,
            "suppressed": ["F1 is withheld: too few users"],
            "intervals": {"roc_auc": [0.7, 0.8]},
            "slices": [{"slice": "country"}],
        },
    )


def section(manifest, evaluation, title):
    text = "\n".join(full_lines(manifest, evaluation))
    return text.split(f"\n{title}\n")[1].split("\n\n")[0]


def test_the_quality_comes_first(manifest, evaluation):
    lines = list(full_lines(manifest, evaluation))
    assert lines[1:4] == [
        "usable: passed every quality check",
        "quality: Good: it ranks well.",
        "  segments: few",
    ]


def test_what_must_not_be_used_is_called_so(manifest, evaluation):
    quality = {"band": "unusable", "sentence": "Unusable: no signal.", "reasons": ["no signal"]}
    useless = replace(manifest, unusable=("no signal", "chance"))
    words = ["MUST NOT BE USED", "quality: Unusable: no signal.", "  no signal", "  chance", ""]
    assert list(full_lines(useless, replace(evaluation, quality=quality)))[1:6] == words


def test_metrics_are_single_figures_with_their_intervals(manifest, evaluation):
    found = section(manifest, evaluation, "metrics on the test users")
    assert found.splitlines() == [
        "                      95 % interval",
        "  rows          9",
        "  roc_auc  0.7500  0.7000 to 0.8000",
        "  F1 is withheld: too few users",
    ]


def test_the_overview_has_the_main_metrics_and_the_size(manifest, evaluation):
    lines = list(overview_lines(manifest, evaluation))
    assert "  ROC-AUC  0.7500  0.7000 to 0.8000" in lines
    assert "  F1 is withheld: too few users" in lines
    assert not any("rows" in line for line in lines)
    assert re.match(r"38 features, \d+ files, \d\.\d MB;", lines[-1])


def test_segments_are_named_and_described(manifest, evaluation):
    assert section(manifest, evaluation, "segments and their shares of users").splitlines() == [
        "  1  Loyal  50.0%",
        "     They order often.",
        "  2  New    50.0%",
    ]


def test_parts_stand_in_the_order_of_segments_and_bands(manifest, evaluation):
    means = {"visits": 0.5, "age": 0.7, "spend": None}
    drivers = {
        **DRIVERS,
        "bands": {"high": means, "low": means, "medium": {"visits": None}, "very_high": None},
        "segments": {"2": means, "1": means},
    }
    found = replace(evaluation, drivers=drivers)
    bands = section(manifest, found, "top drivers by band").splitlines()
    assert bands == ["  low   age 0.700, visits 0.500", "  high  age 0.700, visits 0.500"]
    segments = section(manifest, found, "top drivers by segment").splitlines()
    assert [line.split()[0] for line in segments] == ["Loyal", "New"]


def test_features_are_told_with_the_bounds_that_they_have(manifest, evaluation):
    schema = schema_of(
        number("age", min=18, unit="years"),
        number("balance", max=1_000_000),
        number("share", min=0, max=1, unit="share", missing="never"),
        number("visits"),
        category("city"),
        category("tier", values=["low", "high"]),
    )
    assert section(replace(manifest, schema=schema), evaluation, "6 features").splitlines() == [
        "  age      numeric      from 18 years    missing allowed",
        "  balance  numeric      up to 1,000,000  missing allowed",
        "  share    numeric      0 to 1 share     missing never",
        "  visits   numeric                       missing allowed",
        "  city     categorical                   missing allowed",
        "  tier     categorical  2 values         missing allowed",
    ]


def test_names_of_any_length_and_kind_stay_on_their_line(manifest, evaluation):
    name = "\x1b[2J\n\u202e" + "x" * 1_000_000
    schema = schema_of(number("visits", unit=name))
    found = replace(manifest, schema=schema, segments=(Segment(1, name, 1.0),))
    actions = [{"segment_name": name, "band": "low", "action": "Remind"}]
    lines = [*full_lines(found, evaluation), *playbook_lines(actions, found)]
    assert all(line.isprintable() and len(line) < 200 for line in lines)
    assert r"  1  \x1b[2J\n\u202ex" in "\n".join(lines)


def test_segments_no_better_than_chance_are_not_named(evaluation):
    bundle = open_bundle(BUNDLE)
    manifest = replace(bundle.manifest, segments_verdict=CHANCE)
    rows = playbook_rows(bundle)
    lines = [
        *overview_lines(manifest, evaluation),
        *full_lines(manifest, evaluation),
        *playbook_lines(rows, manifest),
    ]
    assert any("no better than chance" in line for line in lines)
    assert {row["band"] for row in rows} <= {line.strip() for line in lines}
    names = [segment.name for segment in bundle.manifest.segments]
    assert not [line for line in lines if any(name in line for name in names)]
