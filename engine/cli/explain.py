"""`engine explain`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.console import show_result
from engine.cli.options import bundle_option, command, inputs_argument, json_option, limit_options

if TYPE_CHECKING:
    from engine.limits import InputLimits


@command("engine explain users.parquet --user U00000001")
@inputs_argument
@click.option("--user", required=True, metavar="ID", help="The user's value in the id column.")
@bundle_option("explain")
@limit_options
@json_option
def explain(
    inputs: tuple[str, ...], user: str, bundle: Path, limits: "InputLimits", as_json: bool
) -> None:
    """Explain the score of one user.

    Shows each feature with its value, how that value compares with the other users of INPUT, and
    its impact on the score. If the user has several snapshots, the latest is explained.
    """
    from engine.explain.explanation import explain as explain_user
    from engine.explain.format import explanation_lines
    from engine.inputs.open import open_inputs
    from engine.scorer import load_bundle

    scorer = load_bundle(bundle)
    with open_inputs(inputs, scorer.columns, limits) as tables:
        explanation = explain_user(tables, scorer, user)
    show_result(explanation.to_json(), explanation_lines(explanation), as_json=as_json)
