"""Five-fold cross-validation on real online-shop sessions: python -m benchmarks.online_shoppers.

REAL_DATA names the folder of online_shoppers_intention.csv (doi:10.24432/C5F88Q). For each fold,
`fit` trains a bundle on the other four, and the engine scores the fold with it.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from engine.bundle.evaluation import Evaluation, FitRecord
from engine.bundle.manifest import Manifest
from engine.bundle.schema import FeatureSchema, load_schema
from training.effort import Effort
from training.evaluate.evaluation import evaluate_bundle
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
    evaluation: Evaluation


def schema_of(*, page_values: bool) -> FeatureSchema:
    """The schema with or without `PageValues`."""
    schema = load_schema(SCHEMA)
    features = (
        replace(f, use=page_values) if f.name == PAGE_VALUES else f for f in schema.features
    )
    return replace(schema, features=tuple(features))


def folds(
    sessions: pl.DataFrame, schema: FeatureSchema, effort: Effort, folder: Path, rows: int = ALL
) -> Iterator[Fold]:
    """Fit and measure, fold by fold.

    Args:
        sessions: The table, every value as text.
        schema: Its schema.
        effort: Of each fit.
        folder: Where tables and bundles go.
        rows: At most so many sessions of the other folds are used for training, drawn at random.
    """
    part = pl.Series(np.random.default_rng(0).permutation(sessions.height) % FOLDS)
    for number in range(FOLDS):
        train, test = folder / f"train{number}.csv", folder / f"test{number}.csv"
        others = sessions.filter(part != number)
        others.sample(min(rows, others.height), seed=number).write_csv(train)
        sessions.filter(part == number).write_csv(test)
        bundle = folder / f"bundle{number}"
        fitted = fit([str(train)], FitOptions(schema, effort=effort), bundle)
        measured = evaluate_bundle(bundle, [str(test)])
        yield Fold(bundle, fitted.manifest, fitted.evaluation.fit, measured)


def main() -> None:
    """Print the means with and without `PageValues`, for growing training sets."""
    sessions = pl.read_csv(Path(os.environ["REAL_DATA"]) / TABLE, infer_schema=False)
    print(
        "| PageValues | sessions | ROC-AUC, mean | worst fold, best fold | F1 | log-loss | usable |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for page_values, rows in product((True, False), SIZES):
        with tempfile.TemporaryDirectory() as folder:
            schema = schema_of(page_values=page_values)
            found = list(folds(sessions, schema, Effort(), Path(folder), rows))
        print(_line("with" if page_values else "without", found), flush=True)


def _line(name: str, found: list[Fold]) -> str:
    auc, f1, log_loss = (
        [fold.evaluation.metrics[figure] for fold in found]
        for figure in ("roc_auc", "f1", "log_loss")
    )
    rows = round(np.mean([fold.fit.training["rows"] for fold in found]))
    usable = sum(not fold.manifest.unusable for fold in found)
    return (
        f"| {name} | {rows:,} | {np.mean(auc):.3f} | {min(auc):.3f}, {max(auc):.3f} "
        f"| {np.mean(f1):.3f} | {np.mean(log_loss):.3f} | {usable} of {FOLDS} |"
    )


if __name__ == "__main__":
    main()
