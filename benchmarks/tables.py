"""Real tables, five folds: our model beside the best ordinary ones.

Usage: OMP_NUM_THREADS=1 REAL_DATA=folder python -m benchmarks.tables

REAL_DATA names a folder with NAME.csv or NAME.csv.gz beside each NAME.toml, the schema. The rivals are
those of `pip install --group rivals`. All train on the same rows; ours sets some of them aside to
measure itself, as every bundle does. CPU seconds of ours are those of everything: fit, export, report and
evaluation.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.online_shoppers import folds
from engine.bundle.open import open_bundle
from engine.bundle.schema import FeatureSchema, load_schema
from engine.model.session import Session
from engine.rows.typed import float32_column, to_features, to_typed
from training.effort import Effort
from training.metrics.intervals import placements
from training.metrics.metrics import log_losses
from training.model.baselines import regression
from training.model.categories import fit_categories
from training.model.trees import Sample

OURS = "this engine"
RUNS = 3
ROWS_TIMED = 20_000
HEAD = (
    "| table | model | log-loss | Δ to this engine, 95 % | of the best gain | ROC-AUC | fit, CPU s "
    "| explained rows per CPU second |\n|---|---|---:|---:|---:|---:|---:|---:|\n"
)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a fold, as rivals read them.

    Attributes:
        train: Features and labels, categories as codes in an arbitrary order.
        test: Other rows.
        categorical: The columns with codes.
    """

    train: Sample
    test: Sample
    categorical: list[int]


@dataclass(frozen=True, slots=True)
class Result:
    """One model on one fold.

    Attributes:
        probability: float64 [test rows].
        seconds: Of CPU, to fit it.
        rate: Measures how many rows a CPU second gets exact SHAP values, or terms.
    """

    probability: np.ndarray
    seconds: float
    rate: Callable[[], float]


Rival = Callable[[Part], Result]


def logistic(part: Part) -> Result:
    """Logistic regression on normal scores and one-hot codes; its terms need no second pass."""
    numeric = [n for n in range(part.train.features.shape[1]) if n not in part.categorical]
    started = time.process_time()
    margin = regression(part.train, part.test.features, numeric)
    return Result(1 / (1 + np.exp(-margin)), time.process_time() - started, lambda: np.nan)


def boosted(part: Part) -> Result:
    """LightGBM with 31 leaves, stopped on a fifth of the rows, then trained on all."""
    import lightgbm as lgb

    options: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": 0.05,
        "feature_fraction": 0.5,
        "min_data_in_leaf": 10,
        "verbose": -1,
        "seed": 7,
    }
    started = time.process_time()
    some, rest = _stopping(part)

    def data(sample: Sample) -> lgb.Dataset:
        columns = part.categorical or "auto"
        return lgb.Dataset(sample.features, sample.label, categorical_feature=columns)

    stopped = lgb.train(
        options,
        data(some),
        3_000,
        valid_sets=[data(rest)],
        callbacks=[lgb.early_stopping(100, verbose=False)],
    )
    model = lgb.train(options, data(part.train), max(1, stopped.best_iteration))
    seconds = time.process_time() - started
    found = np.asarray(model.predict(part.test.features))
    reasons = partial(model.predict, pred_contrib=True)
    return Result(found, seconds, lambda: _rate(reasons, part.test.features))


def explainable(part: Part) -> Result:
    """The explainable boosting machine: main effects and pairs."""
    from interpret.glassbox import ExplainableBoostingClassifier

    width = part.train.features.shape[1]
    kinds = ["nominal" if n in part.categorical else "continuous" for n in range(width)]
    started = time.process_time()
    model = ExplainableBoostingClassifier(feature_types=kinds, random_state=7, n_jobs=1)
    model.fit(part.train.features, part.train.label)
    seconds = time.process_time() - started
    found = model.predict_proba(part.test.features)[:, 1]
    return Result(found, seconds, lambda: _rate(model.eval_terms, part.test.features))


def catboost(part: Part) -> Result:
    """CatBoost, stopped on a fifth of the rows."""
    from catboost import CatBoostClassifier, Pool

    def table(sample: Sample) -> list[list[Any]]:
        columns = [
            _texts(column) if n in part.categorical else column.astype(object)
            for n, column in enumerate(sample.features.T)
        ]
        return np.column_stack(columns).tolist()

    started = time.process_time()
    some, rest, test = (
        Pool(table(sample), sample.label, cat_features=part.categorical)
        for sample in (*_stopping(part), part.test)
    )
    model = CatBoostClassifier(
        iterations=3_000,
        learning_rate=0.05,
        random_seed=7,
        verbose=False,
        thread_count=1,
        allow_writing_files=False,
    )
    model.fit(some, eval_set=rest, early_stopping_rounds=100)
    seconds = time.process_time() - started

    def rate() -> float:
        began = time.process_time()
        model.get_feature_importance(test, type="ShapValues")
        return len(part.test.label) / (time.process_time() - began)

    return Result(model.predict_proba(test)[:, 1], seconds, rate)


def ours(folder: Path, table: pl.DataFrame, seconds: float) -> Result:
    """What a bundle gives for the rows of a table of text."""
    bundle = open_bundle(folder)
    session, schema = Session(bundle), bundle.manifest.schema
    typed = to_typed(table, schema).frame
    features = to_features(typed, schema.model_features, bundle.manifest.categories)
    predictions = session.run(features)
    found = predictions.probability.astype(np.float64)
    return Result(found, seconds, lambda: _rate(session.run, features))


def compared(
    name: str, table: pl.DataFrame, schema: FeatureSchema, rivals: dict[str, Rival], effort: Effort
) -> str:
    """The lines of one table."""
    found: dict[str, list[Result]] = {OURS: [], **{rival: [] for rival in rivals}}
    labels = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        for number, fold in enumerate(folds(table, schema, effort, Path(folder))):
            seconds = time.process_time() - started
            train, test = (
                pl.read_csv(Path(folder) / f"{part}{number}.csv", infer_schema=False)
                for part in ("train", "test")
            )
            part = part_of(train, test, schema)
            labels.append(part.test.label)
            found[OURS].append(ours(fold.bundle, test, seconds))
            for rival, run in rivals.items():
                found[rival].append(run(part))
            started = time.process_time()
    return "".join(_lines(name, found, labels))


def part_of(train: pl.DataFrame, test: pl.DataFrame, schema: FeatureSchema) -> Part:
    """Two tables of text as numbers; categories are learned from the first."""
    typed, others = (to_typed(frame, schema).frame for frame in (train, test))
    label, other_label = (
        frame.select(float32_column(str(schema.label), pl.String(), ()))
        .to_series()
        .cast(pl.Int8)
        .to_numpy()
        for frame in (train, test)
    )
    categories = fit_categories(typed, label, schema)
    features = schema.model_features
    return Part(
        Sample(to_features(typed, features, categories), label),
        Sample(to_features(others, features, categories), other_label),
        [n for n, feature in enumerate(features) if feature.kind == "categorical"],
    )


def _stopping(part: Part) -> tuple[Sample, Sample]:
    """The train rows, and a fifth of them that ends the training."""
    held_out = np.random.default_rng(7).random(len(part.train.label)) < 0.2
    return part.train.subset(~held_out), part.train.subset(held_out)


def _texts(column: np.ndarray) -> np.ndarray:
    return np.array([str(value) for value in column], dtype=object)


def _rate(run: Callable[[np.ndarray], object], features: np.ndarray) -> float:
    """Rows a CPU second, the best of some runs."""
    rows = np.resize(features, (max(ROWS_TIMED, len(features)), features.shape[1]))
    seconds = []
    for _ in range(RUNS):
        started = time.process_time()
        run(rows)
        seconds.append(time.process_time() - started)
    return len(rows) / min(seconds)


def _lines(name: str, found: dict[str, list[Result]], labels: list[np.ndarray]) -> Iterator[str]:
    label = np.concatenate(labels)
    base = np.mean(log_losses(np.full(len(label), label.mean()), label))
    losses = {
        model: log_losses(np.concatenate([r.probability for r in results]), label)
        for model, results in found.items()
    }
    best = base - min(loss.mean() for model, loss in losses.items() if model != OURS)
    for model, results in found.items():
        loss = losses[model].mean()
        auc = np.mean(
            [
                placements(r.probability, y)[y == 1].mean()
                for r, y in zip(results, labels, strict=True)
            ]
        )
        rate = results[0].rate()
        yield (
            f"| {name} | {model} | {loss:.4f} | {_difference(losses[model] - losses[OURS])} "
            f"| {(base - loss) / best:.3f} | {auc:.4f} "
            f"| {np.median([r.seconds for r in results]):.1f} "
            f"| {'–' if np.isnan(rate) else f'{rate:,.0f}'} |\n"
        )


def _difference(losses: np.ndarray) -> str:
    """The mean with a 95 % interval, by row."""
    if not losses.any():
        return ""
    mean, half = losses.mean(), 1.96 * losses.std() / np.sqrt(len(losses))
    return f"{mean:+.4f} ± {half:.4f}".replace("-", "−")


def main() -> None:
    """Print the table, a data set at a time."""
    if "REAL_DATA" not in os.environ:
        sys.exit("REAL_DATA names no folder of tables: NAME.csv.gz or NAME.csv beside NAME.toml.")
    rivals: dict[str, Rival] = {"LightGBM": boosted, "logistic regression": logistic}
    more = (("interpret", "EBM", explainable), ("catboost", "CatBoost", catboost))
    for package, title, run in more:
        if find_spec(package) is None:
            print(f"{title} is left out: pip install --group rivals", file=sys.stderr)
        else:
            rivals[title] = run
    print(HEAD, end="")
    for schema in sorted(Path(os.environ["REAL_DATA"]).glob("*.toml")):
        files = [schema.with_suffix(ending) for ending in (".csv.gz", ".csv")]
        file = next((file for file in files if file.exists()), None)
        if file is not None:
            table = pl.read_csv(file, infer_schema=False)
            lines = compared(schema.stem, table, load_schema(schema), rivals, Effort())
            print(lines, end="", flush=True)


if __name__ == "__main__":
    main()
