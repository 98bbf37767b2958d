import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference

from engine.bundle.manifest import Segment
from engine.bundle.open import open_bundle
from engine.model.session import Predictions
from tests.helpers import BUNDLE
from training.compare.figures import comparison, inside_figures
from training.compare.paired import score_figures, strategy_figures
from training.compare.stability import stability_figures
from training.compare.strategies import (
    MODEL,
    SEGMENT_FEATURE,
    SEGMENT_RATE,
    STRATEGIES,
    TOGETHER,
    Compared,
    SegmentFigures,
    figures_from_json,
    purchase_rates,
)
from training.metrics.classification import classification_metrics
from training.metrics.disclosure import MIN_USERS
from training.metrics.intervals import auc_interval, intervals
from training.metrics.metrics import Outcomes, rank
from training.model.classifier import sigmoid

GOOD = {"may_be_used": True, "reasons": []}


@pytest.fixture(scope="module")
def manifest():
    """The committed bundle with three segments and one feature."""
    found = open_bundle(BUNDLE).manifest
    segments = tuple(Segment(n, f"Kind {n}", 1 / 3) for n in (4, 2, 9))
    schema = replace(found.schema, features=found.schema.features[:1])
    return replace(found, segments=segments, schema=schema)


def drawn(rows, seed=0, snapshots=None, users=None):
    """Users of the segments 4, 2 and 9, and four strategies to score them."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 3, rows)
    margin = (rng.normal(-1.5, 1, rows) + np.array([-1, 0, 2])[place]).astype(np.float32)
    label = (rng.random(rows) < sigmoid(margin)).astype(np.int8)
    probability = sigmoid(margin).astype(np.float32)
    index, one = np.zeros((rows, 1), np.int64), margin.reshape(-1, 1)
    segment = np.array([4, 2, 9])[place]
    scored = Predictions(margin, probability, one, index, one, segment)
    rate = np.array([label[place == n].mean() for n in range(3)])[place]
    strategies = {MODEL: probability, SEGMENT_RATE: rate.astype(np.float32), TOGETHER: probability}
    users = np.arange(rows) if users is None else users
    return Compared(label, users, scored, strategies, snapshots)


def figures_of(compared):
    return {strategy["key"]: strategy for strategy in score_figures(compared)}


def test_figures_of_a_way_are_those_of_scikit_learn_and_of_the_metrics():
    compared = drawn(3_000)
    p, label = compared.strategies[MODEL].astype(np.float64), compared.label
    auc, loss, *gains = strategy_figures(rank(p, label), np.ones(3_000))
    assert auc == pytest.approx(reference.roc_auc_score(label, p))
    assert loss == pytest.approx(reference.log_loss(label, p))
    outcomes = Outcomes(compared.strategies[MODEL], label, compared.users)
    metrics = classification_metrics(outcomes, 0.5, [n / 10 for n in range(1, 10)])
    assert gains == pytest.approx([g["share_of_buyers"] for g in metrics["gains"]], abs=1e-6)


@pytest.mark.parametrize("strategy", [MODEL, SEGMENT_RATE])
def test_a_weight_counts_as_so_many_rows(strategy):
    compared = drawn(500)
    p, label = compared.strategies[strategy], compared.label
    weight = np.random.default_rng(1).integers(0, 4, 500)
    rows = np.repeat(np.arange(500), weight)
    assert strategy_figures(rank(p, label), weight.astype(float)) == pytest.approx(
        strategy_figures(rank(p[rows], label[rows]), np.ones(len(rows)))
    )


def test_intervals_are_those_of_the_metrics():
    compared = drawn(400, users=np.repeat(np.arange(200), 2))
    ranked = rank(compared.strategies[MODEL], compared.label)
    figures = dict.fromkeys(
        ("pr_auc", "log_loss", "brier", "calibration_error", "f1", "precision", "recall"), 0.5
    )
    found = figures_of(compared)[MODEL]
    expected = intervals(ranked, compared.users, 0.5, {**figures, "roc_auc": found["roc_auc"]})
    assert found["roc_auc_interval"] == pytest.approx(expected["roc_auc"])


def test_a_way_that_is_the_model_differs_by_nothing():
    found = figures_of(drawn(1_000))
    assert found[MODEL]["difference"] is found[MODEL]["standard_error"] is None
    for part in ("difference", "standard_error"):
        same = found[TOGETHER][part]
        assert (same["roc_auc"], same["log_loss"]) == (0, 0)
        assert set(same["gains"].values()) == {0}


def test_a_way_is_held_against_the_base_rate_too():
    compared = drawn(1_000)
    label, found = compared.label, figures_of(compared)
    base = reference.log_loss(label, np.full(len(label), label.mean()))
    for strategy in found.values():
        over = strategy["over_base_rate"]
        assert over["log_loss"] == pytest.approx(strategy["log_loss"] - base)
        assert over["standard_error"] > 0


def test_standard_errors_are_of_pairs_and_near_those_of_delong():
    found = [figures_of(drawn(1_500, seed)) for seed in range(12)]
    gaps = np.array([f[SEGMENT_RATE]["difference"]["roc_auc"] for f in found])
    errors = [f[SEGMENT_RATE]["standard_error"]["roc_auc"] for f in found]
    assert gaps.std(ddof=1) == pytest.approx(np.mean(errors), rel=0.5)
    alone = [np.diff(f[MODEL]["roc_auc_interval"])[0] / 3.92 for f in found]
    assert np.mean(errors) < np.mean(alone)


def test_rows_of_one_user_are_no_further_evidence():
    once = drawn(800)
    rows = np.tile(np.arange(800), 4)
    repeated = Compared(
        once.label[rows],
        rows,
        once.scored[rows],
        {k: p[rows] for k, p in once.strategies.items()},
        None,
    )
    assert figures_of(repeated)[SEGMENT_RATE]["standard_error"]["roc_auc"] == pytest.approx(
        figures_of(once)[SEGMENT_RATE]["standard_error"]["roc_auc"]
    )


def test_gains_of_fewer_than_20_users_are_left_out():
    assert list(figures_of(drawn(150))[SEGMENT_RATE]["gains"]) == ["0.2", "0.3"]


def test_figures_inside_a_segment():
    compared = drawn(4_000)
    own = compared.scored.segment == 2
    p, label = compared.scored.probability[own].astype(np.float64), compared.label[own]
    outcomes = Outcomes(p, label, compared.users[own])
    found = inside_figures(outcomes)
    auc = reference.roc_auc_score(label, p)
    assert found["rows"] == own.sum()
    assert found["roc_auc"] == pytest.approx(auc)
    assert found["roc_auc_interval"] == pytest.approx(auc_interval(outcomes)[1])
    assert found["probability_p50"] == pytest.approx(np.median(p))
    assert found["mean_probability"] == pytest.approx(p.mean())
    top = np.argsort(-p)[: round(0.1 * len(p))]
    assert found["top_decile_lift"] == pytest.approx(label[top].mean() / label.mean())


ALWAYS = {"purchase_rate", "mean_probability", "p10", "p50", "p90"}


@pytest.mark.parametrize(
    ("rows", "bought", "told"),
    [
        (100, 5, ALWAYS),
        (100, 50, {*ALWAYS, "roc_auc", "roc_auc_interval"}),
        (400, 5, ALWAYS),
        (400, 50, {*ALWAYS, "roc_auc", "roc_auc_interval", "top_decile_lift"}),
        (400, 0, ALWAYS),
        (0, 0, set()),
    ],
)
def test_a_segment_with_few_users_or_buyers_has_few_figures(rows, bought, told):
    label = (np.arange(rows) < bought).astype(np.int8)
    outcomes = Outcomes(np.linspace(0.1, 0.9, rows), label, np.arange(rows))
    found = inside_figures(outcomes)
    names = {name.removeprefix("probability_") for name, v in found.items() if v is not None}
    assert names == told | {"rows"}
    few = Outcomes(outcomes.probability, label, np.arange(rows) % 19)
    assert set(inside_figures(few).values()) == ({None} if rows else {None, 0})


def weekly(rows, weeks=3):
    """The same users on several dates; in the last week all users' scores are swapped about."""
    one = drawn(rows)
    dates = np.datetime64("2026-01-05") + 7 * np.arange(weeks)
    take = np.concatenate(
        [*[np.arange(rows)] * (weeks - 1), np.random.default_rng(5).permutation(rows)]
    )
    return Compared(
        np.tile(one.label, weeks),
        np.tile(one.users, weeks),
        one.scored[take],
        {name: p[take] for name, p in one.strategies.items()},
        np.repeat(dates, rows),
    )


def test_weeks_show_what_lasts_and_what_does_not(manifest):
    found = stability_figures(weekly(2_000), manifest.band_cuts)
    assert [week["snapshot"] for week in found["weeks"]] == [
        *("2026-01-05", "2026-01-12", "2026-01-19"),
    ]
    first, _, last = (week["roc_auc"] for week in found["weeks"])
    assert first[MODEL] > 0.8
    assert last[MODEL] == pytest.approx(0.5, abs=0.04)
    still, moved = found["changes"]
    assert (still["segment_changed"], still["band_changed"], still["agreement"]) == (0, 0, 1)
    assert moved["agreement"] == pytest.approx(0, abs=0.01)
    assert moved["segment_changed"] == pytest.approx(2 / 3, abs=0.03)
    assert found["words"] == ""


def test_other_users_each_week_show_no_changes(manifest):
    compared = replace_users(weekly(300), np.arange(900))
    found = stability_figures(compared, manifest.band_cuts)
    assert "in common" in found["words"]
    assert found["changes"] == []
    assert found["weeks"][0]["roc_auc"][MODEL] > 0.7


def test_a_week_of_few_users_is_left_out(manifest):
    compared = weekly(300)
    kept = np.concatenate([np.arange(305), np.arange(600, 850)])
    few = Compared(
        compared.label[kept],
        np.arange(len(kept)),
        compared.scored[kept],
        {name: p[kept] for name, p in compared.strategies.items()},
        compared.snapshots[kept],
    )
    found = stability_figures(few, manifest.band_cuts)["weeks"]
    assert [week["rows"] for week in found] == [300, 250]


def replace_users(compared, users):
    return Compared(compared.label, users, compared.scored, compared.strategies, compared.snapshots)


@pytest.mark.parametrize(
    ("snapshots", "words"),
    [(None, "no dates"), (np.full(50, np.datetime64("2026-01-05")), "one date, 2026-01-05")],
)
def test_one_date_or_none_is_said_in_words(manifest, snapshots, words):
    found = stability_figures(drawn(50, snapshots=snapshots), manifest.band_cuts)
    assert found.keys() == {"words"}
    assert words in found["words"]


FITTED = tuple(SegmentFigures(n, 0.2, 1.0, 0.0) for n in (4, 2, 9))


def test_the_document_holds_everything_and_is_plain_json(manifest):
    compared = drawn(2_000)
    compared.strategies[SEGMENT_FEATURE] = compared.strategies[MODEL]
    found = comparison(manifest, compared, FITTED, GOOD)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [segment["segment_id"] for segment in found["segments"]] == [4, 2, 9]
    assert sum(segment["rows"] for segment in found["segments"]) == found["rows"] == 2_000
    assert {strategy["key"] for strategy in found["scores"]} == set(STRATEGIES)
    assert 0.3 < found["variance"]["probability"] < 0.9
    assert found["variance"]["drivers"][0]["name"] == manifest.schema.features[0].name
    assert found["answer"]
    assert figures_from_json(found["fitted"]) == FITTED


def test_few_users_have_no_figures(manifest):
    found = comparison(manifest, drawn(MIN_USERS - 1), FITTED, GOOD)
    assert found.keys() == {"fitted"}
    many_rows = drawn(100, users=np.arange(100) % (MIN_USERS - 1))
    assert comparison(manifest, many_rows, FITTED, GOOD).keys() == {"fitted"}
    assert comparison(manifest, drawn(MIN_USERS), FITTED, GOOD)["scores"]


def made_of(margin, place, seed=0):
    """Users of the segments 4, 2 and 9 with these log-odds; rates are those of other users."""
    rng = np.random.default_rng(seed)
    label, before = ((rng.random(len(margin)) < sigmoid(margin)).astype(np.int8) for _ in range(2))
    margin = margin.astype(np.float32)
    one, segment = margin.reshape(-1, 1), np.array([4, 2, 9])[place]
    probability = sigmoid(margin).astype(np.float32)
    scored = Predictions(margin, probability, one, np.zeros((len(margin), 1)), one, segment)
    rate = purchase_rates(place, before, 3)[place].astype(np.float32)
    strategies = {MODEL: probability, SEGMENT_RATE: rate, TOGETHER: probability}
    return Compared(label, np.arange(len(margin)), scored, strategies, None)


def told(manifest, compared):
    """The document and its answers: whom, how many, whom inside, what to say, both."""
    found = comparison(manifest, compared, FITTED, GOOD)
    return found, [answer["tool"] for answer in found["answer"]]


def test_segments_that_are_all_there_is_rank_as_well_as_the_model(manifest):
    place = np.random.default_rng(1).integers(0, 3, 6_000)
    found, tools = told(manifest, made_of(np.array([-3.0, -1.0, 1.0])[place], place))
    assert found["variance"]["probability"] == 1
    assert found["scores"][1]["difference"]["roc_auc"] == 0
    assert {segment["roc_auc"] for segment in found["segments"]} == {0.5}
    assert tools[0] == "either"
    assert tools[2:4] == ["neither", "the segments"]


def test_segments_drawn_by_lot_are_useless(manifest):
    rng = np.random.default_rng(1)
    compared = made_of(rng.normal(-1, 1.5, 6_000), rng.integers(0, 3, 6_000))
    found, tools = told(manifest, compared)
    low, high = found["scores"][1]["roc_auc_interval"]
    assert low < 0.5 < high
    assert found["variance"]["probability"] < 0.01
    assert tools[0] == tools[1] == tools[2] == "the purchase model"
    assert tools[3] == "neither"


def test_segments_that_are_the_label_rank_better_than_the_model(manifest):
    compared = drawn(3_000)
    place = compared.label.astype(int)
    scored = replace(compared.scored, segment=np.array([4, 2])[place])
    rate = np.array([0.001, 0.999], np.float32)[place]
    perfect = replace(
        compared, scored=scored, strategies={**compared.strategies, SEGMENT_RATE: rate}
    )
    found, tools = told(manifest, perfect)
    assert found["scores"][1]["roc_auc"] == 1
    assert tools[:3] == ["the segments", "the segments", "neither"]
    assert [segment["roc_auc"] for segment in found["segments"]] == [None] * 3


def test_one_segment_for_all_ranks_by_chance(manifest):
    one = replace(manifest, segments=manifest.segments[:1])
    margin = np.random.default_rng(1).normal(-1, 1.5, 2_000)
    compared = made_of(margin, np.zeros(2_000, int))
    found, tools = told(one, compared)
    assert found["scores"][1]["roc_auc"] == 0.5
    assert found["segments"][0]["roc_auc"] == found["scores"][0]["roc_auc"]
    assert found["variance"]["probability"] == 0
    assert (tools[0], tools[3]) == ("the purchase model", "neither")
