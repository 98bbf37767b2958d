"""`engine drift`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.console import show_result
from engine.cli.options import bundle_option, command, inputs_argument, json_option, limit_options

if TYPE_CHECKING:
    from engine.limits import InputLimits


@command("engine drift users.parquet")
@inputs_argument
@bundle_option("drift")
@limit_options
@json_option
def drift(inputs: tuple[str, ...], bundle: Path, limits: "InputLimits", as_json: bool) -> None:
    """Compare the users of an input with the training users.

    Shows the population stability index (PSI) of the score, the segments and every feature, largest
    first: 0.10 is a moderate shift, 0.25 an alarm. Measured on a sample of up to 30,000 users,
    spread evenly over the input. Rows that cannot be scored are left out.
    """
    from engine.explain.format import drift_lines
    from engine.pipeline import input_drift

    report = input_drift(inputs, bundle, limits)
    show_result(json.dumps(report, ensure_ascii=False), drift_lines(report), as_json=as_json)
