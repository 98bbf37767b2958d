"""`training simulate`."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from engine.cli.console import say
from engine.cli.options import INPUT, PLACE, command, not_nan
from engine.cli.render import rows_bar
from engine.errors import pluralize
from training.cli.checks import seed_option

MAX_SIMULATED_ROWS = 1_000_000_000
MAX_WEEKS = 520


@command("training simulate --with-truth --out history.parquet")
@click.option(
    "-o",
    "--out",
    type=PLACE,
    required=True,
    help="The file for the users; its ending decides the format: .parquet, .csv, .arrow, .ndjson.",
)
@click.option(
    "--rows",
    type=click.IntRange(1, MAX_SIMULATED_ROWS),
    default=240_000,
    metavar="N",
    help="How many users; with --weeks, at each date.",
)
@seed_option
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-11-22",
    metavar="DATE",
    help="The snapshot date, with --weeks the last one; season and trend follow from it.",
)
@click.option(
    "--drift",
    type=click.FloatRange(0, 100),
    callback=not_nan,
    default=0.0,
    metavar="X",
    help="Shift the users: 0 not at all, 1 clearly. Suddenly, or with --weeks step by step.",
)
@click.option(
    "--weeks",
    type=click.IntRange(1, MAX_WEEKS),
    metavar="N",
    help="N weekly snapshots of users who carry their history on; some leave, others arrive.",
)
@click.option(
    "--campaign",
    "lists",
    multiple=True,
    type=INPUT,
    help="A list of contacts from 'engine audience', which then change labels by a known effect; may "
    "be given several times.",
)
@click.option("--no-label", is_flag=True, help="Leave out the label, as in nightly data.")
@click.option(
    "--with-truth",
    is_flag=True,
    help="Add the true probability that each label is drawn from; with --campaign, also its effect.",
)
def simulate(
    out: Path,
    as_of: datetime,
    lists: tuple[str, ...],
    no_label: bool,
    with_truth: bool,
    **options: Any,  # noqa: ANN401 - passed on by name
) -> None:
    """Simulate users of ShopNow, to try everything out.

    An existing output is replaced, in one step.
    """
    from engine.inputs.open import input_paths
    from engine.outputs.paths import check_apart
    from training.simulate import SimulateOptions
    from training.simulate.campaign import NO_LISTS, read_contact_lists
    from training.simulate.write import write_users

    check_apart([out], lists, input_paths(lists))
    campaign = read_contact_lists(lists) if lists else NO_LISTS
    settings = SimulateOptions(
        as_of=as_of.date(), label=not no_label, truth=with_truth, campaign=campaign, **options
    )
    with rows_bar("simulating") as progress:
        write_users(settings, out, progress)
    dates = "" if settings.weeks is None else f" at {pluralize(settings.weeks, 'date')}"
    say([f"{settings.rows:,} simulated users{dates} in {out}"])
