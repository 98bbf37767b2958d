"""`training promote` and `training rollback`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from engine.cli.console import say, show
from engine.cli.options import INPUT, PLACE, command
from engine.cli.render import on_terminal, wrapped
from engine.errors import UsageError
from engine.format import table, visible
from training.cli.checks import FIT_PACKAGES, check_packages

SHOWN = {"passed": "passed", "undecided": "undecided", "refused": "REFUSED"}


def _reason(context: click.Context, option: click.Parameter, text: str) -> str:  # noqa: ARG001
    if text and not text.strip():
        raise UsageError("--accept-gain: no reason given. Say where the gain comes from.")
    return text.strip()


@command("training promote next --to onnx_models/mine --data later.parquet")
@click.argument("candidate", type=PLACE)
@click.option(
    "--to",
    "root",
    type=PLACE,
    required=True,
    help="The folder of versions; its CURRENT names the bundle in use.",
)
@click.option(
    "--data",
    multiple=True,
    type=INPUT,
    help="Labelled users, later than those of both bundles; may be given several times. Required if "
    "there is a current bundle.",
)
@click.option(
    "--accept-gain",
    metavar="REASON",
    default="",
    callback=_reason,
    help="Why figures that look too good to be true are true. Kept in the folder of versions.",
)
def promote(candidate: Path, root: Path, data: tuple[str, ...], accept_gain: str) -> None:
    """Make a candidate the current bundle if it passes every gate.

    Each gate is shown with what was measured and what is allowed. If standard output is no
    terminal, it gets the same as JSON, passed or refused.
    """
    check_packages(FIT_PACKAGES)
    from training.promote.gate import RefusedError
    from training.promote.promotion import promote

    try:
        done = promote(candidate, root, data, accept_gain)
    except RefusedError as refused:
        _show_gates(refused.report, "Nothing was changed.")
        raise
    current = f"{done.folder} is the current bundle"
    _show_gates(done.report, f"{current}; only the measurements could not be shown.")
    say([f"promoted: {current}", f"next: engine score INPUT --bundle {root} --out SCORES"])
    if done.report.get("champion"):
        say([f"undo: training rollback {root}"])


@command("training rollback onnx_models/mine")
@click.argument("root", type=PLACE)
@click.option("--version", help="The version to return to.  [default: the one before the current]")
def rollback(root: Path, version: str | None) -> None:
    """Return to an earlier bundle of a folder of versions."""
    check_packages(FIT_PACKAGES)
    from training.promote.promotion import rollback

    say([f"{rollback(root, version)} is the current bundle"])


def _show_gates(report: dict[str, Any], consequence: str) -> None:
    """Show the gates as a table and, unless standard output is a terminal, the report as JSON.

    Args:
        report: What was measured; empty if nothing was.
        consequence: What to say if standard output fails.
    """
    if report:
        rows = [(SHOWN[gate["verdict"]], gate["name"], gate["words"]) for gate in report["gates"]]
        lines = wrapped(table([tuple(map(visible, row)) for row in rows]), sys.stderr)
        say([*lines, *report["cautions"]])
        if not on_terminal(sys.stdout):
            show(json.dumps(report, indent=1, sort_keys=True), consequence)
