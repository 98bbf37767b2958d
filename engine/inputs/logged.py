"""Table formats that keep a log of which of their files count.

An update or a deletion writes new files and leaves the old ones. Reading the folder would score both.
`engine.inputs.lakehouse` reads the tables of two such formats, each as a whole.
"""

import glob
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import TypeVar

from engine.errors import InputError
from engine.inputs.partitions import is_partition

_COPY = (
    "Read it with {} and write plain Parquet, or copy its current files to a folder of their own."
)
_DELTA = (
    "Delta Lake",
    "Give delta:{root} to read the table at its current version; it needs the extra [delta].",
)
_ICEBERG = (
    "Iceberg",
    "Give iceberg:CATALOG.NAMESPACE.TABLE to read it by its catalogue; it needs the extra [iceberg].",
)
_HUDI = ("Hudi", _COPY.format("Spark"))
# NOTE: a name without a pattern would be an error in an object store if it is not there.
LOG_MARKS = {
    "_delta_log/*": _DELTA,
    "metadata/version-hint.tex[t]": _ICEBERG,
    "metadata/[0-9][0-9][0-9][0-9][0-9]-*.metadata.json": _ICEBERG,
    "metadata/v[0-9]*.metadata.json": _ICEBERG,
    ".hoodie/hoodie.propertie[s]": _HUDI,
    ".hoodie_partition_metadata*": _HUDI,
    "schema/schema-[0]": ("Paimon", _COPY.format("Spark or Flink")),
    "_spark_metadata/*": ("Spark Structured Streaming", _COPY.format("Spark")),
}
"""Names below the root of a table, or in a partition of it, with its format and what to do.

They are those of the formats' own specifications: other folders named `metadata` or `schema` are none.
"""

# Folders between the root of a table and its files: those of Iceberg and of Paimon, besides partitions.
_INNER = re.compile(r"data|bucket-\d+")

Folder = TypeVar("Folder", bound=PurePath)


def check_no_log(name: str, files: Iterable[Path], folder: Path) -> None:
    """Refuse files of a table that has such a log, wherever in it they are.

    Args:
        name: What names them.
        files: The files.
        folder: The folder that is named, or the one of the file.

    Raises:
        InputError: There is such a log.
    """
    named = {folder.absolute(), *(file.absolute().parent for file in files)}
    for root in sorted({root for one in named for root in possible_roots(one)}):
        for mark in LOG_MARKS:
            # NOTE: unlike Path.glob, it passes over folders that may not be listed.
            found = glob.iglob(f"{glob.escape(str(root))}/{mark}", include_hidden=True)  # noqa: PTH207
            if next(found, None) is not None:
                raise logged_table(name, str(root), mark)


def possible_roots(folder: Folder) -> Iterator[Folder]:
    """A folder, and those above it of whose table it may be a part."""
    yield folder
    while is_partition(folder) or _INNER.fullmatch(folder.name):
        folder = folder.parent
        yield folder


def logged_table(name: str, root: str, mark: str) -> InputError:
    """The error of a table whose log alone knows its files."""
    kind, advice = LOG_MARKS[mark]
    return InputError(
        f"{name}: {root} is a table of {kind}, whose log alone knows which of its files count. "
        + advice.replace("{root}", root)
    )
