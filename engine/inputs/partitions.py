"""Datasets in folders named `column=value`, as Hive, Spark and Polars write them.

The names of the folders hold values that the files do not have.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from engine.errors import InputError, NoInputError, quoted
from engine.logs import LOG

HIDDEN_PREFIXES = (".", "_")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def partitioned_files(folder: Path) -> Iterator[Path]:
    """The files of a folder and of its partitions at any depth, without those that are skipped."""
    for path in folder.iterdir():
        if path.is_file():
            if not is_passed_over(path.name):
                yield path
        elif _is_partition(path) and path.is_dir():
            if path.is_symlink() and folder.resolve().is_relative_to(path.resolve()):
                raise NoInputError(f"{path}: a link to a folder above it. Remove it.")
            yield from partitioned_files(path)
        elif path.is_dir() and not path.name.startswith(HIDDEN_PREFIXES):
            LOG.warning(
                "%s: skipped, because its name is not column=value. Give it as an input if it is one.",
                path,
            )


def is_passed_over(name: str) -> bool:
    """Whether a file of a folder is skipped: it is hidden, or a run left it beside its scores."""
    beside_scores = name.endswith((".lock", ".summary.json")) or ".quarantine." in name
    return beside_scores or name.startswith(HIDDEN_PREFIXES)


def partition_values(file: Path, folder: Path) -> dict[str, str | None]:
    """The columns in the names of the folders between a dataset and one of its files."""
    if not file.is_relative_to(folder):
        return {}
    parts = [part.partition("=") for part in file.relative_to(folder).parts[:-1]]
    twice = [name for name, times in Counter(name for name, _, _ in parts).items() if times > 1]
    if twice:
        raise InputError(f"{file}: {quoted(twice)} twice in the names of its folders. Rename one.")
    return {name: None if value == NO_VALUE else unquote(value) for name, _, value in parts}


def partition_columns(name: str) -> tuple[str, ...]:
    """The columns that the folders in the full name of an object stand for."""
    folders = name.split("/")[:-1]
    return tuple(part.partition("=")[0] for part in folders if _is_partition(Path(part)))


def without_partitions(folder: Path) -> Path:
    """The dataset of a partition folder; for any other folder, the folder itself."""
    while _is_partition(folder):
        folder = folder.parent
    return folder


def _is_partition(path: Path) -> bool:
    return not path.name.startswith((*HIDDEN_PREFIXES, "=")) and "=" in path.name
