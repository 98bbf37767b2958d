"""`training backtest`."""

from pathlib import Path

import click

from engine.cli.console import Command, show
from engine.cli.options import example
from engine.format import visible
from training.cli.checks import FIT_PACKAGES, check_packages


@click.command(
    cls=Command, epilog=example("training backtest scores_mine.parquet --outcomes holdout.parquet")
)
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
    """Compare past SCORES... with what happened."""
    check_packages(FIT_PACKAGES)
    from engine.bundle.schema import default_schema_path, load_schema
    from training.backtest.figures import backtest
    from training.report.sections.backtest import backtest_sections
    from training.report.text import section_lines

    table = load_schema(schema or default_schema_path())
    for line in section_lines(backtest_sections(backtest(scores, outcomes, table))):
        show(visible(line))
