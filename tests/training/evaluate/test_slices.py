import numpy as np
import polars as pl
import pytest

from engine.bundle.manifest import BANDS
from engine.bundle.open import open_bundle
from tests.engine.pages.following import few, followed
from tests.fitting import category, number, schema_of
from tests.helpers import BUNDLE
from tests.training.metrics.test_classification import CUTS, drawn
from training.evaluate.slices import (
    MAX_VALUES,
    MISSING,
    OTHER,
    band_metrics,
    cell_metrics,
    slice_metrics,
    slicings,
)
from training.metrics.classification import classification_metrics
from training.metrics.intervals import auc_interval
from training.metrics.metrics import Outcomes

SCHEMA = schema_of(
    number("recency", group="orders"),
    number("orders", group="orders"),
    number("opens", group="mail"),
    number("clicks", group="mail"),
    category("tier", ordered=True, values=["low", "mid", "high"], group="person"),
    category("city"),
    number("age", use=False, label="Age"),
    rfm={"recency": "recency", "frequency": "orders", "monetary": "orders"},
)
ROWS = 2_000


@pytest.fixture
def users():
    rng = np.random.default_rng(3)
    no_mail = rng.random(ROWS) < 0.1
    return pl.DataFrame(
        {
            "recency": pl.Series(rng.random(ROWS)).set(pl.Series(rng.random(ROWS) < 0.2), None),
            "orders": rng.random(ROWS),
            "opens": pl.Series(rng.random(ROWS)).set(pl.Series(no_mail), None),
            "clicks": pl.Series(rng.random(ROWS)).set(
                pl.Series(no_mail | (rng.random(ROWS) < 0.02)), None
            ),
            "tier": np.array(["mid", "high", "low"])[rng.integers(0, 3, ROWS)],
            "city": pl.Series(np.array(["rome", "oslo", "bern"])[rng.integers(0, 3, ROWS)])
            .set(pl.Series(rng.random(ROWS) < 0.1), None)
            .set(pl.Series(np.arange(ROWS) < 5), "lima"),
            "age": pl.Series(rng.integers(18, 80, ROWS)).cast(pl.Float32),
        }
    )


def by_slice(found, name):
    return {part["value"]: part for part in found if part["slice"] == name}


def test_every_kind_of_slice_is_told(users):
    found = slice_metrics(drawn(ROWS), users, SCHEMA)
    told = {name: list(by_slice(found, name)) for name in dict.fromkeys(p["slice"] for p in found)}
    assert told == {
        "new or returning": ["some", "none"],
        "mail data": ["known", "missing"],
        "tier": ["low", "mid", "high"],
        "city": told["city"],
        "age": told["age"],
    }
    # Too few users are in Lima to be measured alone.
    assert set(told["city"]) > {"rome", "oslo", f"{OTHER} or {MISSING}"}
    assert len(told["age"]) == 4
    assert {p["label"] for p in found if p["slice"] == "age"} == {"Age"}


def test_the_figures_of_a_slice_are_those_of_its_users(users):
    outcomes = drawn(ROWS)
    part = by_slice(slice_metrics(outcomes, users, SCHEMA), "city")["oslo"]
    mask = (users["city"] == "oslo").fill_null(value=False).to_numpy()
    some = outcomes[mask]
    expected = classification_metrics(some, 0.5, CUTS)
    assert part["rows"] == mask.sum()
    for name in ("base_rate", "roc_auc", "log_loss"):
        assert part[name] == pytest.approx(expected[name], abs=1e-6)
    assert part["calibration_gap"] == pytest.approx(
        part["mean_probability"] - part["base_rate"], abs=2e-6
    )
    assert part["roc_auc_interval"][0] < part["roc_auc"] < part["roc_auc_interval"][1]


def test_a_slice_of_few_users_is_not_measured_alone(users):
    outcomes = drawn(ROWS)
    assert "lima" not in by_slice(slice_metrics(outcomes, users, SCHEMA), "city")
    few = Outcomes(outcomes.probability, outcomes.label, np.arange(ROWS) % 15)
    assert slice_metrics(few, users, SCHEMA) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a"] * 50 + ["b"] * 40 + ["c"] * 30, {"a": 50, "b": 40, "c": 30}),
        (["a"] * 50 + ["b"] * 40 + ["c"] * 19, {"a": 50, f"b or {OTHER}": 59}),
        (["a"] * 50 + ["b"] * 15 + ["c"] * 10, {"a": 50, OTHER: 25}),
        (["a"] * 50 + [None] * 19, {f"a or {MISSING}": 69}),
    ],
    ids=["none", "one of few", "several of few", "few without"],
)
def test_rare_values_are_measured_together(values, expected):
    schema = schema_of(category("c"))
    table = pl.DataFrame({"c": values}, schema={"c": pl.String})
    found = slice_metrics(drawn(len(values)), table, schema)
    assert {part["value"]: part["rows"] for part in found} == expected


def test_the_values_beyond_the_most_frequent_are_measured_together():
    values = [f"s{n:02}" for n in range(MAX_VALUES) for _ in range(25 + n)] + ["last"] * 21
    found = slice_metrics(
        drawn(len(values)), pl.DataFrame({"shop": values}), schema_of(category("shop"))
    )
    rows = {part["value"]: part["rows"] for part in found}
    assert len(rows) == MAX_VALUES + 1
    assert rows[OTHER] == 21


def test_bands_of_few_users_are_merged():
    manifest = open_bundle(BUNDLE).manifest
    ids = np.array([segment.id for segment in manifest.segments])
    middles = [0, *manifest.band_cuts]
    people = np.full((len(ids), len(BANDS)), 100)
    people[1, 3] = 5
    people[2, 2] = people[3, 0] = 0
    people[0] = (3, 2, 1, 4)
    cell = np.repeat(np.arange(people.size), people.ravel())
    p = np.array(middles)[cell % len(BANDS)] + 1e-3
    label = (np.arange(len(cell)) % 2).astype(np.int8)
    outcomes = Outcomes(p.astype(np.float32), label, np.arange(len(cell)))
    found = cell_metrics(outcomes, ids[cell // len(BANDS)], manifest)
    rows = {(c["segment_id"], tuple(c["bands"])): c["rows"] for c in found}
    # A segment of few users is left out.
    assert ids[0] not in {segment for segment, _ in rows}
    assert rows[ids[1], ("high", "very_high")] == 105
    assert rows[ids[1], ("low",)] == rows[ids[1], ("medium",)] == 100
    # An empty band is no cell of its own.
    assert rows[ids[2], ("high", "very_high")] == 100
    assert rows[ids[3], ("low", "medium")] == 100
    assert sum(rows.values()) == people[1:].sum()


def test_no_cell_of_few_users_follows_from_the_figures_of_bands_and_segments():
    manifest = open_bundle(BUNDLE).manifest
    ids = [segment.id for segment in manifest.segments[:3]]
    people = np.array([[100, 90, 60, 4], [100, 80, 70, 50], [90, 70, 60, 90]])
    cell = np.repeat(np.arange(people.size), people.ravel())
    cuts = np.array([0.0, *manifest.band_cuts, 1.0])
    p = ((cuts[1:] + cuts[:-1]) / 2)[cell % len(BANDS)].astype(np.float32)
    outcomes = Outcomes(p, (cell % 2).astype(np.int8), np.arange(len(cell)))
    found = cell_metrics(outcomes, np.array(ids)[cell // len(BANDS)], manifest)
    blocks = [
        (
            range(n := ids.index(part["segment_id"]), n + 1),
            range(b := BANDS.index(part["bands"][0]), b + len(part["bands"])),
        )
        for part in found
    ]
    assert few(people) == {(0, 3)}
    assert not few(people) & followed(people, blocks)
    assert len(found) == 10  # the same two bands in one other segment


def test_the_value_of_an_order_is_the_mean_of_the_users_who_have_one():
    p = np.repeat([0.1, 0.4, 0.9], 100).astype(np.float32)
    value = np.repeat([10.0, 20.0, 30.0], 100)
    value[:60] = value[100:181] = np.nan
    outcomes = Outcomes(p, (np.arange(300) % 2).astype(np.int8), np.arange(300))
    found = band_metrics(outcomes, (0.05, 0.2, 0.5), value)
    assert [part["bands"] for part in found] == [["low", "medium"], ["high"], ["very_high"]]
    # 19 users are too few.
    assert [part["order_value"] for part in found] == [10, None, 30]
    assert [part["order_value_rows"] for part in found] == [40, None, 100]
    assert "order_value" not in band_metrics(outcomes, (0.05, 0.2, 0.5))[0]


def test_a_slice_of_few_buyers_has_no_auc(users):
    outcomes = drawn(ROWS)
    label = outcomes.label * (np.cumsum(outcomes.label) <= 30).astype(np.int8)
    found = slice_metrics(Outcomes(outcomes.probability, label, outcomes.users), users, SCHEMA)
    assert {part["roc_auc"] for part in by_slice(found, "tier").values()} == {None}
    assert by_slice(found, "new or returning")["some"]["roc_auc"] is not None


def test_the_interval_without_resampling_is_that_of_the_bootstrap():
    one = drawn(1_500)
    panel = Outcomes(np.tile(one.probability, 3), np.tile(one.label, 3), np.tile(one.users, 3))
    for outcomes in (one, panel):
        figures = classification_metrics(outcomes, 0.5, CUTS)
        auc, found = auc_interval(outcomes)
        assert auc == pytest.approx(figures["roc_auc"], abs=1e-6)
        assert found == pytest.approx(figures["intervals"]["roc_auc"], abs=0.006)


def test_the_interval_is_that_of_delong():
    # The textbook form: variances of the two kinds of structural components, computed pair by pair.
    outcomes = drawn(200)
    p, label = outcomes.probability.astype(float), outcomes.label == 1
    wins = (p[label][:, None] > p[~label]) + 0.5 * (p[label][:, None] == p[~label])
    auc, buyers, others = wins.mean(), *wins.shape
    variance = wins.mean(axis=1).var() / buyers + wins.mean(axis=0).var() / others
    half = 1.959964 * np.sqrt(variance * 200 / 199)
    assert auc_interval(outcomes) == (
        pytest.approx(auc),
        pytest.approx([auc - half, auc + half]),
    )


def test_numbers_that_most_users_share_make_two_parts():
    schema = schema_of(number("used"), number("value", use=False))
    values = np.concatenate([np.zeros(900), np.full(100, 5.0)])
    (one,) = slicings(pl.DataFrame({"value": values}), schema, np.arange(1_000))
    assert one.values == ("under 5", "5 or more", MISSING)
    assert np.bincount(one.part).tolist() == [900, 100]


@pytest.mark.parametrize(("values", "names"), [([3.0, 3.0], ("3",)), ([None, None], ())])
def test_numbers_that_tell_nobody_apart(values, names):
    schema = schema_of(number("used"), number("value", use=False))
    frame = pl.DataFrame({"value": pl.Series(values, dtype=pl.Float32)})
    (one,) = slicings(frame, schema, np.arange(2))
    assert one.values == (*names, MISSING)
    assert set(one.part) == {0}


def test_rare_values_of_a_long_list_are_others():
    schema = schema_of(category("shop"))
    shops = [f"s{n}" for n in range(100) for _ in range(n + 1)]
    (one,) = slicings(pl.DataFrame({"shop": shops}), schema, np.arange(len(shops)))
    assert len(one.values) == MAX_VALUES + 2
    assert one.values[0] == "s99"
    assert (one.part == MAX_VALUES).sum() == sum(range(1, 71))
