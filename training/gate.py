"""From a candidate to the bundle in force."""

import hashlib
from pathlib import Path

from engine.bundle import CURRENT, MANIFEST, Bundle, open_bundle, write_current
from engine.errors import CannotCreateError, EngineError
from engine.writer import storage_errors
from training.publish import publish_bundle


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
    return root / version


def _copy(bundle: Bundle, target: Path) -> None:
    """Publish what was checked; a folder of the same version must be the same bundle."""
    if not target.exists():
        publish_bundle(target, bundle.manifest, bundle.contents)
    elif _digest(target) != _digest(bundle.path):
        raise CannotCreateError(
            f"{target}: exists and is another bundle of the same version. Remove one of them."
        )
    else:
        open_bundle(target)


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
