"""`training backtest`."""

from pathlib import Path

import click

from engine.cli.console import show_lines
from engine.cli.options import INPUT, command
from training.cli.checks import FIT_PACKAGES, check_packages, schema_option


@command("training backtest scores_mine.parquet --outcomes holdout.parquet")
@click.argument("scores", nargs=-1, required=True, metavar="SCORES...", type=INPUT)
@click.option(
    "--outcomes",
    multiple=True,
    required=True,
    type=INPUT,
    help="Labelled users with the same ids and snapshot dates; may be given several times.",
)
@schema_option
def backtest(scores: tuple[str, ...], outcomes: tuple[str, ...], schema: Path | None) -> None:
    """Compare past scores with what users did.

    SCORES are files written by 'engine score'.
    """
    check_packages(FIT_PACKAGES)
    from engine.bundle.schema import default_schema_path, load_schema
    from engine.pages.text import section_lines
    from training.backtest.figures import backtest
    from training.report.sections.backtest import backtest_sections

    table = load_schema(schema or default_schema_path())
    show_lines(section_lines(backtest_sections(backtest(scores, outcomes, table))))
