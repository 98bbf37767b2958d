"""`training simulate`."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from engine.cli.console import Command, say
from engine.cli.options import example, not_nan
from engine.cli.render import rows_bar
from training.cli.checks import DEFAULT_SEED, MAX_SEED

MAX_SIMULATED_ROWS = 1_000_000_000


@click.command(
    cls=Command,
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
    with rows_bar("simulating") as progress:
        rows = write_users(settings, out, progress)
    say([f"{rows:,} simulated users in {out}"])
