"""Writes a bundle as the folder of a model server, all or nothing."""

from pathlib import Path
from typing import Literal

from engine.bundle.open import open_bundle
from engine.model.verify import verify
from training.export.servers.mlflow_model import write_mlflow_model
from training.export.servers.triton import write_triton_repository
from training.staging import check_target, published

Server = Literal["mlflow", "triton"]

_WRITERS = {"mlflow": write_mlflow_model, "triton": write_triton_repository}


def export_bundle(bundle: Path, server: Server, out: Path) -> str:
    """Write a bundle as a folder that a model server loads.

    Args:
        bundle: A bundle, or a folder of versions with `CURRENT`.
        server: Which server.
        out: The folder, empty or absent.

    Returns:
        The id of the bundle.

    Raises:
        EngineError: The bundle is invalid, its results differ on this machine, or the folder could not
            be written; nothing is left behind.
    """
    check_target(out, is_bundle=False)
    verify(bundle).refuse_failures()
    opened = open_bundle(bundle)
    with published(out) as folder:
        _WRITERS[server](folder, opened)
    return opened.manifest.bundle_id
