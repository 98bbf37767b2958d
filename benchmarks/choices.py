"""The measurements behind docs/internals/decisions.md that no test repeats.

Usage: python -m benchmarks.choices
"""

import time
import warnings

import lightgbm as lgb
import numpy as np
import onnxmltools
import onnxruntime as ort
import polars as pl
from onnxmltools.convert.common.data_types import FloatTensorType

from benchmarks.contenders import BUNDLE
from engine.bundle.open import NATIVE_CLASSIFIER, SCORER, Bundle, open_bundle
from engine.model.conformance import CORE_ROWS, check_core
from engine.model.session import Session, graphs_to_run, load_graph
from engine.model.threads import in_order
from engine.rows.typed import named_inputs, to_features, to_typed
from training.simulate import SimulateOptions, simulate

ROWS = 240_000
ROUNDS = 3


def seconds(run) -> float:
    """The best of several runs."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def converters(bundle: Bundle, features: np.ndarray) -> None:
    """The graph of onnxmltools against LightGBM."""
    booster = lgb.Booster(model_str=bundle.contents[NATIVE_CLASSIFIER].decode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = FloatTensorType([None, features.shape[1]])
        graph = onnxmltools.convert_lightgbm(
            booster, initial_types=[("features", kind)], zipmap=False
        )
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"features": features})[0][:, 1]
    wrong = np.abs(found - booster.predict(features))
    print(
        f"onnxmltools: probabilities up to {wrong.max():.2g} off, "
        f"{(wrong > 1e-6).sum():,} of {len(features):,} users by more than 1e-6"
    )


def strings(bundle: Bundle, users: pl.DataFrame) -> None:
    """Category codes from Polars against strings through ONNX Runtime, one thread."""
    schema, categories = bundle.manifest.schema, bundle.manifest.categories
    session, scorer = Session(bundle), load_graph(bundle, SCORER)
    typed = to_typed(users, schema).frame

    def fast() -> None:
        session.run(to_features(typed, schema.model_features, categories))

    def named() -> None:
        scorer.run(["probability", "segment"], named_inputs(typed, schema.model_features))

    print(f"features from Polars {seconds(fast):.2f} s, named inputs {seconds(named):.2f} s")


def threads(bundle: Bundle, features: np.ndarray) -> None:
    """Two Python threads over chunks against two threads inside ONNX Runtime."""
    session = Session(bundle)
    chunks = [features[i : i + 32_768] for i in range(0, len(features), 32_768)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    inside = [
        ort.InferenceSession(bundle.contents[name], options, providers=["CPUExecutionProvider"])
        for name in graphs_to_run(bundle)
    ]

    def outside_run() -> None:
        list(in_order(session.run, chunks, 2))

    def inside_run() -> None:
        for chunk in chunks:
            for graph in inside:
                graph.run(None, {"features": chunk})

    print(
        f"two threads over chunks {seconds(outside_run):.2f} s, "
        f"inside ONNX Runtime {seconds(inside_run):.2f} s"
    )


def starts(bundle: Bundle) -> None:
    """What is checked at every start."""
    session = Session(bundle)

    def opened() -> None:
        open_bundle(BUNDLE)

    def core() -> None:
        check_core(bundle, session)

    print(
        f"files, hashes and graphs {1e3 * seconds(opened):.0f} ms, "
        f"{CORE_ROWS} conformance rows {1e3 * seconds(core):.0f} ms"
    )


def main() -> None:
    """Measure everything on the committed bundle."""
    bundle = open_bundle(BUNDLE)
    starts(bundle)
    users = pl.concat(simulate(SimulateOptions(rows=ROWS, seed=8)))
    typed = to_typed(users, bundle.manifest.schema).frame
    features = to_features(typed, bundle.manifest.schema.model_features, bundle.manifest.categories)
    converters(bundle, features)
    strings(bundle, users)
    threads(bundle, features)


if __name__ == "__main__":
    main()
