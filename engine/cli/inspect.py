"""`engine inspect`."""

import json
from pathlib import Path

import click

from engine.cli.console import show, show_lines
from engine.cli.options import bundle_argument, command, json_option


@command("engine inspect")
@bundle_argument
@click.option("--full", is_flag=True, help="Show everything: features, playbook, files, hashes.")
@json_option
def inspect(bundle: Path, full: bool, as_json: bool) -> None:
    """Describe a bundle: how good it is and what drives it.

    BUNDLE is a bundle, or a folder of versions with CURRENT, by default onnx_models/shopnow.
    Environment: ENGINE_BUNDLE. JSON is the manifest and the evaluation.
    """
    from engine.bundle.evaluation import read_evaluation
    from engine.bundle.open import EVALUATION, MANIFEST, open_bundle
    from engine.bundle.playbook import playbook_rows
    from engine.explain.inspect import full_lines, overview_lines, playbook_lines

    opened = open_bundle(bundle)
    evaluation = read_evaluation(opened)
    if as_json:
        manifest, measured = (json.loads(opened.contents[name]) for name in (MANIFEST, EVALUATION))
        show(json.dumps({**manifest, "evaluation": measured}, ensure_ascii=False))
    elif full:
        show_lines(
            [
                *full_lines(opened.manifest, evaluation),
                *playbook_lines(playbook_rows(opened), opened.manifest),
            ]
        )
    else:
        show_lines(overview_lines(opened.manifest, evaluation))
