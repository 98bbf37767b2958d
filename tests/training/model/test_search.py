import json

import numpy as np
import pytest

import training.model.shapley.effects
from engine.errors import SelfCheckError, UsageError
from tests.fitting import halved, trees
from training.effort import Effort, effort_of
from training.model.candidates import DESIGN, search_space, strongest_sets
from training.model.choice import Standing, cheapest, choose_trees, fits_for
from training.model.classifier import sigmoid
from training.model.search import Trial, search
from training.model.shapley.leaves import read_leaves
from training.model.trees import Sample, Settings, TrainConfig, Trainer
from training.model.validation import fold_losses

NAMES = ("a", "b", "c", "d")


def sample(rows, seed, margin, width=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    return Sample(x, (rng.random(rows) < sigmoid(margin(x))).astype(np.int8))


def together(x):
    return 2 * np.sign(x[:, 0] * x[:, 2]) + x[:, 1]


def four_together(x):
    return 4 * np.sign(x[:, 0] * x[:, 1]) * np.all(x[:, 2:] > 0, axis=1) + 0.7 * x[:, 0]


def apart(x):
    return x[:, 0] - x[:, 1]


def chosen(margin, rows=3_000, width=4, trials=6, seed=1):
    pool = halved(sample(rows, 0, margin, width))
    choice = choose_trees(pool, NAMES[:width], seed, Effort(trials))
    return choice.booster, choice.report


@pytest.fixture(scope="module")
def joint():
    """The choice where two features work together."""
    return chosen(together)


def row(report, name):
    return next(trial for trial in report["trials"] if trial["name"] == name)


def test_features_that_work_together_are_found(joint):
    booster, report = joint
    assert strongest_sets([booster])[2][0] == (0, 2)
    assert report["chosen"] != "stumps"


def test_features_that_work_apart_need_no_pairs():
    booster, report = chosen(apart)
    assert report["chosen"] == "stumps"
    assert max(len(leaves.features) for leaves in read_leaves(booster)) == 1


@pytest.mark.parametrize("sets", [((0, 2), (1, 3)), ((0, 1, 3), (1, 2, 3))])
def test_a_path_combines_features_of_one_set_however_deep_the_trees(sets):
    pool = halved(sample(2_000, 0, together))
    for settings in DESIGN:
        trainer = Trainer(pool.sample, NAMES, seed=1)
        booster = trainer.train(TrainConfig(settings, sets, 20))
        paths = {leaves.features for leaves in read_leaves(booster)}
        assert all(any(set(path) <= set(features) for features in sets) for path in paths)


def test_three_features_that_work_together_are_found():
    pool = halved(sample(6_000, 0, lambda x: 3 * np.sign(x[:, 0] * x[:, 2] + 0.5 * x[:, 3])))
    found = search(pool, NAMES, 1, Effort(1))
    assert found.strongest[3][0] == (0, 2, 3)


def test_the_loss_without_limits_is_measured_in_the_same_folds(joint):
    _, report = joint
    standard, best = report["unrestricted"], row(report, report["chosen"])
    assert standard["log_loss"] == pytest.approx(
        best["log_loss"] + standard["difference"], abs=2e-6
    )
    assert abs(standard["difference"]) < 10 * standard["standard_error"]
    assert chosen(together, trials=1)[1]["unrestricted"] is None


def test_what_more_than_three_features_do_together_costs_worth():
    report = chosen(four_together, rows=4_000, trials=4)[1]
    assert report["unrestricted"]["difference"] < -3 * report["unrestricted"]["standard_error"] < 0


def test_a_search_can_be_watched():
    seen = []
    watch = lambda number, best: seen.append((number, best))  # noqa: E731
    search(halved(sample(500, 0, apart)), NAMES, 1, Effort(4), watch)
    # Two run at a time after the first.
    assert [number for number, _ in seen] == [1, 2, 4]
    losses = [best for _, best in seen]
    assert losses[0] is None
    assert 0 < losses[2] <= losses[1] < 0.7


def test_the_table_of_trials_is_kept(joint):
    _, report = joint
    table = report["trials"]
    assert [trial["number"] for trial in table] == list(range(1, len(table) + 1))
    assert min(trial["difference"] for trial in table if trial["folds"] == 2) == 0
    assert [trial["name"] for trial in table if trial["chosen"]] == [report["chosen"]]
    stumps = row(report, "stumps")
    assert stumps["difference"] > stumps["standard_error"] > 0
    assert stumps["cost"] < row(report, "depth 3")["cost"]
    json.dumps(report, allow_nan=False)


def test_the_gain_of_depth_is_measured(joint):
    gain = joint[1]["depth_gain"]
    assert gain["log_loss"] == pytest.approx(
        row(joint[1], "stumps")["log_loss"] - row(joint[1], gain["deeper"])["log_loss"], abs=2e-6
    )
    assert gain["log_loss"] > 10 * gain["log_loss_standard_error"] > 0
    assert gain["roc_auc"] > 10 * gain["roc_auc_standard_error"] > 0
    assert chosen(together, trials=1)[1]["depth_gain"] is None


@pytest.mark.parametrize("width", [1, 2])
def test_one_and_two_features(width):
    booster, report = chosen(lambda x: 2 * x[:, 0], rows=500, width=width)
    assert booster.num_trees() == report["refit"]["trees"]
    assert len(report["trials"]) == 6


def test_the_same_seed_gives_the_same_trees(joint):
    booster, report = chosen(together)
    assert booster.model_to_string() == joint[0].model_to_string()
    assert report == joint[1]


def test_minutes_only_decide_how_many_trials_start():
    ticks = iter(range(0, 600, 20))
    pool = halved(sample(600, 0, together))
    timed = search(pool, NAMES, 1, Effort(100, minutes=1.0), clock=lambda: next(ticks)).trials
    counted = search(pool, NAMES, 1, Effort(5)).trials
    assert [t.settings for t in timed] == [t.settings for t in counted]
    assert [trees_of(t) for t in timed] == [trees_of(t) for t in counted]


def trees_of(trial):
    return trial.booster.model_to_string()


def test_the_recipe_grows_the_same_trees_again():
    pool = halved(sample(1_000, 0, together))
    choice = choose_trees(pool, NAMES, 1, Effort(2))
    again = Trainer(pool.sample, NAMES, 1).train(choice.config)
    assert again.model_to_string() == choice.booster.model_to_string()


def test_one_trial_runs_however_short_the_time():
    pool = halved(sample(300, 0, together))
    assert len(choose_trees(pool, NAMES, 1, effort_of(None, 0.0)).report["trials"]) == 1


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((None, None), Effort(12, 2.0, kmeans_starts=20, refits=8)),
        ((5, None), Effort(5)),
        ((None, 9.0), Effort(1_000, 9.0)),
        ((5, 9), Effort(5, 9)),
    ],
)
def test_what_is_asked_for_takes_the_place_of_both_defaults(asked, given):
    assert effort_of(*asked) == given


def test_draws_depend_on_seed_and_number():
    def first(seed, count):
        return [settings for settings, _ in zip(search_space(seed), range(count), strict=False)]

    assert first(1, 12)[:9] == first(1, 9)
    assert first(1, 9)[-1] != first(2, 9)[-1]
    assert first(1, 7) == first(2, 7) == list(DESIGN)


def test_a_draw_that_is_clearly_worse_goes_no_further():
    pool = halved(sample(3_000, 0, together))
    trials = search(pool, NAMES, 1, Effort(12)).trials
    first, lost = pool.validation[:1], [trial for trial in trials if len(trial.scores) == 1]
    best = min(fold_losses(t.scores, first).mean() for t in trials if len(t.scores) == 2)
    assert lost
    assert all(fold_losses(trial.scores, first).mean() > best + 0.005 for trial in lost)


def test_a_draw_that_lost_has_no_figures_to_compare():
    _, report = chosen(together, trials=12)
    lost = [trial for trial in report["trials"] if trial["folds"] == 1]
    assert lost
    for trial in lost:
        assert trial["log_loss"] is trial["difference"] is trial["roc_auc"] is None
        assert not trial["chosen"]


def standing(name, difference, error, cost, booster=None):
    trial = Trial(1, Settings(name), 1, (), booster, cost)
    return Standing(trial, 0.3 + difference, difference, error, None)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([standing("near", 0.01, 0.02, 50)], "near"),
        ([standing("far", 0.03, 0.02, 50)], "best"),
        ([standing("no cheaper", 0.01, 0.02, 200)], "best"),
        ([standing("too large", 0.0, 0.0, None)], "best"),
        ([standing("near", 0.01, 0.02, 50), standing("nearest", 0.005, 0.02, 50)], "nearest"),
    ],
)
def test_the_cheapest_as_good_as_the_best_is_chosen(others, expected):
    table = [standing("best", 0.0, 0.0, 100), *others]
    assert cheapest(table, 4).trial.settings.name == expected


def test_what_cannot_be_exported_is_not_chosen():
    users = sample(2_000, 0, together)
    many = trees(users.features, users.label, num_leaves=31, rounds=20)
    with pytest.raises(SelfCheckError, match="a path of its trees has 4 features"):
        cheapest([standing("many", 0.0, 0.0, None, many)], 4)


def test_the_cheapest_is_named_where_none_is_cheap_enough():
    table = [standing("dear", 0.0, 0.0, 400), standing("less", 0.0, 0.0, 300.4)]
    with pytest.raises(
        UsageError, match="--max-cost 250: the cheapest of 2 models tried takes 300 ns"
    ):
        cheapest(table, 4, 250)


def test_a_limit_of_the_cost_holds():
    pool = halved(sample(2_000, 0, together))
    free = choose_trees(pool, NAMES, 1, Effort(4)).report
    limit = row(free, free["chosen"])["cost"] - 1
    limited = choose_trees(pool, NAMES, 1, Effort(4), max_cost=limit).report
    assert row(limited, limited["chosen"])["cost"] <= limit
    assert min(t["difference"] for t in limited["trials"] if t["folds"] == 2) < 0


@pytest.mark.parametrize(
    ("rows", "rounds", "fits"),
    [(9_999, 100, 5), (10_000, 100, 1), (500, 1_000, 2), (500, 5_000, 1), (20, 1, 5)],
)
def test_few_users_get_the_mean_of_several_fits_of_few_trees(rows, rounds, fits):
    assert fits_for(rows, rounds, 5) == fits


def test_trees_too_large_on_all_users_make_way_for_the_next(monkeypatch):
    pool = halved(sample(2_000, 0, together))
    first = choose_trees(pool, NAMES, 1, Effort(4))
    size = 4 * sum(table.values.size for table in first.effects.tables)
    monkeypatch.setattr(training.model.shapley.effects, "MAX_GRAPH_BYTES", size - 1)
    second = choose_trees(pool, NAMES, 1, Effort(4))
    assert 4 * sum(table.values.size for table in second.effects.tables) < size
    assert second.report["chosen"] != first.report["chosen"]
