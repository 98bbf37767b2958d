"""The bundle's graphs in ONNX Runtime: `features` in; probabilities, drivers, segments out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import onnxruntime as ort

from engine.bundle.graphs import Signature, TensorSpec, check_operators, check_signature, signatures
from engine.bundle.open import CLASSIFIER, CORE, SEGMENTER, Bundle
from engine.errors import BundleError, ResourceError, SelfCheckError, pluralize, quoted

CLASSIFIER_OUTPUTS = ["margin", "probability", "impacts", "driver_index", "driver_impact"]

RUN_ROWS = 2_048
"""Rows per call of a graph: their data stays in the cache, however large the chunk is."""

# ONNX Runtime's order of summation depends on the rows of a call, except at multiples of 64. Padding to
# a multiple makes a user's score independent of its chunk.
PADDED_ROWS = 128


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions for each row of a chunk.

    Attributes:
        margin: Log-odds of the probability, float32 [rows].
        probability: float32 [rows].
        impacts: The impact of each feature on the margin, float32 [rows, features].
        driver_index: The features with the largest impacts, int64 [rows, drivers].
        driver_impact: Their impacts, float32 [rows, drivers].
        segment: The stable segment ids, int64 [rows].
    """

    margin: np.ndarray
    probability: np.ndarray
    impacts: np.ndarray
    driver_index: np.ndarray
    driver_impact: np.ndarray
    segment: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> "Predictions":
        """The predictions of some of the rows."""
        return Predictions(*(getattr(self, f.name)[rows] for f in fields(self)))


def graphs_to_run(bundle: Bundle) -> dict[str, list[str]]:
    """The graphs that score, and the outputs to ask each for, in the order of `Predictions`."""
    if CORE in bundle.contents:
        return {CORE: [*CLASSIFIER_OUTPUTS, "segment"]}
    return {CLASSIFIER: CLASSIFIER_OUTPUTS, SEGMENTER: ["segment"]}


class Session:
    """The models of one bundle, ready to run; threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self._segments = np.array([segment.id for segment in bundle.manifest.segments])
        self._outputs = graphs_to_run(bundle)
        self._graphs = {name: load_graph(bundle, name) for name in self._outputs}
        self._where = str(bundle.path)

    def run(self, features: np.ndarray) -> Predictions:
        """Run the models.

        Args:
            features: The tensor from `typed.to_features`, float32 [rows, features].

        Raises:
            SelfCheckError: A score is not finite.
            BundleError: A segment is not in the manifest.
        """
        # Without rows the graphs run on padding alone, which gives outputs of the right shape.
        starts = range(0, max(len(features), 1), RUN_ROWS)
        found = concat_predictions([self._run_slice(features[i : i + RUN_ROWS]) for i in starts])
        _check_finite(found, self._where)
        self._check_segments(found)
        return found

    def _check_segments(self, found: Predictions) -> None:
        unknown = np.unique(found.segment[~np.isin(found.segment, self._segments)])
        if len(unknown):
            raise BundleError(
                f"{self._where}: segments {unknown[:8].tolist()} are not in the manifest, which has "
                f"{self._segments.tolist()}. Do not use this bundle; train again."
            )

    def _run_slice(self, features: np.ndarray) -> Predictions:
        padded = {"features": _padded(features)}
        margin, probability, *others = (
            values
            for name, graph in self._graphs.items()
            for values in run_graph(graph, self._outputs[name], padded, name)
        )
        found = Predictions(margin[:, 0], probability[:, 0], *others)
        return found[: len(features)]


def concat_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate predictions of consecutive rows; there is at least one part."""
    if len(parts) == 1:
        return parts[0]
    names = [f.name for f in fields(Predictions)]
    return Predictions(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def load_graph(bundle: Bundle, name: str) -> ort.InferenceSession:
    """Open one graph of a bundle, from the bytes that were checked.

    Every graph is loaded here: its operators are checked before, its signature and its bundle id
    afterwards.

    Raises:
        BundleError: The graph is not of this bundle, or ONNX Runtime cannot load it.
        VersionError: It needs a newer ONNX than this engine reads.
    """
    where, content = str(bundle.path / name), bundle.contents[name]
    check_operators(content, where)
    try:
        graph = inference_session(content)
        found, made_for = _signature(graph), graph.get_modelmeta().custom_metadata_map
    # NOTE: ONNX Runtime's exceptions share no base class but Exception, and texts that are not UTF-8
    # fail only when they are read.
    except Exception as error:
        raise ResourceError.of(error) or BundleError(
            f"{where}: ONNX Runtime {ort.__version__} cannot load it: {error}"
        ) from error
    check_signature(signatures(bundle.manifest)[name], found, where)
    _check_bundle_id(made_for.get("bundle_id"), bundle.manifest.bundle_id, where)
    return graph


def inference_session(content: bytes) -> ort.InferenceSession:
    """A session for a graph as it is, with the engine's options; nothing is checked."""
    options = ort.SessionOptions()
    # More threads per call are slower than one thread per chunk, because of a barrier every 128 rows.
    # Idle threads must not spin on a core that another chunk needs.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # `check_operators` has read the bytes as ONNX; ONNX Runtime must not read them as another format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Errors are raised as exceptions; the log would repeat them.
    options.log_severity_level = 4
    # NOTE: the fallback to other providers would print to standard output and try again.
    return ort.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


def _signature(graph: ort.InferenceSession) -> Signature:
    """The inputs and outputs that ONNX Runtime found, with their sizes."""
    inputs, outputs = (
        tuple(TensorSpec(node.name, node.type, tuple(node.shape)) for node in nodes)
        for nodes in (graph.get_inputs(), graph.get_outputs())
    )
    return Signature(inputs, outputs)


def _check_bundle_id(found: str | None, bundle_id: str, where: str) -> None:
    if found != bundle_id:
        made = "without a bundle id" if found is None else f"for bundle {quoted([found])}"
        raise BundleError(
            f"{where}: made {made}, expected {bundle_id!r}: files of two bundles. "
            "Copy the bundle again."
        )


def run_graph(
    graph: ort.InferenceSession, outputs: Sequence[str], inputs: Mapping[str, np.ndarray], name: str
) -> list[np.ndarray]:
    """Run one graph.

    Args:
        graph: A graph from `load_graph`.
        outputs: The outputs to return, in this order.
        inputs: All inputs, by name.
        name: The file; it begins the message of an error.

    Raises:
        SelfCheckError: ONNX Runtime cannot run the graph.
    """
    try:
        found: list[np.ndarray] = graph.run(outputs, inputs)
    # NOTE: ONNX Runtime's exceptions share no base class but Exception.
    except Exception as error:
        raise ResourceError.of(error) or SelfCheckError(
            f"{name}: ONNX Runtime {ort.__version__} cannot run it: {error} Run: engine verify"
        ) from error
    return found


def _padded(features: np.ndarray) -> np.ndarray:
    missing = PADDED_ROWS if not len(features) else -len(features) % PADDED_ROWS
    if not missing:
        return features
    return np.concatenate([features, np.zeros((missing, features.shape[1]), np.float32)])


def _check_finite(found: Predictions, where: str) -> None:
    # If an impact is not finite, neither is the margin.
    wrong = int(np.count_nonzero(~(np.isfinite(found.margin) & np.isfinite(found.probability))))
    if wrong:
        raise SelfCheckError(
            f"{where}: {pluralize(wrong, 'score')} of {len(found.margin):,} not finite. "
            "Do not use this bundle; run: engine verify"
        )
