"""`training promote` and `training rollback`."""

import json
from pathlib import Path
from typing import Any

import click

from engine.cli.console import Command, example, say, show
from engine.format import visible
from training.cli.checks import FIT_PACKAGES, check_packages


@click.command(
    cls=Command, epilog=example("training promote next --to onnx_models/mine --data later.parquet")
)
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
    help="Labelled users, later than those of both bundles; may be left out only where there is "
    "no current bundle.",
)
def promote(candidate: Path, root: Path, data: tuple[str, ...]) -> None:
    """Make CANDIDATE the current bundle of a folder of bundles, if it passes every gate.

    Standard output gets what was measured, as JSON, whether or not the candidate is refused.
    """
    check_packages(FIT_PACKAGES)
    from training.promote.promotion import RefusedError, promote

    try:
        done = promote(candidate, root, data)
    except RefusedError as refused:
        _tell_gates(refused.report, "Nothing was changed.")
        raise
    _tell_gates(
        done.report, f"{done.folder} is the current bundle; only the report could not be shown."
    )
    say([f"current bundle: {done.folder}"])


@click.command(cls=Command, epilog=example("training rollback onnx_models/mine"))
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--version", help="By default the one before the current one.")
def rollback(root: Path, version: str | None) -> None:
    """Make an earlier bundle of the folder ROOT the current one again."""
    check_packages(FIT_PACKAGES)
    from training.promote.promotion import rollback

    say([f"current bundle: {rollback(root, version)}"])


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
