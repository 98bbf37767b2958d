"""The bundle's graphs in ONNX Runtime: `features` in, probabilities and segments out."""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from engine.bundle import CLASSIFIER, SEGMENTER, Bundle
from engine.errors import BundleError, SelfCheckError, counted

# ONNX Runtime sums the trees of a chunk in an order that depends on its number of rows; at
# multiples of 64 the order is always the same. Padding to a multiple makes a user's score
# independent of the chunk it came in.
PADDED_ROWS = 128


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the models say of each row of a chunk.

    probability: float32 [rows]; segment: int64 [rows], the stable ids.
    """

    probability: np.ndarray
    segment: np.ndarray


class Session:
    """The classifier and the segmenter of one bundle, ready to run; safe to share by threads."""

    def __init__(self, bundle: Bundle) -> None:
        self._width = len(bundle.manifest.schema.model_features)
        self._classifier = load_graph(bundle, CLASSIFIER)
        self._segmenter = load_graph(bundle, SEGMENTER)

    def run(self, features: np.ndarray) -> Predictions:
        """Run both models.

        Args:
            features: float32 [rows, features], what `tensors.to_features` gives.

        Raises:
            SelfCheckError: A model gave a probability that is not finite.
        """
        rows = len(features)
        if rows == 0:
            return Predictions(np.empty(0, np.float32), np.empty(0, np.int64))
        padded = {"features": _padded(features)}
        probability = self._classifier.run(["probability"], padded)[0][:rows, 0]
        segment = self._segmenter.run(["segment"], padded)[0][:rows]
        _check_finite(probability)
        return Predictions(probability, segment)


def load_graph(bundle: Bundle, name: str) -> ort.InferenceSession:
    """Open one graph of a bundle, from the bytes that were checked.

    Raises:
        BundleError: ONNX Runtime cannot load the graph.
    """
    options = ort.SessionOptions()
    # More threads inside a run split the trees, with a barrier every 128 rows: slower than one
    # thread a chunk. Idle threads must not spin on the core that another chunk needs.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            bundle.contents[name], options, providers=["CPUExecutionProvider"]
        )
    # NOTE: ONNX Runtime's own exceptions share no base class but Exception.
    except Exception as error:
        raise BundleError(
            f"{bundle.path / name}: ONNX Runtime {ort.__version__} cannot load it: {error}"
        ) from error


def _padded(features: np.ndarray) -> np.ndarray:
    missing = -len(features) % PADDED_ROWS
    if not missing:
        return features
    return np.concatenate([features, np.zeros((missing, features.shape[1]), np.float32)])


def _check_finite(probability: np.ndarray) -> None:
    wrong = int(np.count_nonzero(~np.isfinite(probability)))
    if wrong:
        raise SelfCheckError(
            f"{CLASSIFIER}: {counted(wrong, 'probability')} of {len(probability):,} not finite. "
            "Do not use this bundle; run: engine verify"
        )
