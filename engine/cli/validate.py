"""`engine validate`."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.console import show_result
from engine.cli.options import (
    bundle_option,
    command,
    inputs_argument,
    json_option,
    limit_options,
    max_reject_share_option,
)
from engine.cli.render import rows_bar
from engine.errors import InputError

if TYPE_CHECKING:
    from engine.limits import InputLimits


@command("engine validate users.parquet")
@inputs_argument
@bundle_option("validate")
@max_reject_share_option
@limit_options
@json_option
def validate(
    inputs: tuple[str, ...],
    bundle: Path,
    max_reject_share: float,
    limits: "InputLimits",
    as_json: bool,
) -> None:
    """Check an input: which rows can be scored, which cannot, and why.

    Nothing is scored or written. Exit code 65 means that 'engine score' would publish nothing.
    """
    from engine.explain.validate import validate_input

    with rows_bar("checking") as progress:
        found = validate_input(inputs, bundle, max_reject_share, limits, progress)
    show_result(found.to_json(), found.to_lines(), as_json=as_json)
    if found.refusal is not None:
        raise InputError(found.refusal)
