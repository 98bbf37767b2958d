import pytest

from engine.errors import SelfCheckError
from training.export.graph import FLOAT, STRING, batch_of, checked_model, node


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ([node("NoSuchOperator", ["x"], "y")], batch_of("y", FLOAT, 2)),
        ([node("Identity", ["absent"], "y")], batch_of("y", FLOAT, 2)),
        ([node("Identity", ["x"], "y")], batch_of("y", STRING, 2)),
        ([node("Identity", ["x"], "y")], batch_of("y", FLOAT, 3)),
    ],
    ids=["operator", "input", "type", "shape"],
)
def test_a_graph_that_is_not_valid_is_refused(nodes, output):
    with pytest.raises(SelfCheckError, match="broken: not a valid ONNX graph"):
        checked_model("broken", nodes, [batch_of("x", FLOAT, 2)], [output])
