"""What all graphs share: versions, names, and the final checks of every builder."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    checker,
    helper,
    numpy_helper,
    shape_inference,
)

from engine.errors import SelfCheckError

# The oldest versions that have every operator used here, so that old runtimes can read a bundle.
OPSET = 17
ML_OPSET = 3
IR_VERSION = 8
ML_DOMAIN = "ai.onnx.ml"
_OPSETS = {"": OPSET, ML_DOMAIN: ML_OPSET}
PRODUCER = "shopnow-scoring"
BATCH = "batch"
FEATURES = "features"

FLOAT = TensorProto.FLOAT
DOUBLE = TensorProto.DOUBLE
INT32 = TensorProto.INT32
UINT8 = TensorProto.UINT8
INT64 = TensorProto.INT64
STRING = TensorProto.STRING


def batch_of(name: str, element: int, *tail: int) -> ValueInfoProto:
    """An input or output [batch, *tail]."""
    return helper.make_tensor_value_info(name, element, [BATCH, *tail])


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:  # noqa: ANN401
    """One node with one output, named as its output."""
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


def constant(name: str, value: np.ndarray) -> TensorProto:
    """A constant of the graph, in the array's own type."""
    return numpy_helper.from_array(np.ascontiguousarray(value), name)


class GraphBuilder:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: np.ndarray, name: str = "constant") -> str:
        """Add a constant and give its name."""
        full = f"/drivers/{name}_{len(self.constants)}"
        self.constants.append(constant(full, values))
        return full

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node and give the name of its output."""
        output = output or f"/drivers/{kind}_{len(self.nodes)}"
        self.nodes.append(node(kind, inputs, output, **attributes))
        return output


def checked_model(
    name: str,
    nodes: Iterable[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
) -> ModelProto:
    """A model that has passed the full checker and strict shape inference.

    Raises:
        SelfCheckError: A check failed, which is a bug in the builder of `name`.
    """
    graph = helper.make_graph(list(nodes), name, inputs, outputs, constants)
    # NOTE: some runtimes refuse a graph that imports operators they lack, used or not.
    used = {node.domain for node in graph.node}
    opsets = [helper.make_opsetid(d, v) for d, v in _OPSETS.items() if d == "" or d in used]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=PRODUCER
    )
    try:
        checker.check_model(model, full_check=True)
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise SelfCheckError(f"{name}: not a valid ONNX graph: {error}. Report this.") from error
    return model


def renamed(model: ModelProto, names: Mapping[str, str], prefix: str) -> ModelProto:
    """A copy for use inside another graph.

    Args:
        model: A graph without subgraphs.
        names: New names of some values; all others get the prefix.
        prefix: Avoids clashes of inner names with other graphs and features; ends with "/".
    """
    copy = ModelProto()
    copy.CopyFrom(model)

    def inner(name: str) -> str:
        return prefix + name.removeprefix("/")

    for node in copy.graph.node:
        node.name = inner(node.name)
        node.input[:] = [names.get(name, inner(name)) for name in node.input]
        node.output[:] = [names.get(name, inner(name)) for name in node.output]
    for constant in copy.graph.initializer:
        constant.name = inner(constant.name)
    return copy


def stamped(model: ModelProto, bundle_id: str) -> bytes:
    """The bytes of a model that carries the id of its bundle."""
    copy = ModelProto()
    copy.CopyFrom(model)
    helper.set_model_props(copy, {"bundle_id": bundle_id})
    return copy.SerializeToString(deterministic=True)
