"""Datasets in folders named `column=value`, as Hive, Spark and Polars write them.

The names of the folders hold values that the files do not have.
"""

import glob
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath
from urllib.parse import unquote

from engine.errors import InputError, NoInputError, quoted
from engine.logs import LOG

HIDDEN_PREFIXES = (".", "_")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def partitioned_files(folder: Path, max_files: int) -> Iterator[Path]:
    """The files of a folder and of its partitions at any depth, without those that are skipped.

    Raises:
        InputError: There are more than `max_files` files and folders.
        NoInputError: A folder leads back to one above it.
    """
    return _files_below(folder, _Visits(str(folder), max_files), frozenset())


def matching_files(pattern: str, max_files: int) -> Iterator[Path]:
    """The files that match a glob, and those in folders that match, by the rules of a folder.

    Raises:
        InputError: There are more than `max_files` files and folders.
        NoInputError: A folder leads back to one above it.
    """
    visits = _Visits(pattern, max_files)
    for path in map(Path, glob.iglob(pattern)):  # noqa: PTH207 - Path.glob knows no absolute pattern
        yield from _files_at(path, visits, frozenset())


def plain_folder(pattern: str) -> Path:
    """The last folder before the first pattern in a glob."""
    parts = Path(pattern).parts
    return Path(*takewhile(lambda part: not glob.has_magic(part), parts[:-1]))


@dataclass(slots=True)
class _Visits:
    """Counts what is visited on behalf of one input."""

    name: str
    limit: int
    count: int = 0

    def add(self) -> None:
        self.count += 1
        if self.count > self.limit:
            raise InputError(
                f"{self.name}: more than {self.limit:,} files and folders. Name a smaller part; "
                "the commands of engine read more with --max-files."
            )


# A folder, by device and inode: many paths may lead to it.
_Folder = tuple[int, int]


def _files_below(folder: Path, visits: _Visits, above: frozenset[_Folder]) -> Iterator[Path]:
    found = folder.stat()
    this = (found.st_dev, found.st_ino)
    if this in above:
        raise NoInputError(f"{folder}: a link to a folder above it. Remove it.")
    for path in folder.iterdir():
        yield from _files_at(path, visits, above | {this})


def _files_at(path: Path, visits: _Visits, above: frozenset[_Folder]) -> Iterator[Path]:
    visits.add()
    if path.is_file():
        if not is_passed_over(path.name):
            yield path
    elif is_partition(path) and path.is_dir():
        yield from _files_below(path, visits, above)
    elif path.is_dir() and not path.name.startswith(HIDDEN_PREFIXES):
        LOG.warning(
            "%s: skipped, because its name is not column=value. Give it as an input if it is one.",
            path,
        )


def is_passed_over(name: str) -> bool:
    """Whether a file of a folder is skipped: it is hidden, or a run left it beside its scores."""
    beside_scores = (
        name.endswith((".lock", ".summary.json", ".campaign.json")) or ".quarantine." in name
    )
    return beside_scores or name.startswith(HIDDEN_PREFIXES)


def partition_values(file: Path, folder: Path) -> dict[str, str | None]:
    """The columns in the names of the folders between a dataset and one of its files."""
    if not file.is_relative_to(folder):
        return {}
    folders = file.relative_to(folder).parts[:-1]
    parts = [part.partition("=") for part in folders if is_partition(PurePath(part))]
    twice = [name for name, times in Counter(name for name, _, _ in parts).items() if times > 1]
    if twice:
        raise InputError(f"{file}: {quoted(twice)} twice in the names of its folders. Rename one.")
    return {name: None if value == NO_VALUE else unquote(value) for name, _, value in parts}


def partition_columns(name: str) -> tuple[str, ...]:
    """The columns that the folders in the full name of an object stand for."""
    folders = name.split("/")[:-1]
    return tuple(part.partition("=")[0] for part in folders if is_partition(PurePath(part)))


def without_partitions(folder: Path) -> Path:
    """The dataset of a partition folder; for any other folder, the folder itself."""
    while is_partition(folder):
        folder = folder.parent
    return folder


def is_partition(path: PurePath) -> bool:
    """Whether a folder is named `column=value`."""
    return not path.name.startswith((*HIDDEN_PREFIXES, "=")) and "=" in path.name
