"""Writes a finished bundle to its folder, all or nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle, copy_bundle, write_bundle
from engine.errors import CannotCreateError
from engine.model.verify import verify
from engine.outputs.paths import check_links, check_outside_bundles, real_path
from engine.storage import storage_errors, sync_path
from training.staging import staged


def check_target(out: Path) -> None:
    """Check that a bundle can be written into a folder.

    Raises:
        CannotCreateError: It exists and is not an empty folder, or its parent does not exist.
        AccessError: It may not be read.
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
    """Write a new bundle, all or nothing.

    Args:
        out: Its folder, empty or absent.
        manifest: Everything but `files`.
        contents: The bytes of every other file, by its name.

    Returns:
        The manifest as written.

    Raises:
        EngineError: It could not be written; nothing is left behind.
    """
    with _published(out) as staging:
        return write_bundle(staging, manifest, contents)


def publish_copy(out: Path, bundle: Bundle) -> None:
    """Copy an opened bundle, byte for byte, into another folder, all or nothing.

    Raises:
        EngineError: It could not be written; nothing is left behind.
    """
    with _published(out) as staging:
        copy_bundle(staging, bundle)


@contextmanager
def _published(out: Path) -> Iterator[Path]:
    """A folder beside the target; what was written into it is verified and moved into place."""
    target = real_path(out)
    with staged(target) as folder, storage_errors(out):
        staging = folder / target.name
        yield staging
        verify(staging).refuse_failures()
        sync_folder(staging)
        # An empty folder gives way to the new one in the same step.
        staging.replace(target)
        sync_path(target.parent)


def sync_folder(folder: Path) -> None:
    """Force every file of a folder to disk, then its directories."""
    paths = sorted(folder.rglob("*"))
    for path in (*(p for p in paths if p.is_file()), *(p for p in paths if p.is_dir()), folder):
        sync_path(path)
