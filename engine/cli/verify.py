"""`engine verify`."""

from pathlib import Path

import click

from engine.cli.console import show, show_result
from engine.cli.options import PLACE, bundle_argument, command, json_option


@command("engine verify")
@bundle_argument
@click.option("--key", type=PLACE, help="Also check that the holder of this public key signed it.")
@json_option
def verify(bundle: Path, key: Path | None, as_json: bool) -> None:
    """Check that a bundle is intact and computes correctly here.

    Compares all hashes, the operators of the graphs, and the results of every conformance row on
    this machine. BUNDLE is a bundle, or a folder of versions with CURRENT, by default
    onnx_models/shopnow. Environment: ENGINE_BUNDLE.
    """
    from engine.model.verify import verify as verify_bundle

    verification = verify_bundle(bundle, key)
    show_result(verification.to_json(), verification.to_lines(), as_json=as_json)
    verification.refuse_failures()
    if not as_json:
        show("passed: the bundle is intact and computes correctly on this machine")
