"""The command line of training: parse, one call, print."""

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from engine.console import Program, TerminalProgress, example, not_nan, say, show
from engine.errors import UsageError, counted, quoted, rule_counts
from engine.texts import visible

DEFAULT_SEED = 7
MAX_SEED = 2**32 - 1
"""The largest that scikit-learn takes."""
MAX_SIMULATED_ROWS = 1_000_000_000
_FIT_PACKAGES = ("lightgbm", "onnx", "scipy", "skl2onnx", "sklearn", "threadpoolctl")
_REPORT_PACKAGES = ("altair", "jinja2", "vl_convert")


@click.group(name="training", cls=Program)
def main() -> None:
    """Make, measure and promote ONNX bundles for the engine.

    Every option can be set from the environment, for instance TRAINING_FIT_SEED=8.
    """


@main.command(
    epilog=example("training simulate --with-truth --out history.parquet"),
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the users go.")
@click.option(
    "--rows",
    type=click.IntRange(1, MAX_SIMULATED_ROWS),
    default=240_000,
    show_default=True,
    help="How many users.",
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=DEFAULT_SEED, show_default=True)
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-11-22",
    show_default=True,
    help="Snapshot date: moves the season and the slow trend.",
)
@click.option(
    "--drift",
    type=click.FloatRange(0, 100),
    callback=not_nan,
    default=0.0,
    show_default=True,
    help="A sudden shift: 0 for none, 1 for a clear one.",
)
@click.option("--no-label", is_flag=True, help="Leave the label out, as in nightly data.")
@click.option(
    "--with-truth", is_flag=True, help="Add the probability that the label is drawn from."
)
def simulate(
    out: Path,
    as_of: datetime,
    no_label: bool,
    with_truth: bool,
    **options: Any,  # noqa: ANN401 - passed on by name
) -> None:
    """Simulate ShopNow users; an existing output is replaced in one step.

    The format follows the ending of --out: .parquet, .csv, .arrow or .ndjson.
    """
    from training.simulate import SimulateOptions
    from training.simulate.write import write_users

    settings = SimulateOptions(as_of=as_of.date(), label=not no_label, truth=with_truth, **options)
    with TerminalProgress("simulated") as progress:
        rows = write_users(settings, out, progress)
    say([f"{rows:,} simulated users in {out}"])


@main.command(epilog=example("training fit history.parquet --out candidate"))
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
    help="The bundle in force: segments keep its ids and names as far as they are the same.",
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

    Nothing is written unless ONNX and the native models agree on every user. A bundle tells how
    many models were tried; --trials with that number makes the same bundle again.
    """
    _check_packages((*_FIT_PACKAGES, *_REPORT_PACKAGES))
    # Threads that spin while they wait slow a fit down tenfold where another program is running;
    # the libraries read this when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from engine.schema import default_schema_path, load_schema
    from training.fit.search import budget_of
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
    manifest = fit(data, options, out, _stages())
    say([f"bundle {manifest.bundle_id} in {out}", *_fitted(manifest)])


@main.command(epilog=example("training evaluate candidate holdout.parquet"))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Where the figures go as JSON, '-' for standard output.",
)
def evaluate(bundle: Path, data: tuple[str, ...], json_path: Path | None) -> None:
    """Measure BUNDLE on labelled users in DATA..."""
    _check_packages(_FIT_PACKAGES)
    from engine.outputs.writer import storage_errors, write_private
    from training.evaluation_text import evaluation_lines
    from training.measure import evaluate_bundle

    if json_path not in (None, Path("-")):
        _check_output(json_path, bundle, data)
    report = evaluate_bundle(bundle, data)
    text = json.dumps(report, indent=1, sort_keys=True)
    if json_path == Path("-"):
        show(text)
        return
    if json_path is not None:
        with storage_errors(json_path):
            write_private(json_path, f"{text}\n".encode())
    for line in evaluation_lines(report):
        show(visible(line))


@main.command(
    epilog=example("training report candidate holdout.parquet --out report.html --what-if what_if")
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The page, an .html.")
@click.option(
    "--what-if",
    type=click.Path(path_type=Path),
    help="A folder for a second page, in which the model itself scores the values that you set.",
)
def report(bundle: Path, data: tuple[str, ...], out: Path, what_if: Path | None) -> None:
    """Measure BUNDLE on labelled users in DATA... and write one HTML page for people.

    The pages hold aggregates only and ask for nothing else. An earlier report is replaced,
    any other file is left and refused.
    """
    _check_packages((*_FIT_PACKAGES, *_REPORT_PACKAGES))
    from engine.bundle import open_bundle
    from engine.outputs.writer import storage_errors, write_shared
    from training.measure import evaluate_bundle
    from training.report.page import report_html
    from training.report.place import check_place
    from training.report.subject import measured_subject

    _check_output(out, bundle, data)
    with storage_errors(out):
        check_place(out)
    if what_if is not None:
        _check_what_if(what_if, bundle, data)
    opened = open_bundle(bundle)
    subject = measured_subject(opened, evaluate_bundle(bundle, data))
    page = report_html(subject).encode()
    second = None if what_if is None else _what_if_files(opened, subject, data)
    with storage_errors(out):
        # Measuring takes minutes.
        check_place(out)
        write_shared(out, page)
    say([f"report on {subject.manifest.bundle_id} in {out}"])
    if what_if is not None and second is not None:
        _write_what_if(what_if, second)


@main.command(epilog=example("training promote next --to onnx_models/mine --data later.parquet"))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "root",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of bundles, with CURRENT.",
)
@click.option(
    "--data",
    multiple=True,
    help="Labelled users, later than those of both bundles; may be left out only where no bundle is "
    "in force.",
)
def promote(candidate: Path, root: Path, data: tuple[str, ...]) -> None:
    """Put CANDIDATE in force in a folder of bundles, if it passes every gate.

    Standard output gets what was measured, as JSON, whether or not the candidate is refused.
    """
    _check_packages(_FIT_PACKAGES)
    from training.promotion import RefusedError, promote

    try:
        done = promote(candidate, root, data)
    except RefusedError as refused:
        _tell_gates(refused.report, "Nothing was changed.")
        raise
    _tell_gates(
        done.report, f"{done.place} is in force; only what was measured could not be shown."
    )
    say([f"in force: {done.place}"])


@main.command(epilog=example("training rollback onnx_models/mine"))
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--version", help="By default the one before the present one was promoted.")
def rollback(root: Path, version: str | None) -> None:
    """Put an earlier bundle of the folder ROOT in force again."""
    _check_packages(_FIT_PACKAGES)
    from training.promotion import rollback

    say([f"in force: {rollback(root, version)}"])


@main.command(epilog=example("training backtest scores_mine.parquet --outcomes holdout.parquet"))
@click.argument("scores", nargs=-1, required=True)
@click.option(
    "--outcomes",
    multiple=True,
    required=True,
    help="Users with the label, under the id and snapshot date that were scored.",
)
@click.option(
    "--schema",
    type=click.Path(path_type=Path),
    help="The table, a schema.toml; by default that of ShopNow.",
)
def backtest(scores: tuple[str, ...], outcomes: tuple[str, ...], schema: Path | None) -> None:
    """Tell how past SCORES... did against what happened."""
    _check_packages(_FIT_PACKAGES)
    from engine.schema import default_schema_path, load_schema
    from training.backtest.figures import backtest
    from training.backtest.text import backtest_lines

    table = load_schema(schema or default_schema_path())
    for line in backtest_lines(backtest(scores, outcomes, table)):
        show(visible(line))


def _check_output(out: Path, bundle: Path, data: tuple[str, ...]) -> None:
    from engine.inputs.opening import input_paths
    from engine.outputs.places import check_apart, check_links, check_outside_bundles

    check_links(out)
    check_apart([out], data, input_paths(data))
    check_outside_bundles(out, bundle)


def _check_what_if(folder: Path, bundle: Path, data: tuple[str, ...]) -> None:
    from engine.outputs.writer import storage_errors
    from training.what_if.folder import check_folder
    from training.what_if.page import PAGE

    _check_output(folder / PAGE, bundle, data)
    with storage_errors(folder):
        check_folder(folder)


def _what_if_files(bundle: Any, subject: Any, data: tuple[str, ...]) -> dict[str, bytes]:  # noqa: ANN401
    from training.what_if.page import what_if_files
    from training.what_if.typical import usual_users

    return what_if_files(bundle, subject, usual_users(bundle, data))


def _write_what_if(folder: Path, contents: dict[str, bytes]) -> None:
    from training.what_if.folder import write_folder
    from training.what_if.page import PAGE

    write_folder(folder, contents)
    say([f"what-if page in {folder / PAGE}"])


def _check_packages(packages: tuple[str, ...]) -> None:
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{quoted(absent)} not installed: this command needs the training packages. "
            "In a clone of the project run: pip install '.[training]'"
        )


def _tell_gates(report: dict[str, Any], consequence: str) -> None:
    """The gates in words, and the whole report for machines; nothing where nothing was measured.

    Args:
        report: What was measured.
        consequence: What to say where standard output is full or failing.
    """
    if report:
        for gate in report["gates"]:
            verdict = "passed " if gate["passed"] else "REFUSED"
            say([visible(f"{verdict} {gate['name']}: {gate['words']}")])
        show(json.dumps(report, indent=1, sort_keys=True), consequence)


def _fitted(manifest: Any) -> Iterator[str]:  # noqa: ANN401 - imported inside the commands
    """What a fit has come to, line by line."""
    from training.words import decimal

    yield from _left_out(manifest.training["rows_left_out"])
    yield (
        f"test users: ROC-AUC {decimal(manifest.metrics['roc_auc'], 4)}, "
        f"F1 {decimal(manifest.metrics['f1'], 4)}"
    )
    yield _segments_line(manifest)
    tried = len(manifest.training["classifier"]["trials"])
    yield f"{counted(tried, 'purchase model')} tried; --trials {tried} makes the same bundle again"
    yield from (f"MUST NOT BE USED: {reason}" for reason in manifest.unusable)
    yield from (f"segments: {reason}" for reason in manifest.clustering["reasons"])
    yield from (f"segments: {change}" for change in manifest.clustering["changes"])


def _segments_line(manifest: Any) -> str:  # noqa: ANN401
    from training.words import decimal

    found, silhouette = (
        counted(len(manifest.segments), "segment"),
        manifest.clustering["silhouette"],
    )
    return f"{found}, " + (
        "no silhouette" if silhouette is None else f"silhouette {decimal(silhouette)}"
    )


def _left_out(rejected: dict[str, int]) -> list[str]:
    return [f"rows left out: {rule_counts(rejected)}"] if rejected else []


def _stages() -> Any:  # noqa: ANN401
    """Tells each stage on a terminal, with the seconds since the start."""
    started = time.monotonic()

    def tell(stage: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"{time.monotonic() - started:6.1f} s  {stage}", err=True)

    return tell
