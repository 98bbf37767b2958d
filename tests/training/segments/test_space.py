import numpy as np
import pytest

from tests.fitting import category, number, schema_of
from training.segments.space import (
    MAX_CORRELATION,
    actionable,
    choose,
    fit_space,
    space_from_report,
    standardized,
    transforms,
)

ROWS = 2_000


def features_of(*groups):
    return schema_of(*(number(f"f{i}", group=g) for i, g in enumerate(groups))).model_features


def table(columns, seed=0):
    """Columns that share something, float32."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(ROWS, 1))
    return (common + rng.normal(size=(ROWS, columns))).astype(np.float32)


def test_coordinates_are_imputed_logged_and_standardised():
    train = table(3)
    train[:, 1] = np.exp(train[:, 1])
    train[::5, 0] = np.nan
    space = fit_space(train, features_of("", "", ""), {})
    assert space.logged.tolist() == [False, True, False]
    points = space.coordinates(train)
    assert points.dtype == np.float64
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(points.std(axis=0), 1, atol=1e-12)
    median = np.nanmedian(train[:, 0].astype(np.float64))
    assert points[0, 0] == (median - space.mean[0]) / space.scale[0]
    logs = np.log1p(train[:, 1].astype(np.float64))
    np.testing.assert_allclose(points[:, 1], (logs - logs.mean()) / logs.std())


def test_values_below_zero_stay_finite_under_the_logarithm():
    train = np.exp(table(2))
    space = fit_space(train, features_of("", ""), {})
    assert space.logged.all()
    found = space.coordinates(np.array([[-5.0, 0.0]], np.float32))
    assert np.isfinite(found).all()
    assert (found == space.coordinates(np.zeros((1, 2), np.float32))).all()


def test_four_groups_are_represented_although_one_has_most_in_common():
    rng = np.random.default_rng(1)
    loose = rng.normal(size=(ROWS, 4)).astype(np.float32)
    train = np.column_stack([table(12), loose])
    alone = fit_space(train, features_of(*"a" * 16), {})
    assert alone.columns.tolist() == [c for c in alone.columns if c < 12]
    space = fit_space(train, features_of(*"a" * 12, *"bcde"), {})
    assert len(space.columns) == 8
    assert (space.columns >= 12).sum() == 3


def test_nearly_equal_features_are_not_chosen_together():
    train = table(4)
    train = np.column_stack([train, train[:, 0] + np.float32(0.01) * train[:, 1]])
    space = fit_space(train, features_of(*"aabbb"), {})
    points = space.coordinates(train)
    off_diagonal = np.corrcoef(points, rowvar=False)[~np.eye(len(space.columns), dtype=bool)]
    assert len(space.columns) == 4
    assert np.abs(off_diagonal).max() <= MAX_CORRELATION


def test_features_that_move_together_are_chosen():
    rng = np.random.default_rng(1)
    train = np.column_stack([table(8), rng.normal(size=(ROWS, 10))]).astype(np.float32)
    assert fit_space(train, features_of(*[""] * 18), {}).columns.tolist() == list(range(8))


@pytest.mark.parametrize("filler", [0.0, np.nan])
def test_features_that_hardly_vary_are_left_out(filler):
    train = table(3)
    train[: int(ROWS * 0.97), 1] = filler
    assert fit_space(train, features_of("", "", ""), {}).columns.tolist() == [0, 2]


@pytest.mark.parametrize("value", [np.nan, 4.0])
def test_nothing_to_choose_gives_a_single_point(value):
    train = np.full((10, 2), value, np.float32)
    assert (fit_space(train, features_of("", ""), {}).coordinates(train) == np.zeros((10, 1))).all()


def test_unordered_categories_stand_in_only_where_there_are_too_few():
    train = np.column_stack([table(8), np.arange(ROWS) % 3]).astype(np.float32)
    names = [number(f"n{i}") for i in range(8)]
    plain = category("c", values=["x", "y", "z"])
    values = {"c": ("x", "y", "z")}
    assert 8 not in fit_space(train, schema_of(*names, plain).model_features, values).columns
    few = train[:, [0, 8]]
    space = fit_space(few, schema_of(names[0], plain).model_features, values)
    assert space.columns.tolist() == [0, 1]


def codes_of(texts, values):
    return np.array([values.index(t) if t else np.nan for t in texts], np.float32)


@pytest.mark.parametrize("frequent", ["x", "z"])
def test_the_order_of_the_codes_does_not_move_a_user(frequent):
    drawn = np.random.default_rng(2).choice(["x", "y", "z", ""], ROWS, p=[0.25, 0.2, 0.22, 0.33])
    drawn[drawn == "x"] = frequent
    features = schema_of(number("n"), category("c")).model_features
    spaces, points = [], []
    for values in (("x", "y", "z"), ("z", "x", "y")):
        train = np.column_stack([table(1), codes_of(drawn, values)])
        spaces.append(fit_space(train, features, {"c": values}))
        points.append(spaces[-1].coordinates(train))
        assert values[int(spaces[-1].equals[1])] == frequent
        report = {
            "features": ["n", "c"],
            "transforms": transforms(spaces[-1]),
            **{key: getattr(spaces[-1], key).tolist() for key in ("imputation", "mean", "scale")},
        }
        again = space_from_report(report, ["n", "c"]).coordinates(train)
        assert (again == points[-1]).all()
    assert (points[0] == points[1]).all()
    assert len(np.unique(points[0][:, 1])) == 2


def test_of_equally_frequent_values_the_first_by_name_is_in_question():
    features = schema_of(number("n"), category("c")).model_features
    for values in (("x", "y"), ("y", "x")):
        train = np.column_stack([table(1), np.arange(ROWS) % 2])
        space = fit_space(train, features, {"c": values})
        assert values[int(space.equals[1])] == "x"
        kept = fit_space(train, features, {"c": values}, {"n": False, "c": "y"})
        assert values[int(kept.equals[1])] == "y"


def test_a_category_without_values_is_left_out():
    train = np.column_stack([table(1), np.full(ROWS, np.nan)])
    features = schema_of(number("n"), category("c")).model_features
    assert fit_space(train, features, {"c": ()}).columns.tolist() == [0]


def test_choice_ends_where_no_candidate_fits():
    same = np.array([[1.0, 0.95], [0.95, 1.0]])
    assert len(choose(same, ["a", "b"], wanted=2)) == 1


def test_a_report_gives_the_space_back():
    report = {
        "features": ["f2", "f0"],
        "transforms": ["log1p", "none"],
        "imputation": [1.0, 2.0],
        "mean": [0.5, 0.25],
        "scale": [2.0, 4.0],
    }
    space = space_from_report(report, ["f0", "f1", "f2"])
    found = space.coordinates(np.array([[np.nan, 9, 3]], np.float32))
    assert found.tolist() == [[(np.log1p(3.0) - 0.5) / 2, (2 - 0.25) / 4]]


def test_features_with_words_come_first():
    train = table(8)
    words = {"high": "much", "low": "little"}
    names = [number(f"f{i}", **(words if i in (1, 4) else {})) for i in range(8)]
    features = schema_of(*names).model_features
    assert actionable(features) == [1, 4]
    noisy = train.copy()
    noisy[:, [1, 4]] = np.random.default_rng(3).normal(size=(ROWS, 2))
    chosen = fit_space(
        np.column_stack([noisy, table(8, 1)]),
        schema_of(*names, *(number(f"g{i}") for i in range(8))).model_features,
        {},
    ).columns
    assert {1, 4} <= set(chosen.tolist())
    assert len(chosen) == 8


def test_without_words_all_numbers_and_ordered_categories_can_be_acted_on():
    tier = category("tier", ordered=True, values=["a", "b"], high="gold members")
    assert actionable(schema_of(number("a"), category("c"), number("b")).model_features) == [0, 2]
    assert actionable(schema_of(number("a"), tier).model_features) == [1]
    assert actionable(schema_of(category("c", high="c lovers")).model_features) == []


def test_features_of_a_space_before_are_kept():
    rng = np.random.default_rng(1)
    train = np.column_stack([table(8), rng.normal(size=(ROWS, 10))]).astype(np.float32)
    features = features_of(*[""] * 18)
    kept = {f"f{i}": i == 3 for i in (2, 3, 9, 10)}
    space = fit_space(train, features, {}, kept)
    assert space.columns.tolist() == [2, 3, 9, 10]


def test_a_lost_feature_of_a_space_before_is_made_up_for():
    train = table(6)
    train[:, 2] = 1.0
    kept = {"f2": False, "f4": False, "gone": True, "f5": False}
    space = fit_space(train, features_of(*[""] * 6), {}, kept)
    assert {4, 5} <= set(space.columns.tolist())
    assert len(space.columns) == 5
    assert 2 not in space.columns
    anew = fit_space(train, features_of(*[""] * 6), {}, {"gone": True}).columns
    assert anew.tolist() == fit_space(train, features_of(*[""] * 6), {}).columns.tolist()


@pytest.mark.parametrize("logged", [True, False])
def test_whether_a_logarithm_is_taken_is_kept(logged):
    train = np.exp(table(2))
    space = fit_space(train, features_of("", ""), {}, {"f0": logged, "f1": True})
    assert space.logged.tolist() == [logged, True]
    below = train - np.float32(1)
    assert not fit_space(below, features_of("", ""), {}, {"f0": True, "f1": True}).logged.any()


def test_standardised_columns_have_the_scale_of_the_train_part():
    train = np.exp(table(3))
    train[:, 1] = 7.0
    train[::9, 0] = np.nan
    found = standardized(train, train, [0, 1, 2], logs=False)
    assert found.shape == (ROWS, 2)
    np.testing.assert_allclose(found.std(axis=0), 1)
    np.testing.assert_allclose(
        found[:, 1], (train[:, 2] - train[:, 2].mean()) / train[:, 2].std(), rtol=1e-4, atol=1e-5
    )
    assert np.abs(standardized(train, train, [0], logs=True)).max() < np.abs(found[:, 0]).max()
    assert standardized(train, train[:5], [1], logs=True).shape == (5, 0)
