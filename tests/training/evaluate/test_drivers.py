import json
from dataclasses import replace

import numpy as np
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import BANDS
from engine.bundle.open import open_bundle
from engine.explain.inspect import full_lines
from engine.model.session import Predictions
from tests.fitting import category, number, schema_of
from tests.helpers import BUNDLE
from training.evaluate.drivers import dependence, direction, drivers_report
from training.metrics.disclosure import MIN_USERS

ROWS = 200
SCHEMA = schema_of(
    number("up", group="behavioural"),
    number("down", group="behavioural"),
    number("flat"),
    category("city", values=["rome", "oslo", "bern"], group="profile"),
    category("tier", ordered=True, values=["low", "high"], group="profile"),
)


@pytest.fixture
def manifest():
    tables = {"city": ("rome", "oslo", "bern"), "tier": ("low", "high")}
    return replace(open_bundle(BUNDLE).manifest, schema=SCHEMA, categories=tables)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    found = rng.normal(size=(ROWS, 5)).astype(np.float32)
    found[:, 3], found[:, 4] = np.arange(ROWS) % 2, np.arange(ROWS) % 2
    # Too few users to be named, though they have the largest impact.
    found[: MIN_USERS - 1, 3] = 2
    found[:5, 0] = np.nan
    return found


@pytest.fixture
def predictions(features, manifest):
    impacts = np.nan_to_num(features) * np.array([0.5, -2, 0, -1, 0.25], np.float32)
    index = np.argsort(-np.abs(impacts), axis=1)[:, :3]
    margin = impacts.sum(axis=1)
    return Predictions(
        margin=margin,
        probability=1 / (1 + np.exp(-margin)),
        impacts=impacts,
        driver_index=index,
        driver_impact=np.take_along_axis(impacts, index, axis=1),
        segment=np.full(ROWS, manifest.segments[0].id),
    )


@pytest.fixture
def report(manifest, features, predictions):
    return drivers_report(manifest, features, predictions, np.arange(ROWS))


def test_features_come_in_the_order_of_their_mean_size(report, predictions):
    found = {f["name"]: f["mean_absolute_impact"] for f in report["features"]}
    assert next(iter(found)) == "down"
    assert next(reversed(found)) == "flat"
    expected = np.abs(predictions.impacts).mean(axis=0)
    names = [feature.name for feature in SCHEMA.model_features]
    assert [found[name] for name in names] == pytest.approx(expected, abs=1e-6)


def test_each_feature_has_a_direction(report):
    found = {f["name"]: f["direction"] for f in report["features"]}
    assert found == {
        "up": "raises", "down": "lowers", "flat": "none", "city": "by value", "tier": "raises",
    }  # fmt: skip
    city = next(f for f in report["features"] if f["name"] == "city")
    assert (city["raises_most"], city["lowers_most"]) == ("rome", "oslo")


def test_groups_are_sums(report):
    found = {f["name"]: f["mean_absolute_impact"] for f in report["features"]}
    assert report["groups"] == pytest.approx(
        {
            "behavioural": found["up"] + found["down"],
            "profile": found["city"] + found["tier"],
            "other": found["flat"],
        },
        abs=2e-6,
    )


def test_segments_and_bands_have_their_own_means(report, manifest):
    found = {f["name"]: f["mean_absolute_impact"] for f in report["features"]}
    first, second = (str(segment.id) for segment in manifest.segments[:2])
    assert report["segments"][first] == found
    assert report["segments"][second] == {}
    assert list(report["bands"]) == list(BANDS)
    assert report["bands"]["very_high"]["down"] > report["bands"]["medium"]["down"]
    json.dumps(report, allow_nan=False)


def test_a_band_of_few_users_has_no_means(manifest, features, predictions):
    low, middle, high = manifest.band_cuts
    levels = np.repeat([low / 2, (low + middle) / 2, (middle + high) / 2, 1.0], [100, 50, 45, 5])
    banded = replace(predictions, probability=levels.astype(np.float32))
    found = drivers_report(manifest, features, banded, np.arange(ROWS))["bands"]
    assert {name: bool(means) for name, means in found.items()} == {
        "low": True, "medium": True, "high": True, "very_high": False,
    }  # fmt: skip


def test_many_rows_of_few_users_are_not_told(manifest, features, predictions):
    found = drivers_report(manifest, features, predictions, np.arange(ROWS) % (MIN_USERS - 1))
    assert all(part.get("dependence", []) == [] for part in found["features"])
    city = next(f for f in found["features"] if f["name"] == "city")
    assert city["direction"] == "none"
    assert set(map(len, found["bands"].values())) == {0}


def test_the_ends_of_a_dependence_are_not_the_values_of_users():
    values = np.sort(np.random.default_rng(0).lognormal(3, 1, 400)).astype(np.float32)
    found = dependence(values, values, np.arange(400))
    assert not {part["high"] for part in found} & set(values.tolist())
    assert [part["rows"] for part in found] == [40] * 10


def test_inspect_prints_the_drivers(report, manifest):
    evaluation = replace(read_evaluation(open_bundle(BUNDLE)), drivers=report)
    lines = list(full_lines(manifest, evaluation))
    assert any(line.startswith("  down  ") and "lowers" in line for line in lines)
    assert any("rome raises it most, oslo lowers it most" in line for line in lines)
    assert any(line.startswith("  behavioural  ") for line in lines)


@pytest.mark.parametrize(
    ("values", "impacts", "expected"),
    [
        ([1, 2, 3], [0, 1, 1], "raises"),
        ([1, 2, np.nan], [1, 0, 9], "lowers"),
        ([1, 1, 1], [0, 1, 2], "none"),
        ([1, 2, 3], [1, 1, 1], "none"),
        ([1, 2, 3], [0, 1, 0], "none"),
        ([np.nan, np.nan], [0, 1], "none"),
    ],
)
def test_direction(values, impacts, expected):
    assert direction(np.array(values, np.float32), np.array(impacts, np.float32)) == expected


def test_the_shape_of_a_number_follows_its_impacts(report):
    found = next(f for f in report["features"] if f["name"] == "down")["dependence"]
    means = [part["mean_impact"] for part in found]
    assert len(found) == 10
    assert means == sorted(means, reverse=True)
    assert (found[0]["low"], found[-1]["high"]) == (None, None)
    assert [part["high"] for part in found[:-1]] == [part["low"] for part in found[1:]]
    assert sum(part["rows"] for part in found) == ROWS


def test_the_shape_of_many_equal_numbers_has_fewer_bins():
    values = np.repeat(np.array([0, 1, 7], np.float32), [60, 30, 10])
    found = dependence(values, values, np.arange(100))
    assert found == [
        {"low": None, "high": 1.0, "rows": 60, "mean_impact": 0.0},
        {"low": 1.0, "high": 7.0, "rows": 30, "mean_impact": 1.0},
    ]


def test_the_shape_of_a_category_leaves_out_what_few_users_have():
    values = np.array([0] * 30 + [1] * 19 + [np.nan] * 25, np.float32)
    impacts = np.repeat(np.array([0.5, 9, -0.5], np.float32), [30, 19, 25])
    assert dependence(values, impacts, np.arange(74), ("rome", "oslo")) == [
        {"value": "rome", "rows": 30, "mean_impact": 0.5},
        {"value": None, "rows": 25, "mean_impact": -0.5},
    ]


def test_a_feature_that_is_always_missing_has_the_shape_of_missing():
    values = np.full(40, np.nan, np.float32)
    assert dependence(values, np.zeros(40), np.arange(40)) == [
        {"value": None, "rows": 40, "mean_impact": 0.0}
    ]
