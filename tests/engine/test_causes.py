import numpy as np
import pytest

from engine.causes import median_factor, refusal

EDGES = (1e-45, 10.0, 20.0, 40.0)
USERS = np.array([60, 10, 10, 10, 10, 5])


@pytest.mark.parametrize(
    ("values", "factor"),
    [
        ([0] * 60 + [15] * 40, 15 / 15),
        ([0] * 60 + [1_500] * 40, 100),
        ([0] * 60 + [0.15] * 40, 0.01),
        ([float("nan")] * 50 + [0] * 60 + [1_500] * 40, 100),
    ],
)
def test_a_factor_is_taken_where_training_has_a_value_above_zero(values, factor):
    found = median_factor(np.array(values, np.float32), EDGES, USERS)
    assert found == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize(
    ("values", "users"),
    [
        ([float("nan")], USERS),
        ([1.0], np.array([-1, -1, -1, -1, -1, -1])),
        ([1.0], np.array([100, 1, 0, 0, 0, 0])),
        ([0.0], USERS),
    ],
)
def test_no_factor_is_told_without_values_on_both_sides(values, users):
    assert median_factor(np.array(values, np.float32), EDGES, users) is None


@pytest.mark.parametrize(
    ("rejected", "share", "refused"),
    [({}, 0.0, False), ({"a": 1}, 0.01, False), ({"a": 1, "b": 1}, 0.01, True)],
)
def test_an_input_is_refused_above_the_share_and_not_at_it(rejected, share, refused):
    asked = []
    found = refusal(
        ["a", "b"], 100, rejected, {"x|missing": 2}, share, lambda f: asked.append(f) or []
    )
    assert (found is not None, bool(asked)) == (refused, refused)


def test_the_file_with_most_wrong_rows_is_the_one_that_is_looked_into():
    found = refusal(["a", "b"], 9, {"a": 1, "b": 2}, {"x|missing": 3}, 0, lambda _: ["A cause."])
    assert "3 of 9 rows (33.3%)" in found
    assert "Probable cause in b: A cause. Nothing was published" in found


def test_an_input_without_rows_is_refused_by_name():
    assert refusal(["a.csv", "b.csv"], 0, {}, {}, 1.0, lambda _: []).startswith(
        "a.csv, b.csv: no rows"
    )
