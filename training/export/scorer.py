"""The models as one graph, from `features` (the core) and from named columns (the scorer)."""

from onnx import ModelProto, ValueInfoProto

from training.export.drivers import DRIVER_IMPACT, DRIVER_INDEX, IMPACTS, MARGIN, PROBABILITY
from training.export.graph import FEATURES, checked_model, renamed
from training.export.segmenter import DISTANCES, SEGMENT

OUTPUTS = (MARGIN, PROBABILITY, IMPACTS, DRIVER_INDEX, DRIVER_IMPACT, SEGMENT, DISTANCES)


def core_graph(classifier: ModelProto, segmenter: ModelProto) -> ModelProto:
    """`features` to all outputs, by operators of `ai.onnx` only."""
    outputs = [*classifier.graph.output, *segmenter.graph.output]
    return _composed("core", [classifier, segmenter], list(classifier.graph.input), outputs)


def scorer_graph(preprocess: ModelProto, core: ModelProto) -> ModelProto:
    """Named columns to all outputs: the one file that programs with texts embed."""
    inputs, outputs = list(preprocess.graph.input), list(core.graph.output)
    return _composed("scorer", [preprocess, core], inputs, outputs)


def _composed(
    name: str,
    parts: list[ModelProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
) -> ModelProto:
    """Parts in the order in which they run, connected by `features`."""
    ends = {value.name: value.name for value in (*inputs, *outputs)} | {FEATURES: FEATURES}
    inner = [renamed(part, ends, f"/{part.graph.name}/") for part in parts]
    return checked_model(
        name,
        [node for part in inner for node in part.graph.node],
        inputs,
        outputs,
        [constant for part in inner for constant in part.graph.initializer],
    )
