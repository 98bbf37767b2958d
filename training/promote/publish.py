"""Writes a finished bundle to its folder, all or nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle, copy_bundle, write_bundle
from engine.model.verify import verify
from training.staging import published


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
    with _verified(out) as staging:
        return write_bundle(staging, manifest, contents)


def publish_copy(out: Path, bundle: Bundle) -> None:
    """Copy an opened bundle, byte for byte, into another folder, all or nothing.

    Raises:
        EngineError: It could not be written; nothing is left behind.
    """
    with _verified(out) as staging:
        copy_bundle(staging, bundle)


@contextmanager
def _verified(out: Path) -> Iterator[Path]:
    """A folder to write a bundle into, which is verified before it is published."""
    with published(out) as staging:
        yield staging
        verify(staging).refuse_failures()
