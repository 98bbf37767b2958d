"""`training evaluate`."""

from pathlib import Path

import click

from engine.cli.console import Command, example, show
from engine.format import visible
from training.cli.checks import FIT_PACKAGES, check_output, check_packages


@click.command(cls=Command, epilog=example("training evaluate candidate holdout.parquet"))
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
    check_packages(FIT_PACKAGES)
    from engine.bundle.evaluation import evaluation_to_json
    from engine.storage import storage_errors, write_private
    from training.evaluate.evaluation import evaluate_bundle
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
            write_private(json_path, f"{text}\n".encode())
    for line in evaluation_lines(report):
        show(visible(line))
