"""`training evaluate`."""

from pathlib import Path

import click

from engine.cli.console import show, show_lines
from engine.cli.options import PLACE, command
from training.cli.checks import FIT_PACKAGES, check_output, check_packages, data_argument


@command("training evaluate candidate holdout.parquet")
@click.argument("bundle", type=PLACE)
@data_argument
@click.option(
    "--json",
    "json_path",
    type=PLACE,
    help="Also write all metrics as JSON to this file; '-' prints the JSON instead.",
)
def evaluate(bundle: Path, data: tuple[str, ...], json_path: Path | None) -> None:
    """Measure a bundle on labelled users."""
    check_packages(FIT_PACKAGES)
    from engine.bundle.evaluation import evaluation_to_json
    from engine.bundle.open import open_bundle
    from engine.storage import storage_errors, write_atomic
    from training.evaluate.evaluation import evaluate_bundle
    from training.report.subject import measured_subject
    from training.report.text import evaluation_lines

    if json_path not in (None, Path("-")):
        check_output(json_path, bundle, data)
    report = evaluate_bundle(bundle, data)
    text = evaluation_to_json(report).decode().rstrip()
    if json_path == Path("-"):
        show(text)
        return
    if json_path is not None:
        with storage_errors(json_path):
            write_atomic(json_path, f"{text}\n".encode())
    show_lines(evaluation_lines(measured_subject(open_bundle(bundle), report)))
