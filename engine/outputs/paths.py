"""The paths of a run's outputs, and checks that they can be written."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from engine.bundle.open import holds_bundles, is_bundle
from engine.errors import CannotCreateError, EngineError, UsageError, quoted
from engine.inputs.partitions import is_passed_over, without_partitions
from engine.outputs.writer import ending, output_format
from engine.storage import check_no_device, move, storage_errors

STANDING_SECONDS = 0.5
"""How long a failed run waits to learn which scores its destination holds."""


class Destination(Protocol):
    """A place where scores appear in one step: a file, or a table of a database or a lakehouse."""

    @property
    def path(self) -> Path:
        """The file; for a table, its folder or its name in the working directory.

        Lock, staging, quarantine and summary are named after it.
        """

    @property
    def label(self) -> str:
        """The name of the destination in messages and in the summary."""

    @property
    def suffix(self) -> str:
        """The ending of the staged scores, which decides their format."""

    @property
    def is_file(self) -> bool:
        """Whether the scores are one file, so that the SHA-256 in a summary says if it is theirs."""

    @property
    def holds_nul(self) -> bool:
        """Whether its texts may hold the character NUL."""

    def exists(self, limit_seconds: float | None = None) -> bool:
        """Whether the destination exists; a database has `limit_seconds` to answer.

        Raises:
            EngineError: The database does not answer.
        """

    def check(self, *, replace: bool) -> None:
        """Check that scores can be published here.

        Raises:
            CannotCreateError: The destination exists and may not or cannot be replaced.
        """

    def loaded(self, scores: Path, *, replace: bool) -> AbstractContextManager[Callable[[], None]]:
        """Prepare everything except the commit, and yield the commit; leaving the context undoes the rest.

        Args:
            scores: The staged scores, complete and verified.
            replace: Whether existing scores may be replaced.
        """


@dataclass(frozen=True, slots=True)
class ScoresFile:
    """A file that scores go to."""

    path: Path

    @property
    def label(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def suffix(self) -> str:
        """The ending of the path."""
        return ending(self.path)

    @property
    def is_file(self) -> bool:
        """It is one."""
        return True

    @property
    def holds_nul(self) -> bool:
        """Files hold any text."""
        return True

    def exists(self, limit_seconds: float | None = None) -> bool:  # noqa: ARG002 - files answer at once
        """Whether the file exists."""
        return self.path.exists()

    def check(self, *, replace: bool) -> None:
        """Check that the ending names a format, and that no file is in the way.

        Raises:
            CannotCreateError: The ending is unknown, or the file exists.
        """
        output_format(self.path)
        if self.exists() and not replace:
            raise CannotCreateError(
                f"{self.path}: exists already. Use --if-exists replace, or another --out."
            )

    @contextmanager
    def loaded(self, scores: Path, *, replace: bool) -> Iterator[Callable[[], None]]:  # noqa: ARG002
        """Yield the commit: the staged file replaces this one."""
        yield partial(move, scores, self.path)


@dataclass(frozen=True, slots=True)
class Targets:
    """The destinations of one run's outputs.

    Attributes:
        destination: The file or table for the scores.
        quarantine: The file for rejected rows; written only if there are any.
        summary: The file for the JSON summary.
        own_quarantine: Whether the quarantine has its default path. An older file there belongs to
            older scores and is removed with them.
        metrics: The file for Prometheus metrics, if wanted.
    """

    destination: Destination
    quarantine: Path
    summary: Path
    own_quarantine: bool
    metrics: Path | None = None

    @classmethod
    def of(
        cls,
        destination: Destination,
        quarantine: Path | None = None,
        summary: Path | None = None,
        metrics: Path | None = None,
    ) -> "Targets":
        """Fill in the default paths beside the scores.

        Raises:
            UsageError: Two paths are the same.
            CannotCreateError: Nothing can be created beside the scores, not even a lock.
        """
        out = destination.path
        check_creatable(out, is_file=destination.is_file)
        found = cls(
            destination,
            quarantine or out.with_name(f"{out.name}.quarantine{destination.suffix}"),
            summary or out.with_name(f"{out.name}.summary.json"),
            quarantine is None,
            metrics,
        )
        # NOTE: on many macOS disks, names that differ only in case are one file.
        paths = (*found.paths, found.lock)
        if len({str(real_path(path)).casefold() for path in paths}) < len(paths):
            raise UsageError(
                f"{out}: scores, quarantine, summary, metrics and lock need different paths, found "
                f"{quoted(map(str, paths))}."
            )
        return found

    @property
    def out(self) -> Path:
        """The path of the scores, or the one that stands for their table."""
        return self.destination.path

    @property
    def label(self) -> str:
        """The name of the scores' destination in messages and in the summary."""
        return self.destination.label

    @property
    def paths(self) -> tuple[Path, ...]:
        """Scores, quarantine, summary, and metrics if wanted."""
        paths = (self.out, self.quarantine, self.summary)
        return paths if self.metrics is None else (*paths, self.metrics)

    @property
    def folders(self) -> list[Path]:
        """The folders of all outputs."""
        return sorted({path.parent for path in self.paths})

    @property
    def lock(self) -> Path:
        """The file that a run locks while it works."""
        return self.out.with_name(f"{self.out.name}.lock")

    def check(self, *, replace: bool) -> None:
        """Check that every output can be created.

        Args:
            replace: Whether existing scores may be replaced.

        Raises:
            CannotCreateError: An output cannot be created, or the scores exist already.
        """
        self.destination.check(replace=replace)
        output_format(self.quarantine)
        for path in self.paths:
            check_creatable(path, is_file=path != self.out or self.destination.is_file)

    def standing(self) -> Literal["earlier run", "none", "unknown"]:
        """Which scores the destination holds before this run publishes."""
        try:
            return "earlier run" if self.destination.exists(STANDING_SECONDS) else "none"
        except EngineError:
            return "unknown"


def real_path(path: Path) -> Path:
    """The path with links resolved as far as possible."""
    # NOTE: `Path.resolve` raises on links that form a circle.
    return Path(os.path.realpath(path))


def check_outside_bundles(
    out: Path, named: Path | None = None, *, is_bundle_itself: bool = False
) -> None:
    """Check that nothing is written into a bundle, because any unlisted file invalidates it.

    Args:
        out: The path to write to.
        named: The bundle in use; it counts as a bundle even without its manifest.
        is_bundle_itself: Whether `out` is a bundle or a folder of bundles, which may be beside
            others.

    Raises:
        UsageError: It is inside a bundle, or is not a bundle but inside a folder of bundles.
    """
    # NOTE: `Path.is_dir` raises where a folder on the way may not be searched.
    in_use = real_path(named) if named is not None and os.path.isdir(named) else None  # noqa: PTH112
    around = [
        folder
        for folder in real_path(out).parents
        if folder == in_use or is_bundle(folder) or (holds_bundles(folder) and not is_bundle_itself)
    ]
    if around:
        raise UsageError(
            f"{out}: lies in {around[0]}, a bundle or a folder of bundles, which must hold nothing "
            "else. Write to another path."
        )


def check_apart(outputs: Sequence[Path], inputs: Iterable[str], files: Iterable[Path]) -> None:
    """Check that no output replaces an input, or would be an input of the next run.

    Args:
        outputs: The paths to write to.
        inputs: The inputs as given: files, directories and others.
        files: The files found there.

    Raises:
        UsageError: One does.
    """
    named = {real_path(Path(text)) for text in inputs}
    read = {real_path(file) for file in files}
    for out in outputs:
        folder = real_path(out).parent
        if not is_passed_over(out.name) and {folder, without_partitions(folder)} & named:
            raise UsageError(
                f"{out}: lies in a directory that is an input; the next run would read it as "
                "users. Write to another path."
            )
        if real_path(out) in read:
            raise UsageError(f"{out}: is an input and an output. Write to another path.")


def check_links(path: Path) -> None:
    """Check that links lead somewhere.

    Raises:
        CannotCreateError: They form a circle.
    """
    real = real_path(path)
    # Only links that cannot be resolved are left in it.
    if any(os.path.islink(part) for part in (real, *real.parents)):  # noqa: PTH114 - never raises
        raise CannotCreateError(
            f"{path}: cannot be created: a link that leads back to itself. Give another path."
        )


def _unwritable_name(path: Path) -> str:
    try:
        name = os.fsencode(path).decode()
    except UnicodeDecodeError:
        return (
            f"{str(path)!a}: is not UTF-8, which the writers of all formats need. "
            "Give it another name."
        )
    return f"{name}: cannot be written in the locale of this process, which is not UTF-8. Set PYTHONUTF8=1."


def check_creatable(path: Path, *, is_file: bool = True) -> None:
    """Check that a file can be created or replaced at a path.

    Args:
        path: The path.
        is_file: Whether it is one; a table may be a folder, with files beside it.

    Raises:
        CannotCreateError: The directory is missing, the path is a directory or a device, its links
            form a circle, or its name is too long or not UTF-8.
        AccessError: This user may not search the directory.
    """
    # File names are bytes; Python shows those that are not UTF-8 as surrogates.
    if re.search("[\ud800-\udfff]", str(path)):
        raise CannotCreateError(_unwritable_name(path))
    check_links(path)
    with storage_errors(path):
        if is_file and path.is_dir():
            raise CannotCreateError(f"{path}: is a directory. Name a file.")
        check_no_device(path)
        if not path.parent.is_dir():
            raise CannotCreateError(
                f"{path}: the directory {path.parent} does not exist. Create it first."
            )
