"""Comparison, imputation, logarithms, scaling and KMeans centroids as one graph."""

import numpy as np
from onnx import ModelProto, NodeProto

from training.export.graph import (
    DOUBLE,
    FEATURES,
    FLOAT,
    INT64,
    batch_of,
    checked_model,
    constant,
    node,
)
from training.segments.space import Space

SEGMENT = "segment"
DISTANCES = "distances"


def segmenter_graph(
    space: Space, centroids: np.ndarray, ids: tuple[int, ...], feature_count: int
) -> ModelProto:
    """`features` to `segment` int64 [batch] and `distances` float32 [batch, segments].

    Everything inside is in double precision, as in scikit-learn: the nearest centroid is the same
    for every user. Squared distances are sums of squared differences, never x² - 2xc + c², which
    cancels near a centroid. Inside, rows are coordinates and columns are users, so that constants are
    broadcast along whole rows, which takes half the time; the rows with logarithms come last.

    Args:
        space: Which features, and how they are transformed.
        centroids: float64 [segments, coordinates].
        ids: The stable id of each segment, in the order of the centroids.
        feature_count: The width of `features`.
    """
    order = np.argsort(space.logged, kind="stable")
    space, centroids = space.subset(order), centroids[:, order]
    nodes = [*_coordinates(space), *_nearest()]
    read = {name for n in nodes for name in n.input}
    constants = _constants(space, centroids, ids).items()
    return checked_model(
        "segmenter",
        nodes,
        [batch_of(FEATURES, FLOAT, feature_count)],
        [batch_of(SEGMENT, INT64), batch_of(DISTANCES, FLOAT, len(ids))],
        [constant(name, value) for name, value in constants if name in read],
    )


def _coordinates(space: Space) -> list[NodeProto]:
    """From `features` to standardized coordinates, `/scaled`."""
    nodes = [
        node("Transpose", [FEATURES], "/by_feature", perm=[1, 0]),
        node("Gather", ["/by_feature", "columns"], "/raw", axis=0),
        node("Cast", ["/raw"], "/double", to=DOUBLE),
        # NOTE: tract takes the output of IsNaN for a double. No missing value is up to infinity.
        node("LessOrEqual", ["/double", "infinity"], "/known"),
    ]
    last = "/double"
    if not np.isnan(space.equals).all():
        nodes += [
            node("LessOrEqual", [last, "equals"], "/at_most"),
            node("LessOrEqual", ["equals", last], "/at_least"),
            node("And", ["/at_most", "/at_least"], "/is_equal"),
            node("Cast", ["/is_equal"], "/one_or_zero", to=DOUBLE),
            node("Where", ["is_number", last, "/one_or_zero"], "/compared"),
        ]
        last = "/compared"
    nodes.append(node("Where", ["/known", last, "imputation"], "/imputed"))
    last = "/imputed"
    if space.logged.any():
        nodes += _log_of(last) if space.logged.all() else _logs_of_some(last)
        last = nodes[-1].output[0]
    return [
        *nodes,
        node("Sub", [last, "mean"], "/centred"),
        node("Div", ["/centred", "scale"], "/scaled"),
    ]


def _logs_of_some(last: str) -> list[NodeProto]:
    """The rows without logarithms, and after them those with."""
    return [
        node("Slice", [last, "first", "logs", "axis"], "/natural"),
        node("Slice", [last, "logs", "last", "axis"], "/skewed"),
        *_log_of("/skewed"),
        node("Concat", ["/natural", "/log"], "/transformed", axis=0),
    ]


def _log_of(skewed: str) -> list[NodeProto]:
    return [
        node("Max", [skewed, "zero"], "/positive"),
        node("Add", ["/positive", "one"], "/plus_one"),
        node("Log", ["/plus_one"], "/log"),
    ]


def _nearest() -> list[NodeProto]:
    """From `/scaled` to the nearest centroid and the distances to all.

    A feature of a tiny scale makes distances beyond float32 of values that float32 still holds: they
    become its largest number, because JSON and other runtimes have no infinity.
    """
    return [
        node("Sub", ["/scaled", "centroids"], "/difference"),
        node("ReduceSumSquare", ["/difference"], "/squares", axes=[1], keepdims=0),
        node("ArgMin", ["/squares"], "/nearest", axis=0, keepdims=0),
        node("Gather", ["ids", "/nearest"], SEGMENT),
        node("Sqrt", ["/squares"], "/roots"),
        node("LessOrEqual", ["/roots", "farthest"], "/in_float32"),
        node("Where", ["/in_float32", "/roots", "farthest"], "/bounded"),
        node("Transpose", ["/bounded"], "/by_user", perm=[1, 0]),
        node("Cast", ["/by_user"], DISTANCES, to=FLOAT),
    ]


def _constants(space: Space, centroids: np.ndarray, ids: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {
        "columns": space.columns,
        "equals": _upright(np.nan_to_num(space.equals)),
        "is_number": _upright(np.isnan(space.equals)),
        "imputation": _upright(space.imputation),
        "zero": np.zeros(1),
        "one": np.ones(1),
        "infinity": np.array([np.inf]),
        "first": np.array([0]),
        "logs": np.array([np.count_nonzero(~space.logged)]),
        "last": np.array([len(space.logged)]),
        "axis": np.array([0]),
        "mean": _upright(space.mean),
        "scale": _upright(space.scale),
        "centroids": centroids[:, :, np.newaxis],
        "farthest": np.array([np.finfo(np.float32).max], np.float64),
        "ids": np.array(ids, dtype=np.int64),
    }


def _upright(values: np.ndarray) -> np.ndarray:
    """One value for each coordinate, broadcast along the users."""
    return values[:, np.newaxis]
