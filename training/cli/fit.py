"""`training fit`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from engine.cli.console import say
from engine.cli.options import PLACE, command, not_nan
from engine.errors import pluralize, rule_counts
from training.cli.checks import (
    FIT_PACKAGES,
    REPORT_PACKAGES,
    check_packages,
    data_argument,
    schema_option,
    seed_option,
)
from training.cli.progress import FitProgress


@command("training fit history.parquet --out candidate")
@data_argument
@click.option(
    "-o", "--out", type=PLACE, required=True, help="The folder for the bundle, empty or absent."
)
@schema_option
@seed_option
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="12",
    help="How many purchase models to try, however long that takes.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    metavar="M",
    callback=not_nan,
    show_default="2, unless --trials is given",
    help="Start no further purchase model after M minutes.",
)
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NS",
    callback=not_nan,
    show_default="3000, and 6 for each feature",
    help="The most nanoseconds a user that scoring by the purchase model may take.",
)
@click.option(
    "--previous",
    type=PLACE,
    help="The current bundle: segments that stay the same keep their ids and names.",
)
@click.option(
    "--playbook", type=PLACE, help="Your own playbook.toml, applied after the rules of the package."
)
def fit(
    data: tuple[str, ...],
    out: Path,
    schema: Path | None,
    seed: int,
    trials: int | None,
    minutes: float | None,
    max_cost: float | None,
    playbook: Path | None,
    previous: Path | None,
) -> None:
    """Fit all models to labelled users and write a bundle.

    Nothing is written unless ONNX and the native models agree on every user. The same data, seed
    and number of trials make the same bundle again.
    """
    check_packages((*FIT_PACKAGES, *REPORT_PACKAGES))
    # Threads that spin while waiting make a fit ten times slower if another program is running. The
    # libraries read this when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from engine.bundle.schema import default_schema_path, load_schema
    from training.effort import effort_of
    from training.pipeline import FitOptions, fit
    from training.playbook.rules import load_rules

    table = load_schema(schema or default_schema_path())
    effort = effort_of(trials, minutes)
    progress = FitProgress(
        None if trials is None and minutes is not None else effort.trials, effort.minutes
    )
    options = FitOptions(
        table, seed, load_rules(playbook), effort, previous=previous, max_cost=max_cost
    )
    with progress:
        fitted = fit(data, options, out, progress.stage, progress.trial)
    say([f"bundle {fitted.manifest.bundle_id} in {out}", *_fitted_lines(fitted)])


def _fitted_lines(fitted: Any) -> Iterator[str]:  # noqa: ANN401 - imported inside the commands
    """The outcome of a fit, line by line."""
    from engine.pages.format import decimal
    from training.report.sections.trials import worth_of_exact_drivers

    manifest, evaluation = fitted.manifest, fitted.evaluation
    clustering = evaluation.fit.clustering
    left_out, silhouette = evaluation.fit.training["rows_left_out"], clustering["silhouette"]
    if left_out:
        yield f"rows left out: {rule_counts(left_out)}"
    auc, f1 = (decimal(evaluation.metrics[name], 4) for name in ("roc_auc", "f1"))
    yield f"test users: ROC-AUC {auc}, F1 {f1}"
    measured = "no silhouette" if silhouette is None else f"silhouette {decimal(silhouette)}"
    yield f"{pluralize(len(manifest.segments), 'segment')}, {measured}"
    yield evaluation.segments["sentence"]
    tried = len(evaluation.fit.search["trials"])
    yield f"{pluralize(tried, 'purchase model')} tried; --trials {tried} makes the same bundle again"
    if worth := worth_of_exact_drivers(evaluation.fit.search):
        yield worth
    yield from (f"CHECK: {caution}" for caution in evaluation.cautions)
    yield from (f"MUST NOT BE USED: {reason}" for reason in manifest.unusable)
    yield from (f"segments: {reason}" for reason in manifest.segments_unusable)
    yield from (f"segments: {change}" for change in clustering["changes"])
