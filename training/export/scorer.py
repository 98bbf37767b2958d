"""The three graphs as one: named columns in, everything out; the file that others embed."""

from onnx import ModelProto

from training.export.drivers import DRIVER_IMPACT, DRIVER_INDEX, IMPACTS, MARGIN, PROBABILITY
from training.export.graph import FEATURES, checked_model, renamed
from training.export.segmenter import DISTANCES, SEGMENT

OUTPUTS = (MARGIN, PROBABILITY, IMPACTS, DRIVER_INDEX, DRIVER_IMPACT, SEGMENT, DISTANCES)


def scorer_graph(preprocess: ModelProto, *models: ModelProto) -> ModelProto:
    """Compose the graphs: the inputs of `preprocess`, and all outputs of the others.

    Args:
        preprocess: Gives `features`.
        models: Each takes `features`.
    """
    parts = [_inner(part) for part in (preprocess, *models)]
    return checked_model(
        "scorer",
        [node for part in parts for node in part.graph.node],
        list(preprocess.graph.input),
        [output for model in models for output in model.graph.output],
        [constant for part in parts for constant in part.graph.initializer],
    )


def _inner(model: ModelProto) -> ModelProto:
    ends = {value.name for value in (*model.graph.input, *model.graph.output)} | {FEATURES}
    return renamed(model, {name: name for name in ends}, f"/{model.graph.name}/")
