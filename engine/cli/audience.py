"""`engine audience`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from engine.cli.console import say, show
from engine.cli.options import PLACE, command, destination, inputs_argument, limit_options


def _pairs(example: str) -> Callable[[click.Context, click.Parameter, Any], dict[str, str]]:
    """Reads `name=value` pairs, given together with commas or one by one."""

    def read(_context: click.Context, option: click.Parameter, given: Any) -> dict[str, str]:  # noqa: ANN401
        texts = [text for each in given for text in each.split(",")]
        parts = [text.partition("=") for text in texts]
        names = [name for name, _, _ in parts]
        if not all(name and value for name, _, value in parts) or len(set(names)) < len(names):
            raise click.BadParameter(f"expected different names, as in {example}", param=option)
        return {name: value for name, _, value in parts}

    return read


def _shares(context: click.Context, option: click.Parameter, given: Any) -> dict[str, float]:  # noqa: ANN401
    pairs = _pairs("offer=0.5,reminder=0.5")(context, option, given)
    try:
        return {name: float(share) for name, share in pairs.items()}
    except ValueError:
        raise click.BadParameter("a share is not a number", param=option) from None


@command("engine audience scores.parquet --out list.csv --band high --top 20000")
@inputs_argument
@click.option(
    "-o",
    "--out",
    type=PLACE,
    help="The file for the list; its ending decides the format: .csv, .csv.gz, .parquet, .arrow, .ndjson.",
)
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "replace", "skip"]),
    default="fail",
    help="What to do if the list exists.",
)
@click.option(
    "--segment", "segments", multiple=True, metavar="NAME", help="Users of this segment, or id."
)
@click.option("--band", "bands", multiple=True, metavar="BAND", help="Users of this band.")
@click.option(
    "--min-probability", type=float, metavar="P", help="Users with at least this probability."
)
@click.option("--top", type=int, metavar="N", help="At most N users, those of the highest rank.")
@click.option("--share", type=float, metavar="P", help="At most this share of the users who pass.")
@click.option("--budget", type=float, metavar="MONEY", help="As many users as this pays for.")
@click.option("--cost", type=float, metavar="C", help="The cost of one contact.")
@click.option(
    "--by",
    type=click.Choice(["probability", "profit"]),
    default="probability",
    help="Rank by probability, or by probability × margin × order value − cost from the playbook.",
)
@click.option(
    "--bundle",
    type=PLACE,
    envvar=["ENGINE_AUDIENCE_BUNDLE", "ENGINE_BUNDLE"],
    help="The bundle that made the scores; needed by --by profit.",
)
@click.option("--campaign", metavar="NAME", help="The name of the campaign.")
@click.option(
    "--arms",
    multiple=True,
    callback=_shares,
    metavar="NAME=SHARE,...",
    help="Draw users into these arms; shares sum to 1.",
)
@click.option("--include-control", is_flag=True, help="Add the control group as the arm 'control'.")
@click.option(
    "--columns", metavar="NAME,...", help="The columns of the list; 'id' is the id column."
)
@click.option(
    "--rename",
    "renames",
    multiple=True,
    callback=_pairs("id=external_id"),
    metavar="OLD=NEW,...",
    help="Rename columns.",
)
@click.option(
    "--template", metavar="SENDER", help="The columns of a sender: braze, klaviyo or google-ads."
)
@click.option("--suppress", multiple=True, metavar="FILE", help="Leave out the ids in this file.")
@click.option(
    "--csv-for-spreadsheets",
    is_flag=True,
    help="In CSV, put an apostrophe before text that a spreadsheet would run as a formula.",
)
@click.option("--table", metavar="TABLE", help="Write to this database table instead of --out.")
@click.option(
    "--target-env",
    metavar="NAME",
    help="The environment variable with the database URI of --table.",
)
@limit_options
@click.option("--json", "as_json", is_flag=True, help="Print the campaign file.")
def audience(
    inputs: tuple[str, ...],
    out: Path | None,
    table: str | None,
    target_env: str | None,
    columns: str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - passed on by name
) -> None:
    """Make a list of users to contact from score files.

    The control group and suppressed users are left out. Beside the list, <list>.campaign.json says how
    it was made and what it may win at most. Both are published whole or not at all.
    """
    from engine.activate.audience import make_audience
    from engine.activate.columns import TABLE_MARKS
    from engine.activate.options import AudienceOptions

    target = destination(out, table, target_env, TABLE_MARKS)
    settings = AudienceOptions(columns=tuple(columns.split(",")) if columns else (), **options)
    made = make_audience(inputs, target, settings)
    if made is None:
        say(["the list exists and was kept"])
        return
    say(made.to_lines())
    if as_json:
        show(made.campaign.to_json().rstrip(b"\n"), "The list of this run is published.")
