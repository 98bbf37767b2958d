"""`training backtest`."""

import json
from functools import partial
from pathlib import Path

import click

from engine.cli.console import say, show_result
from engine.cli.options import INPUT, PLACE, command, json_option
from engine.errors import UsageError
from training.cli.checks import (
    FIT_PACKAGES,
    REPORT_PACKAGES,
    check_output,
    check_packages,
    schema_option,
)


@command("training backtest scores_mine.parquet --outcomes holdout.parquet")
@click.argument("scores", nargs=-1, required=True, metavar="SCORES...", type=INPUT)
@click.option(
    "--outcomes",
    multiple=True,
    required=True,
    type=INPUT,
    help="Labelled users with the same ids and snapshot dates; may be given several times.",
)
@click.option(
    "--contacted",
    multiple=True,
    type=INPUT,
    help="A contact log with the id, date, campaign and arm; the arm 'control' was left out, or the file "
    "of 'engine audience' lies beside it. May be given several times.",
)
@click.option(
    "--value",
    metavar="COLUMN",
    help="The column of the outcomes with what a user spent: effects on it are measured too.",
)
@click.option(
    "--playbook",
    type=PLACE,
    help="Your current playbook: its [economics] turn effects into profit, and its rules stay.",
)
@click.option(
    "--cost",
    multiple=True,
    type=(str, float),
    metavar="ARM AMOUNT",
    help="The cost of one contact in an arm that is not named as a channel in [economics].",
)
@click.option(
    "--playbook-out",
    type=PLACE,
    help="Write the next playbook: in each segment and band the contact that gained most, or none.",
)
@click.option("--report", type=PLACE, help="Also write the result to this .html file.")
@json_option
@schema_option
def backtest(
    scores: tuple[str, ...],
    outcomes: tuple[str, ...],
    contacted: tuple[str, ...],
    value: str | None,
    playbook: Path | None,
    cost: tuple[tuple[str, float], ...],
    playbook_out: Path | None,
    report: Path | None,
    schema: Path | None,
    as_json: bool,
) -> None:
    """Compare past scores with what users did, and contacted users with the control group.

    SCORES are files written by 'engine score', those from which contacts were chosen.
    """
    check_packages((*FIT_PACKAGES, *REPORT_PACKAGES) if report else FIT_PACKAGES)
    from engine.bundle.schema import default_schema_path, load_schema
    from engine.pages.place import check_place
    from engine.pages.text import section_lines
    from engine.storage import SHARED_MODE, storage_errors, write_atomic
    from training.backtest.figures import backtest
    from training.backtest.money import read_money
    from training.backtest.next_playbook import check_replaceable, playbook_toml
    from training.report.backtest import GENERATOR, backtest_html
    from training.report.sections.backtest import backtest_sections

    of_log = {
        "--value": value,
        "--playbook": playbook,
        "--cost": cost,
        "--playbook-out": playbook_out,
    }
    if not contacted and (given := [name for name, option in of_log.items() if option]):
        raise UsageError(f"{given[0]}: needs a contact log. Add --contacted LOG.")
    if len(dict(cost)) < len(cost):
        raise UsageError("--cost: an arm more than once. Give each arm one cost.")
    for out, check in (
        (report, partial(check_place, generator=GENERATOR)),
        (playbook_out, check_replaceable),
    ):
        if out is not None:
            check_output(out, None, (*scores, *outcomes, *contacted))
            with storage_errors(out):
                check(out)
    money = read_money(playbook, value, dict(cost))
    table = load_schema(schema or default_schema_path())
    found = backtest(scores, outcomes, table, contacted, money)
    sections = backtest_sections(found)
    show_result(
        json.dumps(found, ensure_ascii=False, allow_nan=False),
        section_lines(sections),
        as_json=as_json,
    )
    outputs: dict[Path, str] = {}
    if report is not None:
        bundles = [bundle["bundle_id"] for bundle in found["bundles"]]
        outputs[report] = backtest_html(sections, bundles)
    if playbook_out is not None:
        outputs[playbook_out] = playbook_toml(found["policy"], money, playbook)
    for out, text in outputs.items():
        with storage_errors(out):
            write_atomic(out, text.encode(), SHARED_MODE)
        say([f"written: {out}"])
