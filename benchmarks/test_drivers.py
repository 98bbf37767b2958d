"""Score, all impacts and top 3 of one graph, against what else scores or explains these models.

All contenders of a model take turns, so that they meet the same noise. The gates are for the
shipped model; ratios of one run need no more room than the limits themselves leave.
"""

import statistics
from collections import defaultdict

import lightgbm as lgb
import numpy as np
import onnxruntime as ort
import polars as pl
import pytest

from benchmarks.contenders import BUNDLE, ROWS
from benchmarks.explainers import (
    FAST_ROUNDS,
    OUTPUTS,
    SLICE_ROWS,
    SLOW_ROUNDS,
    SLOW_ROWS,
    THREADS,
    Contender,
    Model,
    Worker,
    compiled,
    is_installed,
    onnxmltools_graph,
    run_graph,
    timed,
)
from benchmarks.frozen import FOLDER, MODELS, frozen_features, load_frozen
from engine.bundle.manifest import Calibration
from engine.bundle.open import CLASSIFIER, NATIVE_CLASSIFIER, open_bundle
from engine.model.session import inference_session
from engine.rows.typed import to_features, to_typed
from training.model.shapley.effects import scoring_cost

OURS = "this engine"
PREDICT = "LightGBM `predict`"
CONTRIB = "LightGBM `pred_contrib`"
IN_ENVIRONMENT_OF_ITS_OWN = {"lleaves": "lleaves", "shap": "shap `TreeExplainer`"}
SHIPPED = "shopnow"
TOLERANCE = 1e-5
GATE_TIMES_CONTRIB = 10
GATE_TIMES_PREDICT = 1.2
GATE_GRAPH_BYTES = 8_000_000
GATE_SESSION_SECONDS = 0.2
# An absolute time has no contender beside it: the best of so many trials.
SESSION_TRIALS = 5


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def installed():
    return [name for name in IN_ENVIRONMENT_OF_ITS_OWN if is_installed(name)]


@pytest.fixture(scope="module")
def worker(installed):
    opened = Worker() if installed else None
    yield opened
    if opened is not None:
        opened.close()


@pytest.fixture(scope="module")
def models(bundle, users, folder):
    """All models by name, each with its features."""
    frame = pl.read_parquet(users)
    manifest = bundle.manifest
    typed = to_typed(frame, manifest.schema).frame
    tensors = {
        SHIPPED: to_features(typed, manifest.schema.model_features, manifest.categories),
        "frozen": frozen_features(frame),
    }
    for name, features in tensors.items():
        np.save(folder / f"{name}.npy", features)

    def frozen(name: str) -> Model:
        trees, depth, _ = MODELS[name]
        booster, plain = load_frozen(name), Calibration(1.0, 0.0)
        graph = compiled(booster, plain, tensors["frozen"].shape[1])
        title = f"{trees} stumps" if depth == 1 else f"{trees} trees of depth {depth}"
        features = (tensors["frozen"], folder / "frozen.npy")
        return Model(title, FOLDER / f"{name}.txt", booster, plain, graph, *features)

    path = bundle.path / NATIVE_CLASSIFIER
    booster = lgb.Booster(model_file=str(path))
    shipped = Model(
        f"shipped, {booster.num_trees()} trees",
        path,
        booster,
        manifest.calibration,
        bundle.contents[CLASSIFIER],
        tensors[SHIPPED],
        folder / f"{SHIPPED}.npy",
    )
    return {SHIPPED: shipped} | {name: frozen(name) for name in MODELS}


@pytest.mark.parametrize("name", [SHIPPED, *MODELS])
def test_drivers(name, benchmark, models, worker, installed, folder):
    model = models[name]
    session = inference_session(model.graph)
    converted = inference_session(onnxmltools_graph(model.booster))
    check_impacts(model, run_graph(session, OUTPUTS, model.features))
    check_scores(model, run_graph(converted, ["probabilities"], model.features))
    for kind in installed:
        worker.run(kind, model, SLOW_ROWS, folder / f"{kind}.npy")
        check_other(kind, model, np.load(folder / f"{kind}.npy"))

    features, booster, some = model.features, model.booster, model.features[:SLOW_ROWS]
    contenders = [
        Contender(
            PREDICT, "score", timed(lambda: booster.predict(features, num_threads=THREADS)), ROWS
        ),
        Contender(
            "onnxmltools, ONNX Runtime",
            "score",
            timed(lambda: run_graph(converted, ["probabilities"], features)),
            ROWS,
        ),
        Contender(
            CONTRIB,
            "impacts",
            timed(lambda: booster.predict(some, pred_contrib=True, num_threads=THREADS)),
            SLOW_ROWS,
            SLOW_ROUNDS,
        ),
    ]
    if "lleaves" in installed:
        run = lambda: worker.run("lleaves", model, ROWS)  # noqa: E731
        contenders.insert(0, Contender("lleaves", "score", run, ROWS))
    if "shap" in installed:
        run_shap = lambda: worker.run("shap", model, SLOW_ROWS)  # noqa: E731
        title = IN_ENVIRONMENT_OF_ITS_OWN["shap"]
        contenders.append(Contender(title, "impacts", run_shap, SLOW_ROWS, SLOW_ROUNDS))
    taken = defaultdict(list)

    def others() -> None:
        for contender in contenders:
            # The first turn is for warming up.
            if len(taken[contender.title]) <= contender.rounds:
                taken[contender.title].append(contender.run())

    benchmark.group = "drivers"
    benchmark.pedantic(
        lambda: run_graph(session, OUTPUTS, features),
        setup=others,
        rounds=FAST_ROUNDS,
        warmup_rounds=1,
    )
    seconds = {OURS: benchmark.stats.stats.median} | {
        c.title: statistics.median(taken[c.title][1:]) * ROWS / c.rows for c in contenders
    }
    opening = min(timed(lambda: inference_session(model.graph))() for _ in range(SESSION_TRIALS))
    benchmark.extra_info |= {
        "title": model.title,
        "rows": ROWS,
        "threads": THREADS,
        "seconds": seconds,
        "gives": {OURS: "drivers"} | {c.title: c.gives for c in contenders},
        "scaled": {c.title: c.rows for c in contenders if c.rows < ROWS},
        "missing": [t for n, t in IN_ENVIRONMENT_OF_ITS_OWN.items() if n not in installed],
        "graph_bytes": len(model.graph),
        "graph_ns": graph_ns(session, features),
        "estimated_ns": scoring_cost(booster, features.shape[1]),
        "session_seconds": opening,
    }
    if name == SHIPPED:
        assert seconds[CONTRIB] >= GATE_TIMES_CONTRIB * seconds[OURS]
        assert seconds[OURS] <= GATE_TIMES_PREDICT * seconds[PREDICT]
        assert len(model.graph) <= GATE_GRAPH_BYTES
        assert opening <= GATE_SESSION_SECONDS


def graph_ns(session: ort.InferenceSession, features: np.ndarray) -> float:
    """Nanoseconds for a row on one core, the least of several slices."""
    slices = [features[n : n + SLICE_ROWS] for n in range(0, ROWS // 4, SLICE_ROWS)]
    least = min(
        timed(lambda some=some: session.run(OUTPUTS, {"features": some}))() for some in slices
    )
    return least / SLICE_ROWS * 1e9


@pytest.mark.parametrize("name", IN_ENVIRONMENT_OF_ITS_OWN)
def test_optional_contender_took_part(name, installed):
    if name not in installed:
        pytest.skip(f"{name} is not installed and was left out; see: make bench-contenders")


def check_impacts(model: Model, chunks: list[list[np.ndarray]]) -> None:
    """Margins of all rows; impacts and drivers of the first ones, as TreeSHAP is slow."""
    found = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    margin, probability, impacts, index, impact = found
    slope, intercept = model.calibration.slope, model.calibration.intercept
    expected = slope * model.booster.predict(model.features, raw_score=True) + intercept
    assert np.abs(margin[:, 0] - expected).max() <= TOLERANCE
    assert np.abs(probability[:, 0] - 1 / (1 + np.exp(-expected))).max() <= 1e-6

    some = model.features[:SLOW_ROWS]
    native = slope * model.booster.predict(some, pred_contrib=True)[:, :-1]
    assert np.abs(impacts[:SLOW_ROWS] - native).max() <= TOLERANCE
    top = np.argsort(-np.abs(native), axis=1, kind="stable")[:, : index.shape[1] + 1]
    sizes = np.take_along_axis(np.abs(native), top, axis=1)
    clear = (sizes[:, :-1] - sizes[:, 1:] > TOLERANCE).all(axis=1)
    assert clear.mean() > 0.9
    assert (index[:SLOW_ROWS] == top[:, :-1])[clear].all()
    assert (np.take_along_axis(impacts, index, axis=1) == impact).all()


def check_scores(model: Model, chunks: list[list[np.ndarray]]) -> None:
    """onnxmltools rounds thresholds to the nearest float32: a few rows take another branch."""
    probability = np.concatenate([probabilities[:, 1] for (probabilities,) in chunks])
    off = np.abs(probability - model.booster.predict(model.features)) > TOLERANCE
    assert off.mean() <= 0.01


def check_other(kind: str, model: Model, found: np.ndarray) -> None:
    """Against LightGBM itself, without the calibration."""
    some = model.features[:SLOW_ROWS]
    if kind == "lleaves":
        expected = model.booster.predict(some)
    else:
        expected = model.booster.predict(some, pred_contrib=True)[:, :-1]
    assert np.abs(found - expected).max() <= TOLERANCE
