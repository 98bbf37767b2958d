"""`training schema`."""

from pathlib import Path

import click

from engine.cli.console import say, show
from engine.cli.options import PLACE, command
from engine.errors import CannotCreateError, pluralize
from training.cli.checks import FIT_PACKAGES, check_packages, data_argument

FAULTS_SHOWN = 40
STDOUT = Path("-")


@command("training schema history.parquet --out schema.toml")
@data_argument
@click.option(
    "-o",
    "--out",
    type=PLACE,
    required=True,
    help="The file to write, which must not exist; '-' prints the schema instead.",
)
def schema(data: tuple[str, ...], out: Path) -> None:
    """Draft a schema.toml from any table.

    Kinds, ranges and key columns are guessed. Comments in the file give the reasons and ask what only you
    know.
    """
    check_packages(FIT_PACKAGES)
    from engine.inputs.open import input_paths
    from engine.outputs.paths import check_apart, check_creatable
    from engine.storage import SHARED_MODE, storage_errors, write_atomic
    from training.schema.draft import draft_schema

    if out != STDOUT:
        check_creatable(out)
        _check_new(out)
        check_apart([out], data, input_paths(data))
    draft = draft_schema(data)
    if draft.faults:
        say(draft.faults[:FAULTS_SHOWN])
    if len(draft.faults) > FAULTS_SHOWN:
        say([f"and {len(draft.faults) - FAULTS_SHOWN:,} more, all in the comments of the schema"])
    if out == STDOUT:
        show(draft.text.rstrip())
        return
    with storage_errors(out):
        _check_new(out)
        write_atomic(out, draft.text.encode(), SHARED_MODE)
    say(
        [
            f"draft of {pluralize(draft.features, 'feature')} in {out}, with "
            f"{pluralize(draft.notes, 'question')} for you in its comments",
            f"next, once it is edited: training fit DATA --schema {out} --out DIR",
        ]
    )


def _check_new(out: Path) -> None:
    if out.exists():
        raise CannotCreateError(
            f"{out}: exists, and may hold edits of yours. Remove it, or name another file."
        )
