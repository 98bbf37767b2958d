"""The versions in a folder of bundles: the current one, the one before it, and the switch.

`CURRENT` names the current version. `HISTORY` has a line `<version> <version before>` for every
promotion over another bundle, the latest last. So a rollback does not depend on clocks or on other
files in the folder. `<version>.promotion.json` keeps what was measured when a version was promoted.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.bundle.documents import parse_json, to_json
from engine.bundle.files import MANIFEST_LIMIT_BYTES, TEXT_LIMIT_BYTES, read_file
from engine.bundle.open import (
    CURRENT,
    MANIFEST,
    Bundle,
    open_bundle,
    write_current,
)
from engine.errors import BundleError, UsageError, pluralize, quoted
from engine.outputs.paths import check_links, check_outside_bundles
from engine.storage import SHARED_MODE, storage_errors, write_atomic

HISTORY = "HISTORY"
HISTORY_LIMIT_BYTES = RECORD_LIMIT_BYTES = 16_000_000
RECORD = ".promotion.json"
"""The ending of the file, beside a version, with what was measured when it was promoted."""


def check_root(root: Path) -> None:
    """Check that a folder can hold bundles. A bundle cannot: another file would make it invalid.

    Raises:
        UsageError: The folder is a bundle, or lies in one.
        CannotCreateError: Its links lead in a circle.
    """
    check_links(root)
    if os.path.lexists(root / MANIFEST):
        raise UsageError(
            f"{root}: is a bundle, whose files must stay as they are. Give the folder that holds the "
            "bundles, or a new one."
        )
    check_outside_bundles(root, is_bundle_itself=True)


def current_bundle(root: Path) -> Bundle | None:
    """The current bundle of a folder of bundles, all hashes checked; None if there is none.

    Raises:
        BundleError: It is named, but missing, altered or invalid.
    """
    return open_bundle(root) if _exists(root / CURRENT) else None


def check_new(root: Path, version: str) -> None:
    """Check that a folder without `CURRENT` never had one, as a first bundle is compared with none.

    A version whose promotion was interrupted may be promoted again. A folder whose name is not the
    version of its bundle, such as a candidate that waits there, was never promoted.

    Raises:
        BundleError: It holds other versions than the one to promote.
    """
    with storage_errors(root):
        present = {path.parent.name for path in root.glob(f"*/{MANIFEST}") if _is_version(path)}
        recorded = {path.name.removesuffix(RECORD) for path in root.glob(f"*{RECORD}")}
    promoted = [words[0] for line in _history(root).splitlines() if len(words := line.split()) == 2]
    others = sorted((present | recorded | set(promoted)) - {version})
    if not others:
        return
    restorable = [name for name in (*sorted(present), *promoted) if name in present]
    remedy = (
        f"Restore it: training rollback {root} --version {restorable[-1]}"
        if restorable
        else "Restore the folders of these versions, or give a new folder"
    )
    raise BundleError(
        f"{root}: {CURRENT} is missing, but there was {pluralize(len(others), 'version')} before: "
        f"{quoted(others)}. {remedy}"
    )


def write_record(root: Path, version: str, record: Mapping[str, Any]) -> None:
    """Keep what was measured of a version before it becomes the current one."""
    write_atomic(root / f"{version}{RECORD}", to_json({"version": version, **record}), SHARED_MODE)


def accepted_before(root: Path, version: str) -> str:
    """The reason for a gain with which a version was promoted earlier; "" if there is none.

    Raises:
        BundleError: The record cannot be read.
    """
    text = _text(root, f"{version}{RECORD}", RECORD_LIMIT_BYTES)
    try:
        reason = parse_json(text.encode())["accepted_gain"] if text else ""
    except (ValueError, KeyError, TypeError):
        return ""
    return reason if isinstance(reason, str) else ""


def current_version(root: Path) -> str:
    """The version that `CURRENT` names, whether or not that bundle is intact.

    Raises:
        BundleError: It names none.
    """
    words = _text(root, CURRENT, TEXT_LIMIT_BYTES).split()
    if not words:
        raise BundleError(
            f"{root / CURRENT}: names no current bundle. Name a version with --version."
        )
    return words[0]


def version_of(bundle: Bundle) -> str:
    """The name of its folder among the versions."""
    return bundle.manifest.bundle_id.rsplit("/", maxsplit=1)[-1]


def make_current(root: Path, version: str, before: str | None) -> None:
    """Record what a version follows, then make it the current one in one atomic step.

    Args:
        root: The folder of bundles.
        version: A bundle in it that was opened and found sound.
        before: The current version until now; None if there was none.
    """
    if before is not None:
        history = _history(root) + f"{version} {before}\n"
        # The whole file in one step: a torn line would hide where a rollback leads.
        write_atomic(root / HISTORY, history.encode(), SHARED_MODE)
    write_current(root, version)


def version_before(root: Path, version: str) -> str:
    """The version that was current when a version was last promoted.

    Raises:
        BundleError: None is known.
    """
    lines = [line.split() for line in _history(root).splitlines()]
    found = [words[1] for words in lines if len(words) == 2 and words[0] == version]
    if not found:
        raise BundleError(
            f"{root}: {HISTORY} knows of no version before {version!r}. Name one with --version."
        )
    return found[-1]


def _is_version(manifest: Path) -> bool:
    """Whether the bundle of a manifest is the version that its folder is named for."""
    try:
        found = parse_json(read_file(manifest.parent, MANIFEST, MANIFEST_LIMIT_BYTES))["bundle_id"]
    except (BundleError, ValueError, KeyError, TypeError):
        return False
    return str(found).rsplit("/", maxsplit=1)[-1] == manifest.parent.name


def _history(root: Path) -> str:
    return _text(root, HISTORY, HISTORY_LIMIT_BYTES)


def _text(root: Path, name: str, limit_bytes: int) -> str:
    """The text of a file; empty if there is none."""
    if not _exists(root / name):
        return ""
    content = read_file(root, name, limit_bytes, remedy="Name a version with --version.")
    return content.decode("utf-8", "replace")


def _exists(path: Path) -> bool:
    """Whether anything has that name; a dangling link counts."""
    with storage_errors(path):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True
