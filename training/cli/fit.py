"""`training fit`."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from engine.cli.console import Command, example, not_nan, say
from engine.errors import pluralize, rule_counts
from training.cli.checks import (
    DEFAULT_SEED,
    FIT_PACKAGES,
    MAX_SEED,
    REPORT_PACKAGES,
    check_packages,
)


@click.command(cls=Command, epilog=example("training fit history.parquet --out candidate"))
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The bundle: an empty folder."
)
@click.option(
    "--schema",
    type=click.Path(path_type=Path),
    help="The table, a schema.toml; by default that of ShopNow.",
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=DEFAULT_SEED, show_default=True)
@click.option(
    "--playbook",
    type=click.Path(path_type=Path),
    help="Rules of your own, a playbook.toml: read after those of the package.",
)
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    help="The current bundle: segments keep its ids and names as far as they are the same.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help="How many purchase models are tried, whatever time they take.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    callback=not_nan,
    help="No purchase model is tried after so many; the one under way is finished. Without this and "
    "without --trials: 12 models, in at most 3 minutes.",
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
    """Fit the models to labelled users in DATA... and write a bundle.

    Nothing is written unless ONNX and the native models agree on every user. A bundle records how
    many models were tried; --trials with that number makes the same bundle again.
    """
    check_packages((*FIT_PACKAGES, *REPORT_PACKAGES))
    # Threads that spin while they wait slow a fit down tenfold where another program is running;
    # the libraries read this when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from engine.bundle.schema import default_schema_path, load_schema
    from training.model.search import budget_of
    from training.pipeline import FitOptions, fit
    from training.playbook import load_rules

    table = load_schema(schema or default_schema_path())
    options = FitOptions(
        table,
        seed,
        playbook=load_rules(playbook),
        budget=budget_of(trials, minutes),
        previous=previous,
    )
    fitted = fit(data, options, out, _stages())
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


def _stages() -> Callable[[str], None]:
    """Tells each stage, with the seconds since the start."""
    started = time.monotonic()

    def tell(stage: str) -> None:
        say([f"{time.monotonic() - started:6.1f} s  {stage}"])

    return tell
