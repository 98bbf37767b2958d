"""Real sessions of an e-shop in five random folds: python -m benchmarks.online_shoppers.

REAL_DATA names the folder of online_shoppers_intention.csv (doi:10.24432/C5F88Q). Each fold is
scored through the engine by a bundle that `fit` made of the four others.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.bundle import Manifest
from engine.schema import FeatureSchema, load_schema
from training.fit.search import Budget
from training.measure import evaluate_bundle
from training.pipeline import FitOptions, fit

TABLE = "online_shoppers_intention.csv"
SCHEMA = Path(__file__).parent.parent / "docs" / "online_shoppers.toml"
PAGE_VALUES = "PageValues"
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Fold:
    """A bundle fitted to the other folds, its manifest, and its figures on this one."""

    bundle: Path
    manifest: Manifest
    metrics: dict[str, Any]


def schema_of(*, page_values: bool) -> FeatureSchema:
    """The schema, with `PageValues` in the models or not."""
    schema = load_schema(SCHEMA)
    features = (
        replace(f, use=page_values) if f.name == PAGE_VALUES else f for f in schema.features
    )
    return replace(schema, features=tuple(features))


def folds(
    sessions: pl.DataFrame, schema: FeatureSchema, budget: Budget, folder: Path
) -> Iterator[Fold]:
    """Fit and measure, fold by fold.

    Args:
        sessions: The table, every value as text.
        schema: Its schema.
        budget: Of each search.
        folder: Where tables and bundles go.
    """
    part = pl.Series(np.random.default_rng(0).permutation(sessions.height) % FOLDS)
    for number in range(FOLDS):
        teaching, judging = folder / f"teaching{number}.csv", folder / f"judging{number}.csv"
        sessions.filter(part != number).write_csv(teaching)
        sessions.filter(part == number).write_csv(judging)
        bundle = folder / f"bundle{number}"
        manifest = fit([str(teaching)], FitOptions(schema, budget=budget), bundle)
        yield Fold(bundle, manifest, evaluate_bundle(bundle, [str(judging)])["metrics"])


def main() -> None:
    """Print the means, with and without `PageValues`."""
    sessions = pl.read_csv(Path(os.environ["REAL_DATA"]) / TABLE, infer_schema=False)
    for page_values in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            schema = schema_of(page_values=page_values)
            found = [fold.metrics for fold in folds(sessions, schema, Budget(), Path(folder))]
        aucs = [metrics["roc_auc"] for metrics in found]
        print(
            f"PageValues {'with' if page_values else 'without'}: mean of {FOLDS} folds: "
            f"ROC-AUC {np.mean(aucs):.4f} ({min(aucs):.4f} to {max(aucs):.4f}), "
            f"F1 {np.mean([metrics['f1'] for metrics in found]):.4f}"
        )


if __name__ == "__main__":
    main()
