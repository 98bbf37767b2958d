"""From a candidate to the bundle in force."""

import hashlib
import os
import shutil
from pathlib import Path

from engine.bundle import CURRENT, MANIFEST, MANIFEST_HASH, Bundle, open_bundle, write_current
from engine.errors import CannotCreateError, EngineError
from engine.sink import storage_errors
from training.publish import sync_folder, sync_path


class RefusedError(EngineError):
    """The candidate may not take the place of the bundle in force."""

    exit_code = 79


def promote(candidate: Path, root: Path) -> Path:
    """Copy a candidate into a folder of bundles and put it in force.

    Args:
        candidate: A bundle.
        root: The folder of bundles; it is made where it does not exist.

    Returns:
        The folder of the promoted bundle.

    Raises:
        RefusedError: The candidate must not be used, or another bundle is in force.
        BundleError: The candidate is missing, altered or invalid.
    """
    bundle = open_bundle(candidate)
    if bundle.manifest.unusable:
        raise RefusedError(
            f"{candidate}: must not be used: {'; '.join(bundle.manifest.unusable)}. "
            "Train again on other data."
        )
    if (root / CURRENT).exists():
        raise RefusedError(
            f"{root}: a bundle is in force ({CURRENT} is there), and comparing a candidate with "
            "it is not built yet. Promote to a folder without one."
        )
    version = bundle.manifest.bundle_id.rsplit("/", maxsplit=1)[-1]
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        _copy(bundle, root / version)
        write_current(root, version)
        sync_path(root / CURRENT)
        sync_path(root)
    return root / version


def _copy(bundle: Bundle, target: Path) -> None:
    """Copy the bytes that were checked; a folder of the same version must be the same bundle."""
    if target.exists():
        if _digest(target) != _digest(bundle.path):
            raise CannotCreateError(
                f"{target}: exists and is another bundle of the same version. Remove one of them."
            )
        open_bundle(target)
        return
    staging = target.with_name(f".{target.name}.staging-{os.getpid()}")
    try:
        names = (*bundle.contents, MANIFEST_HASH, MANIFEST)
        for name in names:
            place = staging / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(bundle.contents.get(name) or (bundle.path / name).read_bytes())
        open_bundle(staging)
        sync_folder(staging)
        staging.replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
