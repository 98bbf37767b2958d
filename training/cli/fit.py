"""`training fit`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from engine.cli.console import Command, say
from engine.cli.options import INPUT, PLACE, example, not_nan
from engine.errors import pluralize, rule_counts
from training.cli.checks import (
    DEFAULT_SEED,
    FIT_PACKAGES,
    MAX_SEED,
    REPORT_PACKAGES,
    check_packages,
    schema_option,
)
from training.cli.progress import FitProgress


@click.command(cls=Command, epilog=example("training fit history.parquet --out candidate"))
@click.argument("data", nargs=-1, required=True, metavar="DATA...", type=INPUT)
@click.option(
    "-o", "--out", type=PLACE, required=True, help="The folder for the bundle, empty or absent."
)
@schema_option
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    metavar="N",
    default=DEFAULT_SEED,
    show_default=True,
    help="The seed of every random draw.",
)
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
    show_default="3, unless --trials is given",
    help="Start no further purchase model after M minutes.",
)
@click.option(
    "--previous",
    type=PLACE,
    help="The current bundle: segments that stay the same keep their ids and names.",
)
@click.option(
    "--playbook",
    type=PLACE,
    help="Your own playbook.toml, applied after the rules of the package.",
)
def fit(
    data: tuple[str, ...],
    out: Path,
    schema: Path | None,
    seed: int,
    trials: int | None,
    minutes: float | None,
    playbook: Path | None,
    previous: Path | None,
) -> None:
    """Fit all models to labelled users and write a bundle.

    Nothing is written unless ONNX and the native models agree on every user. The same data, seed
    and number of trials make the same bundle again.
    """
    check_packages((*FIT_PACKAGES, *REPORT_PACKAGES))
    # Threads that spin while they wait slow a fit down tenfold where another program is running;
    # the libraries read this when they are loaded.
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
        table,
        seed,
        playbook=load_rules(playbook),
        effort=effort,
        previous=previous,
    )
    with progress:
        fitted = fit(data, options, out, progress.stage, progress.trial)
    say([f"bundle {fitted.manifest.bundle_id} in {out}", *_fitted_lines(fitted)])


def _fitted_lines(fitted: Any) -> Iterator[str]:  # noqa: ANN401 - imported inside the commands
    """The outcome of a fit, line by line."""
    from training.format import decimal

    manifest, evaluation = fitted.manifest, fitted.evaluation
    clustering = evaluation.fit.clustering
    yield from _left_out(evaluation.fit.training["rows_left_out"])
    yield (
        f"test users: ROC-AUC {decimal(evaluation.metrics['roc_auc'], 4)}, "
        f"F1 {decimal(evaluation.metrics['f1'], 4)}"
    )
    yield _segments_line(len(manifest.segments), clustering["silhouette"])
    tried = len(evaluation.fit.search["trials"])
    yield f"{pluralize(tried, 'purchase model')} tried; --trials {tried} makes the same bundle again"
    yield from (f"MUST NOT BE USED: {reason}" for reason in manifest.unusable)
    yield from (f"segments: {reason}" for reason in manifest.segments_unusable)
    yield from (f"segments: {change}" for change in clustering["changes"])


def _segments_line(segments: int, silhouette: float | None) -> str:
    from training.format import decimal

    measured = "no silhouette" if silhouette is None else f"silhouette {decimal(silhouette)}"
    return f"{pluralize(segments, 'segment')}, {measured}"


def _left_out(rejected: dict[str, int]) -> list[str]:
    return [f"rows left out: {rule_counts(rejected)}"] if rejected else []
