import pytest

from engine.bundle.score_file import ScoreKeys, score_keys
from engine.errors import InputError


@pytest.mark.parametrize(
    ("keys", "found", "id_column"),
    [
        (["customer"], ScoreKeys("customer", None), "customer"),
        (["customer", "day"], ScoreKeys("customer", "day"), "customer"),
        (["row"], ScoreKeys("row", None), None),
        (["row", "day"], ScoreKeys("row", "day"), None),
    ],
)
def test_the_columns_before_the_probability_say_whose_a_row_is(keys, found, id_column):
    assert score_keys([*keys, "purchase_probability", "customer_2"], "s.csv") == found
    assert (found.id, list(found.names)) == (id_column, keys)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            ["customer", "score"],
            "s.csv: not a score file: 1 missing column: 'purchase_probability'",
        ),
        (["purchase_probability", "customer"], "s.csv: 0 columns before 'purchase_probability'"),
        (["a", "b", "c", "purchase_probability"], "s.csv: 3 columns before"),
    ],
)
def test_other_files_are_no_score_files(columns, words):
    with pytest.raises(InputError, match=words):
        score_keys(columns, "s.csv")
