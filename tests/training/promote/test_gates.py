import dataclasses
import itertools
import json

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import numpy_helper

import tests.fitted
import training.pipeline
from engine.bundle.manifest import Calibration
from engine.bundle.open import CONFORMANCE, CONFORMANCE_OUTPUT, SCORER, open_bundle, write_bundle
from tests.fitted import fit_small
from tests.helpers import write_table
from tests.weekly import LEAKING, TABLE, leak, users_of
from training.model.shapley.effects import model_effects
from training.promote import scores
from training.promote.drivers import driver_gates, impact_shares
from training.promote.gates import gates_report, run_gates
from training.promote.holdout import open_contest
from training.promote.promotion import RefusedError, promote
from training.promote.running import conformance_gate, parity_gate, size_gate, speed_gate
from training.promote.scores import Allowance, Comparison
from training.promote.segments import segment_gates, silhouette_gate
from training.promote.slices import slice_gate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp


@pytest.fixture(scope="module")
def champion():
    return tests.fitted.champion().bundle


@pytest.fixture(scope="module")
def good():
    return tests.fitted.challenger().bundle


def fitted(folder, users, schema=TABLE, previous=None):
    """A bundle of one test alone."""
    table = write_table(users, folder / "users.parquet")
    fit_small(table, folder / "bundle", schema, previous=previous)
    return folder / "bundle"


@pytest.fixture(scope="module")
def later(folder):
    return write_table(users_of(3, 6_000), folder("later") / "later.parquet")


@pytest.fixture(scope="module")
def contest(good, champion, later):
    return open_contest(open_bundle(good), open_bundle(champion), [str(later)])


def refusals(candidate, champion, data):
    """The gates that refuse a candidate, with their words."""
    contest = open_contest(open_bundle(candidate), open_bundle(champion), [str(data)])
    return {gate.name: gate.words for gate in run_gates(contest) if gate.refused}


def changed_fit(monkeypatch, name, change):
    """Let the fit go its own way, but for what one of its stages gives."""
    original = getattr(training.pipeline, name)
    monkeypatch.setattr(training.pipeline, name, lambda *given: change(original(*given), *given))


def test_a_good_candidate_passes_every_gate(contest):
    gates = run_gates(contest)
    assert [gate.words for gate in gates if gate.refused] == []
    report = gates_report(contest.evaluation, gates, "")
    assert (report["accepted"], report["reasons"]) == (True, [])
    assert report["data"]["snapshots"] == ["2026-01-25"]
    assert {gate["name"] for gate in report["gates"]} == {
        *("quality", "roc_auc", "log_loss", "calibration_error", "f1", "slices", "silhouette"),
        *("segment_agreement", "segment_ids", "drivers", "leakage"),
        *("parity", "conformance", "speed", "size", "rows_left_out", "gain"),
    }


def test_a_bundle_is_as_good_as_itself(champion, later):
    same = open_bundle(champion)
    contest = open_contest(same, same, [str(later)])
    gates = run_gates(contest)
    assert [gate.words for gate in gates if gate.refused] == []
    assert not any(", clearly worse;" in gate.words for gate in gates)


def test_a_useless_candidate_is_refused(folder, champion, later):
    # Its own users buy by another rule, so that its own test users speak for it.
    number = pl.int_range(pl.len())
    other = (pl.col("age") > 45) & (number % 4 > 0) | (number % 7 == 0)
    users = users_of(1, 4_000, bought=other.cast(pl.Int8))
    found = refusals(fitted(folder("useless"), users, previous=champion), champion, later)
    assert "Unusable: do not use these scores" in found["quality"]
    assert {"roc_auc", "log_loss", "f1", "drivers"} <= found.keys()
    assert all(", clearly worse; it may be" in found[name] for name in ("roc_auc", "log_loss"))
    assert "'visits' vanishes among the drivers" in found["drivers"]


def test_a_miscalibrated_candidate_is_refused(folder, champion, later, monkeypatch):
    def steeper(classifier, pool, *_):
        platt = Calibration(2 * classifier.calibration.slope, classifier.calibration.intercept)
        width = pool.sample.features.shape[1]
        effects = model_effects(classifier.booster, platt, width)
        return dataclasses.replace(classifier, calibration=platt, effects=effects)

    changed_fit(monkeypatch, "fit_classifier", steeper)
    users = users_of(1, 4_000)
    found = refusals(fitted(folder("steep"), users, previous=champion), champion, later)
    assert "calibration error" in found["calibration_error"]
    assert "roc_auc" not in found


@pytest.mark.parametrize("known_later", [True, False])
def test_a_leaking_candidate_is_refused(leaking, champion, folder, known_later):
    paid = leak(0.025) if known_later else pl.lit(None, pl.Int8)
    data = write_table(users_of(3, 8_000, paid=paid), folder("leak") / "later.parquet")
    found = refusals(leaking, champion, data)
    assert "'paid' alone reaches a ROC-AUC of 0.9" in found["leakage"]
    assert "it may know the outcome" in found["leakage"]
    assert (
        "'paid' appears among the drivers: 0.0% of all impact in the champion" in found["drivers"]
    )
    # What knows the outcome is empty on the night when it would be needed.
    assert ("log_loss" in found) != known_later


@pytest.fixture(scope="module")
def leaking():
    return tests.fitted.leaking().bundle


def test_the_label_under_another_name_is_refused_without_measuring(folder, champion, tmp_path):
    promote(champion, tmp_path)
    copied = fitted(folder("copied"), users_of(1, 1_500, paid=leak(0)), LEAKING)
    with pytest.raises(RefusedError, match="paid is the label under another name"):
        promote(copied, tmp_path, ["no such file"])


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ((1.0, 0.5), "refused"),
        ((0.7, 0.5), "passed"),
        # Of 6,000 users: a night of 240,000 takes 40 times as long.
        ((0.07, 0.01), "passed"),
        ((0.08, 0.01), "refused"),
    ],
)
def test_a_slower_candidate_is_refused_if_the_night_would_notice(contest, seconds, verdict):
    ticks = itertools.cycle([0.0, seconds[0], 0.0, seconds[1]])
    gate = speed_gate(contest, contest.champion, lambda: next(ticks))
    assert gate.verdict == verdict
    assert f"240,000 users take {40 * seconds[0]:.2f} CPU seconds" in gate.words


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.004, 0.010, "passed"),
        (-0.004, -0.001, "passed"),
        (-0.018, 0.031, "undecided"),
        (-0.020, -0.001, "undecided"),
        (-0.020, -0.006, "refused"),
    ],
)
def test_a_figure_is_told_only_if_its_interval_is_on_one_side_of_the_bound(low, high, verdict):
    ranks = Allowance("roc_auc", "ROC-AUC", better=1, loss=0.005)
    assert Comparison(ranks, 0.8, 0.8, low, high).verdict == verdict
    losses = Allowance("log_loss", "log-loss", better=-1, loss=0.005)
    assert Comparison(losses, 0.4, 0.4, -high, -low).verdict == verdict


@pytest.mark.parametrize(
    ("log_loss", "f1", "verdicts"),
    [
        # F1 cannot be told: then the log-loss must not be worse beyond chance.
        ((-0.001, 0.003), (-0.02, 0.03), ("passed", "undecided")),
        ((0.001, 0.003), (-0.02, 0.03), ("refused", "undecided")),
        ((-0.001, 0.009), (-0.02, 0.03), ("undecided", "undecided")),
        ((0.001, 0.009), (-0.005, 0.005), ("refused", "passed")),
        # All can be told: the log-loss may be worse within its bound.
        ((0.001, 0.003), (-0.005, 0.005), ("passed", "passed")),
    ],
)
def test_the_log_loss_decides_what_other_figures_cannot_tell(
    contest, monkeypatch, log_loss, f1, verdicts
):
    ends = np.array([(0.0, 0.0), log_loss, (0.0, 0.0), f1])
    here, there = np.full(4, 0.5), np.full(4, 0.5)
    monkeypatch.setattr(scores, "paired_figures", lambda *_: (here, there, None))
    monkeypatch.setattr(scores, "basic_interval", lambda *_: (ends[:, 0], ends[:, 1]))
    gates = {gate.name: gate for gate in scores.score_gates(contest, contest.champion, "")}
    assert (gates["log_loss"].verdict, gates["f1"].verdict) == verdicts
    if verdicts == ("refused", "undecided"):
        assert gates["log_loss"].words.endswith("but not clearly while F1 cannot be told")
    report = gates_report(contest.evaluation, list(gates.values()), "")
    assert report["accepted"] == ("refused" not in verdicts)
    assert report["undecided"] == [
        name for name, gate in gates.items() if gate.verdict == "undecided"
    ]


def with_impacts(contest, column, probability):
    """A contest whose candidate has one driver only, and other scores."""
    side = contest.candidate
    impacts = np.zeros_like(side.scored.impacts)
    impacts[:, column] = 1
    predictions = dataclasses.replace(side.scored, impacts=impacts, probability=probability)
    users = dataclasses.replace(side.users, predictions=predictions)
    return dataclasses.replace(contest, candidate=dataclasses.replace(side, users=users))


def test_other_drivers_of_equally_good_scores_refuse_nobody(contest):
    champion, column = contest.champion, contest.candidate.names.index("age")
    same = with_impacts(contest, column, champion.scored.probability)
    drivers, _ = driver_gates(same, champion)
    assert (drivers.verdict, "'visits' vanishes" in drivers.words) == ("undecided", True)
    worse = with_impacts(contest, column, champion.scored.probability[::-1])
    drivers, _ = driver_gates(worse, champion)
    assert drivers.refused


def test_a_rise_of_one_feature_by_chance_refuses_nobody(contest):
    def risen(side, half_width):
        metrics = {
            **side.fitted.metrics,
            "intervals": {"roc_auc": [0.8 - half_width, 0.8 + half_width]},
        }
        found = [{"feature": "visits", "roc_auc": 0.85, "suspicious": True}]
        fit = dataclasses.replace(side.fit, leakage={**side.fit.leakage, "single_features": found})
        fitted = dataclasses.replace(side.fitted, metrics=metrics, fit=fit)
        return dataclasses.replace(side, fitted=fitted)

    before = [{"feature": "visits", "roc_auc": 0.81, "suspicious": True}]
    for half_width, verdict in ((0.05, "undecided"), (0.005, "refused")):
        candidate, champion = (risen(s, half_width) for s in (contest.candidate, contest.champion))
        champion.fit.leakage["single_features"][:] = before
        *_, leakage = driver_gates(dataclasses.replace(contest, candidate=candidate), champion)
        assert leakage.verdict == verdict


def test_a_candidate_whose_ids_mean_other_users_is_refused(folder, champion, later, monkeypatch):
    def turned_round(segmentation, *_):
        model = segmentation.model
        model.cluster_centers_ = model.cluster_centers_[::-1].copy()
        model.labels_ = model.n_clusters - 1 - model.labels_
        return segmentation

    changed_fit(monkeypatch, "fit_segments", turned_round)
    turned = fitted(folder("turned"), users_of(1, 4_000), previous=champion)
    found = refusals(turned, champion, later)
    assert found.keys() == {"segment_ids"}
    assert "segment 1, " in found["segment_ids"]


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        ({}, {"retired_segments": (2,)}, "segment 2 was retired and must not be used again"),
        ({}, {"retired_segments": (9,)}, "segment 9 is gone and not marked as retired"),
        ({"retired_segments": (9,)}, {"retired_segments": (9,)}, None),
    ],
)
def test_ids_are_never_used_again(contest, mine, theirs, words):
    candidate, champion = (
        with_manifest(side, **changes)
        for side, changes in ((contest.candidate, mine), (contest.champion, theirs))
    )
    *_, ids = segment_gates(dataclasses.replace(contest, candidate=candidate), champion)
    assert ids.refused == (words is not None)
    assert words is None or words in ids.words


def test_segments_that_no_score_names_set_no_bound(contest):
    champion = with_manifest(contest.champion, segments_verdict="chance")
    users = contest.candidate.users
    turned = dataclasses.replace(
        users.predictions, segment=np.random.default_rng(0).permutation(users.predictions.segment)
    )
    candidate = dataclasses.replace(
        contest.candidate, users=dataclasses.replace(users, predictions=turned)
    )
    changed = dataclasses.replace(
        contest,
        candidate=candidate,
        evaluation=dataclasses.replace(
            contest.evaluation, segments={**contest.evaluation.segments, "silhouette": 0.01}
        ),
    )
    for side, passed in ((champion, True), (contest.champion, False)):
        gates = [silhouette_gate(changed, side), *segment_gates(changed, side)]
        assert [gate.refused for gate in gates] == 3 * [not passed]
        named = ["the champion's scores name no segments" in gate.words for gate in gates]
        assert named == 3 * [passed]
    reused = with_manifest(champion, retired_segments=(2,))
    *_, ids = segment_gates(changed, reused)
    assert "segment 2 was retired" in ids.words


def test_segments_that_only_the_champion_names_are_refused(contest):
    candidate = with_manifest(contest.candidate, segments_verdict="chance")
    gate = silhouette_gate(dataclasses.replace(contest, candidate=candidate), contest.champion)
    assert gate.refused
    assert gate.words.startswith("the candidate's segments are no better than chance, so scores")


def with_manifest(side, **changes):
    manifest = dataclasses.replace(side.manifest, **changes)
    return dataclasses.replace(side, bundle=dataclasses.replace(side.bundle, manifest=manifest))


def test_a_slice_that_is_served_worse_is_named(contest):
    scored = contest.candidate.scored
    oslo = (contest.dataset.every_feature["city"] == "oslo").to_numpy()
    probability = np.where(oslo, np.float32(0.2), scored.probability)
    scored = dataclasses.replace(scored, probability=probability)
    users = dataclasses.replace(contest.candidate.users, predictions=scored)
    worse = dataclasses.replace(contest.candidate, users=users)
    gate = slice_gate(dataclasses.replace(contest, candidate=worse), contest.champion)
    assert gate.refused
    assert "city oslo (log-loss +" in gate.words
    assert "city rome" not in gate.words


def test_impact_shares_add_up_to_one(contest):
    shares = impact_shares(contest.candidate)
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "visits"
    appeared, _ = driver_gates(contest, contest.champion)
    assert appeared.measured == {"appeared": {}, "vanished": {}}


def test_what_the_fit_found_different_is_refused(contest):
    fit = contest.candidate.fit
    changed = dataclasses.replace(fit, parity={**fit.parity, "changed_segment": 3})
    fitted = dataclasses.replace(contest.candidate.fitted, fit=changed)
    side = dataclasses.replace(contest.candidate, fitted=fitted)
    gate = parity_gate(dataclasses.replace(contest, candidate=side))
    assert (gate.refused, gate.words) == (True, "segment: 3 users changed, allowed 0")


def test_a_scorer_that_says_something_else_than_the_engine_is_refused(contest):
    bundle = contest.candidate.bundle
    scorer = onnx.load_from_string(bundle.contents[SCORER])
    constant = next(c for c in scorer.graph.initializer if "base_value" in c.name)
    values = numpy_helper.to_array(constant) + np.float32(0.01)
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    changed = {**bundle.contents, SCORER: scorer.SerializeToString()}
    side = dataclasses.replace(
        contest.candidate, bundle=dataclasses.replace(bundle, contents=changed)
    )
    gate = conformance_gate(dataclasses.replace(contest, candidate=side))
    assert gate.refused
    assert "get other results from scorer.onnx" in gate.words


def test_a_bundle_whose_conformance_rows_do_not_come_out_is_refused(contest, tmp_path):
    bundle = contest.candidate.bundle
    document = json.loads(bundle.contents[CONFORMANCE])
    (place,) = [n for n, name in enumerate(document["outputs"]) if name == "margin"]
    document["outputs"]["margin"][0] = [0.5]
    margin = np.array(document["outputs"]["margin"], np.float32)
    tensor = numpy_helper.from_array(margin, "margin").SerializeToString()
    changed = {
        CONFORMANCE: json.dumps(document).encode(),
        CONFORMANCE_OUTPUT.format(place): tensor,
    }
    write_bundle(tmp_path / "off", bundle.manifest, {**bundle.contents, **changed})
    side = dataclasses.replace(contest.candidate, bundle=open_bundle(tmp_path / "off"))
    gate = conformance_gate(dataclasses.replace(contest, candidate=side))
    assert gate.refused
    assert "1 output of 6 not as expected" in gate.words
    assert gate.measured["changed"] == 0


def test_a_bundle_that_has_doubled_is_refused(contest, tmp_path):
    bundle = contest.candidate.bundle
    padding = {"report.html": bytes(2 * sum(map(len, contest.champion.bundle.contents.values())))}
    write_bundle(tmp_path / "large", bundle.manifest, {**bundle.contents, **padding})
    side = dataclasses.replace(contest.candidate, bundle=open_bundle(tmp_path / "large"))
    gate = size_gate(dataclasses.replace(contest, candidate=side), contest.champion)
    assert gate.refused
    assert "at most 2.0 times" in gate.words
