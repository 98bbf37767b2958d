import pytest

from engine.explain.diagnose import refusal


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
