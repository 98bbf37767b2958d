"""A finished bundle to its folder, all or nothing."""

from collections.abc import Mapping
from pathlib import Path

from engine.bundle.manifest import Manifest
from engine.bundle.open import write_bundle
from engine.errors import CannotCreateError
from engine.model.verify import verify
from engine.outputs.paths import check_links, check_outside_bundles, real_path
from engine.storage import storage_errors, sync_path
from training.staging import staged


def check_target(out: Path) -> None:
    """Check that a bundle can be put into a folder.

    Raises:
        CannotCreateError: There is something else, or no place for it.
        AccessError: What is there may not be looked at.
        UsageError: It lies in another bundle.
    """
    check_links(out)
    with storage_errors(out):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise CannotCreateError(f"{out}: exists and is not an empty folder. Use another --out.")
        if not real_path(out).parent.is_dir():
            raise CannotCreateError(
                f"{out}: the directory {out.parent} does not exist. Make it first."
            )
    check_outside_bundles(out, is_bundle_itself=True)


def publish_bundle(out: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Write a bundle beside its folder, verify it as `engine verify` does, then move it into place.

    Raises:
        EngineError: It could not be written; nothing is left behind.
    """
    target = real_path(out)
    with staged(target) as folder, storage_errors(out):
        staging = folder / target.name
        written = write_bundle(staging, manifest, contents)
        verify(staging).refuse_failures()
        sync_folder(staging)
        # An empty folder gives way to the new one in the same step.
        staging.replace(target)
        sync_path(target.parent)
    return written


def sync_folder(folder: Path) -> None:
    """Force every file of a folder to disk, then its directories."""
    paths = sorted(folder.rglob("*"))
    for path in (*(p for p in paths if p.is_file()), *(p for p in paths if p.is_dir()), folder):
        sync_path(path)
