import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.edges import short_edges


@pytest.mark.parametrize(
    ("low", "edge", "expected"),
    [
        (16.9, 17.3, 17.0),
        (0.0, 1.0, 1.0),
        (2.71, 3.14, 3.0),
        (17.2, 17.3, 17.3),
        (1234.5, 1299.0, 1290.0),
        (0.6, 0.7, 0.7),
        (1234.5, 1310.0, 1300.0),
        (-17.3, -2.9, -3.0),
        (-0.2, 0.0, 0.0),
    ],
)
def test_an_edge_has_as_few_digits_as_divide_the_same_values(low, edge, expected):
    values = np.array([low, edge], np.float32)
    assert short_edges(values, values[1:]) == [pytest.approx(expected)]


@given(
    st.lists(
        st.floats(-(2**99), 2**99, width=32, allow_subnormal=False),
        min_size=2,
        max_size=40,
        unique=True,
    )
)
def test_an_edge_divides_the_same_values(drawn):
    values = np.sort(np.array(drawn, np.float32))
    found = np.array(short_edges(values, values[1:]), np.float32)
    assert (np.searchsorted(found, values, side="right") == np.arange(len(values))).all()
