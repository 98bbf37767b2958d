import numpy as np
import pytest
from sklearn import metrics as reference

from training.evaluate.quality import quality_band
from training.metrics.audiences import deciles, gains, operating_points, reliability
from training.metrics.classification import classification_metrics
from training.metrics.disclosure import MIN_USERS
from training.metrics.intervals import INTERVALS, bootstrap, intervals, wilson
from training.metrics.metrics import (
    Outcomes,
    best_f1,
    bin_starts,
    buyers_in_top,
    entropy,
    headline,
    rank,
    roc_auc,
    rounded,
)

CUTS = [n / 10 for n in range(1, 10)]
LABEL = np.array([0, 0, 1, 1], np.int8)


def drawn(rows, seed=0, decimals=None):
    """Users whose labels are drawn from their probabilities; few decimals make ties."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1, 1.5, rows)))
    p = p if decimals is None else p.round(decimals)
    label = (rng.random(rows) < p).astype(np.int8)
    return Outcomes(p.astype(np.float32), label, np.arange(rows), p)


def figures_of(outcomes, weight=None, threshold=0.5):
    ranked = rank(outcomes.probability, outcomes.label)
    weight = np.ones(len(outcomes.label)) if weight is None else weight[ranked.order]
    return headline(ranked, weight, threshold)


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "many ties"])
@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
def test_every_figure_is_that_of_scikit_learn(decimals, weighted):
    outcomes = drawn(3_000, decimals=decimals)
    p, label = outcomes.probability.astype(np.float64).clip(1e-6, 1 - 1e-6), outcomes.label
    outcomes = Outcomes(p, label, outcomes.users)
    weight = np.random.default_rng(1).integers(0, 4, 3_000).astype(float) if weighted else None
    found = figures_of(outcomes, weight)
    predicted = p >= 0.5
    for name, expected in {
        "roc_auc": reference.roc_auc_score(label, p, sample_weight=weight),
        "pr_auc": reference.average_precision_score(label, p, sample_weight=weight),
        "log_loss": reference.log_loss(label, p, sample_weight=weight),
        "brier": reference.brier_score_loss(label, p, sample_weight=weight),
        "f1": reference.f1_score(label, predicted, sample_weight=weight),
        "precision": reference.precision_score(label, predicted, sample_weight=weight),
        "recall": reference.recall_score(label, predicted, sample_weight=weight),
    }.items():
        assert found[name] == pytest.approx(expected, abs=1e-6), name


def test_metrics_of_a_known_case():
    found = figures_of(Outcomes(np.array([0.1, 0.6, 0.4, 0.9]), LABEL, np.arange(4)))
    assert found["roc_auc"] == 0.75
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)


def test_nobody_above_the_threshold_gives_zeros():
    found = figures_of(Outcomes(np.zeros(4), LABEL, np.arange(4)))
    assert (found["f1"], found["precision"], found["recall"]) == (0, 0, 0)


def test_a_probability_at_the_threshold_counts_as_above():
    assert figures_of(Outcomes(np.full(4, 0.5), LABEL, np.arange(4)))["recall"] == 1


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 0.0), (0.1, 0.1)])
def test_calibration_error_is_the_mean_gap(shift, expected):
    p = np.repeat([0.25, 0.75], 400)
    label = (np.arange(800) % 4 < np.repeat([1, 3], 400)).astype(np.int8)
    found = figures_of(Outcomes(p + shift, label, np.arange(800)))
    assert found["calibration_error"] == pytest.approx(expected)


def test_bins_are_equal_and_never_hold_too_few():
    assert np.diff([*bin_starts(1_000), 1_000]).tolist() == [50] * 20
    assert np.diff([*bin_starts(90), 90]).min() >= MIN_USERS
    assert bin_starts(5).tolist() == [0]


def test_the_truth_sets_the_bar():
    outcomes = drawn(4_000)
    noisy = outcomes.probability * np.random.default_rng(1).uniform(0.3, 1, 4_000)
    found = classification_metrics(
        Outcomes(noisy, outcomes.label, outcomes.users, outcomes.truth), 0.3, CUTS
    )
    truth, label = outcomes.truth, outcomes.label
    best = reference.log_loss(label, truth)
    precision, recall, _ = reference.precision_recall_curve(label, truth)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    assert found["best_possible_auc"] == pytest.approx(
        reference.roc_auc_score(label, truth), abs=1e-6
    )
    assert found["best_possible_log_loss"] == pytest.approx(best, abs=1e-6)
    assert found["best_possible_f1"] == pytest.approx(f1.max(), abs=1e-6)
    base = entropy(label.mean())
    assert found["share_of_best_log_loss"] == pytest.approx(
        (base - found["log_loss"]) / (base - best), abs=1e-4
    )
    assert 0 < found["share_of_best_log_loss"] < 1


def test_without_the_truth_nothing_is_said_of_it():
    outcomes = drawn(500)
    found = classification_metrics(
        Outcomes(outcomes.probability, outcomes.label, outcomes.users), 0.3, CUTS
    )
    assert not [name for name in found if "best" in name]


def test_a_truth_that_tells_nobody_apart_leaves_no_share():
    outcomes = drawn(500)
    flat = Outcomes(
        outcomes.probability, outcomes.label, outcomes.users, np.full(500, outcomes.label.mean())
    )
    assert classification_metrics(flat, 0.3, CUTS)["share_of_best_log_loss"] is None


def test_the_best_f1_needs_no_tie_to_be_cut():
    ranked = rank(np.array([0.2, 0.2, 0.2, 0.9]), np.array([0, 0, 1, 1], np.int8))
    assert best_f1(ranked) == pytest.approx(2 / 3)


def test_resamples_draw_users_with_replacement():
    label = np.arange(100) % 2
    draws = bootstrap(lambda weight: weight, label, np.arange(100) // 2 + 7, resamples=3)
    assert draws.sum(axis=1).tolist() == [100] * 3
    # Both rows of a user are drawn together.
    assert (draws[:, ::2] == draws[:, 1::2]).all()
    assert (draws > 1).any()


def test_a_resample_with_one_label_is_skipped():
    draws = bootstrap(lambda weight: weight, np.array([0, 1]), np.array([3, 8]), resamples=50)
    assert 0 < len(draws) < 50
    assert (draws == 1).all()


def test_intervals_have_the_width_that_theory_gives():
    outcomes = drawn(5_000)
    found = classification_metrics(outcomes, 0.3, CUTS)
    for name in ("log_loss", "brier"):
        p, label = outcomes.probability.astype(float), outcomes.label
        each = (p - label) ** 2 if name == "brier" else -np.log(np.where(label, p, 1 - p))
        low, high = found["intervals"][name]
        assert high - low == pytest.approx(2 * 1.96 * each.std() / np.sqrt(5_000), rel=0.15)
    for name in INTERVALS:
        low, high = found["intervals"][name]
        assert low <= found[name] <= high


def test_an_interval_counts_users_not_rows():
    one = drawn(800)
    repeated = Outcomes(np.tile(one.probability, 4), np.tile(one.label, 4), np.tile(one.users, 4))
    alone, together, wrong = (
        classification_metrics(o, 0.3, CUTS)["intervals"]["roc_auc"]
        for o in (
            Outcomes(one.probability, one.label, one.users),
            repeated,
            Outcomes(repeated.probability, repeated.label, np.arange(3_200)),
        )
    )
    width = alone[1] - alone[0]
    assert together[1] - together[0] == pytest.approx(width, rel=0.05)
    assert wrong[1] - wrong[0] == pytest.approx(width / 2, rel=0.2)


def test_the_interval_of_the_auc_covers_the_true_one_about_as_often_as_it_says():
    everyone = drawn(200_000, seed=99)
    true = reference.roc_auc_score(everyone.label, everyone.probability)
    covered = 0
    for seed in range(100):
        outcomes = drawn(400, seed)
        ranked = rank(outcomes.probability, outcomes.label)
        figures = headline(ranked, np.ones(400), 0.5)
        low, high = intervals(ranked, outcomes.users, 0.5, figures, resamples=100)["roc_auc"]
        covered += low <= true <= high
    assert covered >= 88


def test_the_same_outcomes_give_the_same_figures():
    assert classification_metrics(drawn(600), 0.3, CUTS) == classification_metrics(
        drawn(600), 0.3, CUTS
    )


def test_a_single_user_has_no_interval():
    outcomes = Outcomes(np.array([0.4, 0.6]), np.array([0, 1], np.int8), np.array([7, 7]))
    found = classification_metrics(outcomes, 0.5, CUTS)["intervals"]
    assert found["roc_auc"] == [1.0, 1.0]
    apart = Outcomes(np.array([0.4]), np.array([1], np.int8), np.array([7]))
    ranked = rank(apart.probability, apart.label)
    assert intervals(ranked, apart.users, 0.5, {}) == dict.fromkeys(INTERVALS)


def test_wilson_is_the_published_interval():
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81 of 263.
    low, high = wilson(np.array([81 / 263]), np.array([263]))
    assert (low[0], high[0]) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_reliability_bins_hold_all_rows_and_their_rates():
    outcomes = drawn(2_000)
    found = classification_metrics(outcomes, 0.3, CUTS)
    bins = found["reliability"]
    assert [b["rows"] for b in bins] == [100] * 20
    first = np.argsort(outcomes.probability, kind="stable")[:100]
    assert bins[0]["purchase_rate"] == pytest.approx(outcomes.label[first].mean())
    assert all(b["low"] <= b["purchase_rate"] <= b["high"] for b in bins)
    gaps = [abs(b["purchase_rate"] - b["mean_probability"]) for b in bins]
    assert np.mean(gaps) == pytest.approx(found["calibration_error"], abs=1e-5)


def test_deciles_are_those_of_the_score_file():
    outcomes = drawn(3_000)
    found = classification_metrics(outcomes, 0.3, CUTS)["deciles"]
    assert [d["deciles"] for d in found] == [[n] for n in range(10, 0, -1)]
    top = outcomes.probability >= np.float32(0.9)
    assert found[0]["rows"] == top.sum()
    assert found[0]["purchase_rate"] == pytest.approx(outcomes.label[top].mean(), abs=1e-6)
    assert found[0]["lift"] == pytest.approx(
        outcomes.label[top].mean() / outcomes.label.mean(), abs=1e-5
    )
    assert found[-1]["cumulative_share_of_buyers"] == 1
    assert found[-1]["cumulative_lift"] == 1


def test_deciles_of_few_users_are_merged():
    label = np.array([0, 1] * 40, np.int8)
    p = np.repeat([0.05, 0.45, 0.95], [30, 40, 10])
    found = deciles(Outcomes(p, label, np.arange(80)), CUTS)
    filled = [d for d in found if d["rows"]]
    assert [(d["deciles"], d["rows"]) for d in filled] == [([5, 6, 7, 8, 9, 10], 50), ([1], 30)]
    assert filled[0]["purchase_rate"] == 0.5
    assert filled[0]["probability_from"] == 0.4
    assert found[-1]["cumulative_share_of_buyers"] == 1


def test_an_empty_decile_has_no_rate():
    p = np.repeat([0.05, 0.95], [30, 30])
    found = deciles(Outcomes(p, np.array([0, 1] * 30, np.int8), np.arange(60)), CUTS)
    assert [(d["rows"], d["purchase_rate"]) for d in found[:2]] == [(30, 0.5), (0, None)]


@pytest.mark.parametrize(("admitted", "known"), [(0, True), (19, False), (20, True), (981, True)])
def test_figures_at_a_threshold_need_20_users_above_it(admitted, known):
    label = (np.arange(1_000) % 3 == 0).astype(np.int8)
    outcomes = Outcomes(np.arange(1_000) / 1_000, label, np.arange(1_000))
    found = classification_metrics(outcomes, 1 - (admitted + 0.5) / 1_000, CUTS)
    for name in ("f1", "precision", "recall"):
        assert (found[name] is not None) == (found["intervals"][name] is not None) == known
    assert bool(found["suppressed"]) != known
    points = [p["users"] for p in found["operating_points"] if p.get("name") == "threshold"]
    assert points == ([admitted] if known and admitted else [])
    quality_band(found, {"broken": [], "reasons": []}, (), ())


def test_many_rows_of_few_users_have_no_figures():
    label = np.array([0, 1] * 200, np.int8)
    p = np.tile(np.linspace(0.1, 0.9, 200), 2)
    found = classification_metrics(Outcomes(p, label, np.arange(400) % 10), 0.5, CUTS)
    for name in ("reliability", "deciles", "operating_points", "gains"):
        assert found[name] == []


def test_operating_points_add_up():
    outcomes = drawn(4_000)
    found = classification_metrics(outcomes, 0.3, CUTS)
    points = found["operating_points"]
    assert [p["audience_share"] for p in points] == sorted(p["audience_share"] for p in points)
    assert all(p["buyers_reached"] + p["contacts_wasted"] == p["users"] for p in points)
    own = next(p for p in points if p.get("name") == "threshold")
    assert own["users"] == (outcomes.probability >= 0.3).sum()
    assert (own["precision"], own["share_of_buyers"]) == (found["precision"], found["recall"])
    tenth = next(p for p in points if p["audience_share"] == 0.1)
    top = np.argsort(-outcomes.probability, kind="stable")[:400]
    assert tenth["buyers_reached"] == outcomes.label[top].sum()
    gain = next(g for g in found["gains"] if g["share"] == 0.1)
    assert gain["share_of_buyers"] == tenth["share_of_buyers"]
    assert gain["lift"] == pytest.approx(tenth["precision"] / outcomes.label.mean(), abs=1e-5)


def test_an_audience_among_equals_reaches_the_average():
    ranked = rank(np.full(100, 0.2), (np.arange(100) < 30).astype(np.int8))
    assert [buyers_in_top(ranked, n) for n in (0, 10, 100)] == [0, pytest.approx(3), 30]


def test_constant_scores_have_no_merit():
    found = classification_metrics(
        Outcomes(
            np.full(1_000, 0.3), (np.arange(1_000) % 4 == 0).astype(np.int8), np.arange(1_000)
        ),
        0.3,
        CUTS,
    )
    assert found["roc_auc"] == 0.5
    assert {g["lift"] for g in found["gains"]} == {1.0}


def test_the_auc_of_some_rows():
    outcomes = drawn(100)
    some = outcomes[outcomes.probability > 0.2]
    expected = reference.roc_auc_score(some.label, some.probability)
    ranked = rank(some.probability, some.label)
    assert roc_auc(ranked, np.ones(len(some.label))) == pytest.approx(expected)
    assert len(some.truth) == len(some.users)


def test_floats_are_rounded_at_any_depth():
    assert rounded({"a": [{"b": 1 / 3}], "c": 2, "d": None}) == {
        "a": [{"b": 0.333333}],
        "c": 2,
        "d": None,
    }


def test_audiences_of_few_users_are_left_out():
    rows, rng = 300, np.random.default_rng(1)
    p = np.sort(rng.random(rows)).astype(np.float32)
    ranked = rank(p, (rng.random(rows) < p).astype(np.int8))
    points = operating_points(ranked, float(p[-19]), np.arange(rows))
    assert [point["users"] for point in points] == [30, 45, 60, 90, 120, 150]
    assert [gain["share"] for gain in gains(ranked, np.arange(rows))] == [0.1, 0.2, 0.3]


def test_calibration_does_not_depend_on_the_order_of_equal_probabilities():
    label = np.repeat([0, 1], [750, 250]).astype(np.int8)
    p = np.full(1_000, 0.25, np.float32)
    found = []
    for order in (np.arange(1_000), np.random.default_rng(1).permutation(1_000)):
        ranked = rank(p[order], label[order])
        found.append(headline(ranked, np.ones(1_000), 0.5)["calibration_error"])
        rates = [point["purchase_rate"] for point in reliability(ranked, np.arange(1_000))]
        assert rates == pytest.approx([0.25] * len(rates))
    assert found == pytest.approx([0.0, 0.0])
