import polars as pl
import pytest

from engine.outputs.writer import without_formulas

HARMLESS = ["anna", "", None, "-1", "+4.5e-3", "-.5", "'=1", " =1", "a=1", "１"]
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "-inf"]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_formulas_get_an_apostrophe_and_nothing_else_does(dtype):
    frame = pl.LazyFrame({"id": pl.Series(HARMLESS + FORMULAS, dtype=dtype)})
    expected = HARMLESS + [f"'{text}" for text in FORMULAS]
    assert without_formulas(frame).collect()["id"].to_list() == expected


def test_numbers_and_their_columns_stay():
    frame = pl.LazyFrame({"x": [-1, 2], "y": [-0.5, None]})
    assert without_formulas(frame).collect().equals(frame.collect())


def test_column_names_are_texts_too():
    frame = pl.LazyFrame({"=x": [1], "*": ["@"], "^a$": ["b"]})
    assert without_formulas(frame).collect().to_dict(as_series=False) == {
        "'=x": [1],
        "*": ["'@"],
        "^a$": ["b"],
    }
