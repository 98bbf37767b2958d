"""Real sessions of an e-shop in five random folds: python -m benchmarks.online_shoppers.

REAL_DATA names the folder of online_shoppers_intention.csv (doi:10.24432/C5F88Q). Each fold is
scored through the engine by a bundle that `fit` made of the four others.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from engine.bundle.evaluation import Figures, FitRecord
from engine.bundle.manifest import Manifest
from engine.bundle.schema import FeatureSchema, load_schema
from training.evaluate.evaluation import evaluate_bundle
from training.model.search import Budget
from training.pipeline import FitOptions, fit

TABLE = "online_shoppers_intention.csv"
SCHEMA = Path(__file__).parent.parent / "docs" / "online_shoppers.toml"
PAGE_VALUES = "PageValues"
FOLDS = 5
ALL = 1_000_000
"""More sessions than there are."""

SIZES = (500, 1_000, 2_500, 5_000, ALL)


@dataclass(frozen=True, slots=True)
class Fold:
    """A bundle fitted to the other folds, and its figures on this one."""

    bundle: Path
    manifest: Manifest
    fit: FitRecord
    metrics: Figures


def schema_of(*, page_values: bool) -> FeatureSchema:
    """The schema, with `PageValues` in the models or not."""
    schema = load_schema(SCHEMA)
    features = (
        replace(f, use=page_values) if f.name == PAGE_VALUES else f for f in schema.features
    )
    return replace(schema, features=tuple(features))


def folds(
    sessions: pl.DataFrame, schema: FeatureSchema, budget: Budget, folder: Path, rows: int = ALL
) -> Iterator[Fold]:
    """Fit and measure, fold by fold.

    Args:
        sessions: The table, every value as text.
        schema: Its schema.
        budget: Of each search.
        folder: Where tables and bundles go.
        rows: So many sessions of the other folds teach, at most, drawn at random.
    """
    part = pl.Series(np.random.default_rng(0).permutation(sessions.height) % FOLDS)
    for number in range(FOLDS):
        teaching, judging = folder / f"teaching{number}.csv", folder / f"judging{number}.csv"
        others = sessions.filter(part != number)
        others.sample(min(rows, others.height), seed=number).write_csv(teaching)
        sessions.filter(part == number).write_csv(judging)
        bundle = folder / f"bundle{number}"
        fitted = fit([str(teaching)], FitOptions(schema, budget=budget), bundle)
        metrics = evaluate_bundle(bundle, [str(judging)]).metrics
        yield Fold(bundle, fitted.manifest, fitted.evaluation.fit, metrics)


def main() -> None:
    """Print the means, with and without `PageValues`, for more and more sessions."""
    sessions = pl.read_csv(Path(os.environ["REAL_DATA"]) / TABLE, infer_schema=False)
    print("| PageValues | sessions | ROC-AUC | lowest, highest fold | F1 | log-loss | usable |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for page_values, rows in product((True, False), SIZES):
        with tempfile.TemporaryDirectory() as folder:
            schema = schema_of(page_values=page_values)
            found = list(folds(sessions, schema, Budget(), Path(folder), rows))
        print(_line("with" if page_values else "without", found), flush=True)


def _line(name: str, found: list[Fold]) -> str:
    auc, f1, log_loss = (
        [fold.metrics[figure] for fold in found] for figure in ("roc_auc", "f1", "log_loss")
    )
    rows = round(np.mean([fold.fit.training["rows"] for fold in found]))
    usable = sum(not fold.manifest.unusable for fold in found)
    return (
        f"| {name} | {rows:,} | {np.mean(auc):.3f} | {min(auc):.3f}, {max(auc):.3f} "
        f"| {np.mean(f1):.3f} | {np.mean(log_loss):.3f} | {usable} of {FOLDS} |"
    )


if __name__ == "__main__":
    main()
