"""`training export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.console import say
from engine.cli.options import PLACE, check_packages, command

if TYPE_CHECKING:
    from training.export.servers.export import Server

_PACKAGES = {"mlflow": ("mlflow", "onnx", "pandas", "pyarrow"), "triton": ()}
_NEXT = {
    "mlflow": "mlflow models serve --model-uri {} --env-manager local",
    "triton": "mlserver start {}, or tritonserver --model-repository {}",
}


@command("training export onnx_models/mine --to triton --out served")
@click.argument("bundle", type=PLACE)
@click.option(
    "--to",
    "server",
    type=click.Choice(list(_PACKAGES)),
    required=True,
    help="mlflow: a model that answers with the columns of the score file. triton: a model repository "
    "with the graph scorer.onnx.",
)
@click.option(
    "-o", "--out", type=PLACE, required=True, help="The folder to write, empty or absent."
)
def export(bundle: Path, server: "Server", out: Path) -> None:
    """Write a bundle as a folder that a model server loads.

    The bundle is verified first. --to mlflow needs the extra [mlflow].
    """
    check_packages(_PACKAGES[server], server)
    # NOTE: MLflow reports usage to its vendor unless this is set before it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from training.export.servers.export import export_bundle

    bundle_id = export_bundle(bundle, server, out)
    say([f"{bundle_id} in {out}", f"next: {_NEXT[server].replace('{}', str(out))}"])
