"""Table formats that keep a log of which of their files count.

An update or a deletion writes new files and leaves the old ones. Reading the folder would score both.
"""

import glob
from collections.abc import Iterable
from pathlib import Path

from engine.errors import InputError

_ICEBERG = ("Iceberg", "polars.scan_iceberg")
LOG_MARKS = {
    "_delta_log/": ("Delta Lake", "polars.scan_delta"),
    "metadata/version-hint.text": _ICEBERG,
    "metadata/*.metadata.json": _ICEBERG,
    ".hoodie/hoodie.properties": ("Hudi", "Spark"),
    "schema/schema-0": ("Paimon", "Spark or Flink"),
    "_spark_metadata/": ("Spark Structured Streaming", "Spark"),
}
"""The beginnings of names below the root of a table, with its format and what reads it."""


def check_no_log(name: str, files: Iterable[Path], folder: Path) -> None:
    """Refuse files of a table that has such a log, wherever in it they are.

    Args:
        name: What names them.
        files: The files.
        folder: The folder that is named, or the one of the file.

    Raises:
        InputError: There is such a log in one of the folders above a file.
    """
    roots = {folder.absolute(), *folder.absolute().parents}
    for parent in {file.absolute().parent for file in files}:
        roots |= {parent, *parent.parents}
    for root in sorted(roots):
        for mark in LOG_MARKS:
            # NOTE: unlike Path.glob, it passes over folders that may not be listed.
            found = glob.iglob(f"{glob.escape(str(root))}/{mark}*", include_hidden=True)  # noqa: PTH207
            if next(found, None) is not None:
                raise logged_table(name, str(root), mark)


def logged_table(name: str, root: str, mark: str) -> InputError:
    """The error of a table whose log alone knows its files."""
    kind, reader = LOG_MARKS[mark]
    return InputError(
        f"{name}: {root} is a table of {kind}, whose log alone knows which of its files count. Read "
        f"it with {reader} and write plain Parquet, or copy its current files to a folder of their own."
    )
