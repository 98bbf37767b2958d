"""`preprocess.onnx` against the engine's own tensors, bit for bit."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rows.typed import named_inputs, to_features, to_typed
from tests.fitting import SHOP, category, number, schema_of, session
from training.export.preprocess import preprocess_graph

CATEGORIES = {"city": ("oslo", "rome", "bern"), "tier": ("low", "mid", "high"), "shop": ()}
ODD_TEXTS = ["", "rome", "Rome", "rome ", "zürich", "oslo\0", "東京", "nan", "None", "0"]


def assert_same_bits(schema, categories, frame):
    typed = to_typed(frame, schema).frame
    expected = to_features(typed, schema.model_features, categories)
    graph = session(preprocess_graph(schema.model_features, categories))
    found = graph.run(None, named_inputs(typed, schema.model_features))[0]
    assert found.dtype == np.float32
    assert (found.view(np.uint32) == expected.view(np.uint32)).all()


def frame_of(texts):
    rows = len(texts)
    return pl.DataFrame(
        {
            "customer": [str(i) for i in range(rows)],
            "visits": pl.Series(np.linspace(-1, 1e30, rows)),
            "spend": pl.Series([None, float("nan"), -0.0, *[0.1] * rows][:rows], dtype=pl.Float64),
            "age": [40] * rows,
            "city": texts,
            "tier": pl.Series(["high", None, "top"] * rows, dtype=pl.String)[:rows],
            "shop": texts,
        }
    )


def test_unseen_missing_and_empty_texts_become_missing():
    assert_same_bits(SHOP, CATEGORIES, frame_of(ODD_TEXTS))


@given(st.lists(st.text() | st.sampled_from(ODD_TEXTS) | st.none(), min_size=1, max_size=20))
def test_any_text(texts):
    frame = frame_of(texts)
    schema = schema_of(category("city"), number("age"))
    values = tuple(sorted({t for t in texts if t and not t.endswith("\0")}))[:3]
    assert_same_bits(schema, {"city": values}, frame.with_columns(pl.col("city").cast(pl.String)))


@pytest.mark.parametrize(
    "features", [[number("visits")], [category("city")], [category("city"), category("tier")]]
)
def test_tables_of_one_kind(features):
    assert_same_bits(schema_of(*features), CATEGORIES, frame_of(ODD_TEXTS))


def test_whole_numbers_and_booleans_are_categories_as_their_text():
    frame = pl.DataFrame({"city": [1, 2, None, 30]})
    assert_same_bits(schema_of(category("city")), {"city": ("2", "1")}, frame)
    frame = pl.DataFrame({"city": [True, False, None]})
    assert_same_bits(schema_of(category("city")), {"city": ("0", "1")}, frame)
