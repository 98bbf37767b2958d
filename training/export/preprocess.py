"""Named columns to the `features` tensor, for runtimes that have no Polars."""

import numpy as np
from onnx import GraphProto, ModelProto
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.preprocessing import OrdinalEncoder

from engine.bundle.schema import Feature
from engine.rows.typed import CategoryTables
from training.export.graph import (
    FEATURES,
    FLOAT,
    ML_DOMAIN,
    ML_OPSET,
    OPSET,
    STRING,
    batch_of,
    checked_model,
    node,
    renamed,
)


def preprocess_graph(features: tuple[Feature, ...], categories: CategoryTables) -> ModelProto:
    """One input for each feature, one output `features` float32 [batch, features].

    Numeric inputs are float32 [batch, 1], NaN where missing. Categorical inputs are string
    [batch, 1]; "" and every text without a code become NaN.

    Args:
        features: The model's features, in order.
        categories: Their values in the order of their codes.
    """
    columns = [
        feature.name if feature.kind == "numeric" else f"/codes/{position}"
        for position, feature in enumerate(features)
    ]
    nodes, constants = [], []
    for feature, column in zip(features, columns, strict=True):
        if feature.kind == "categorical":
            encoder = _encoder(feature.name, column, categories[feature.name])
            nodes += encoder.node
            constants += encoder.initializer
    return checked_model(
        "preprocess",
        [*nodes, node("Concat", columns, FEATURES, axis=1)],
        [batch_of(f.name, FLOAT if f.kind == "numeric" else STRING, 1) for f in features],
        [batch_of(FEATURES, FLOAT, len(features))],
        constants,
    )


def _encoder(name: str, output: str, values: tuple[str, ...]) -> GraphProto:
    """scikit-learn's encoder of one feature, converted by skl2onnx: exact for texts."""
    if not values:
        # scikit-learn refuses an empty table; here every text is missing.
        table = {"keys_strings": [""], "values_floats": [np.nan], "default_float": np.nan}
        encoder = node("LabelEncoder", [name], output, domain=ML_DOMAIN, **table)
        return GraphProto(node=[encoder])
    column = np.array(values, dtype=object).reshape(-1, 1)
    encoder = OrdinalEncoder(
        categories=[column[:, 0]],
        dtype=np.float32,
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
    ).fit(column)
    converted = to_onnx(
        encoder,
        initial_types=[(name, StringTensorType([None, 1]))],
        target_opset={"": OPSET, ML_DOMAIN: ML_OPSET},
    )
    ends = {converted.graph.input[0].name: name, converted.graph.output[0].name: output}
    return renamed(converted, ends, f"{output}/").graph
