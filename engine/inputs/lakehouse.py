"""Tables of Delta Lake and Iceberg, each read at one version.

Their logs say which files and rows count: deleted rows, replaced files and other versions are left out,
columns that were added later are null in older rows, and values of partitions come from the log.
Messages hold nothing of a catalogue's configuration, which may contain passwords.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import polars as pl

from engine.errors import (
    AccessError,
    BundleError,
    EngineError,
    InputError,
    NoInputError,
    UnavailableError,
    error_number,
    quoted,
)
from engine.inputs.objects import credential_provider, is_object, object_errors
from engine.options import CHUNK_ROWS

Format = Literal["delta", "iceberg"]
TITLES: dict[Format, str] = {"delta": "Delta Lake", "iceberg": "Iceberg"}
_PACKAGES: dict[Format, tuple[str, ...]] = {
    "delta": ("deltalake",),
    "iceberg": ("pyiceberg", "sqlalchemy", "pyarrow"),
}
_FORM = re.compile(r"(?:(delta|iceberg):)?(.+?)(?:@v(\d+))?", re.DOTALL)
# Features of a Delta table that change how it is read, as far as this module follows them.
_DELTA_FEATURES = {
    *("deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"),
    *("columnMapping", "typeWidening", "typeWidening-preview"),
}
_MAPPING = "delta.columnMapping.mode"
# No table has a column of this name.
_ROW = " row"


@dataclass(frozen=True, slots=True)
class LakehouseTable:
    """A table as it is named on the command line.

    Attributes:
        format: Its format.
        place: The folder of a Delta table, perhaps in a store; `CATALOG.NAMESPACE.TABLE` in Iceberg.
        version: A version of Delta Lake, or the id of a snapshot of Iceberg; None for the current one.
    """

    format: Format
    place: str
    version: int | None = None

    @property
    def name(self) -> str:
        """Its name in messages, which can be given as an input."""
        version = "" if self.version is None else f"@v{self.version}"
        return f"{self.format}:{self.place}{version}"


@dataclass(frozen=True, slots=True)
class Opened:
    """One version of a table.

    Attributes:
        name: Its name with the version.
        frame: Its rows, in an order that depends on the version alone.
    """

    name: str
    frame: pl.LazyFrame

    def copy(self, path: Path) -> None:
        """Write the rows to a Parquet file, batch by batch.

        NOTE: Polars maps Arrow IPC into memory, where it counts as memory of the process.

        Raises:
            InputError: They cannot be read.
        """
        with lakehouse_errors(self.name):
            self.frame.sink_parquet(
                path,
                compression="uncompressed",
                statistics=False,
                row_group_size=CHUNK_ROWS,
                maintain_order=True,
            )


def lakehouse_table(text: str) -> LakehouseTable | None:
    """The table that an input names: `iceberg:…`, `delta:…`, or the folder of a Delta table.

    `@v12` at the end asks for a version. None if the input names something else.
    """
    found = _FORM.fullmatch(text)
    # NOTE: the methods of `Path` raise where a name is too long, or a folder may not be searched.
    if found is None or os.path.isfile(text):  # noqa: PTH113
        return None
    version = None if found[3] is None else int(found[3])
    if found[1] is not None:
        return LakehouseTable("delta" if found[1] == "delta" else "iceberg", found[2], version)
    # NOTE: a folder may be called users@v2.
    for place, number in ((text, None), (found[2], version)):
        if is_delta(Path(place)):
            return LakehouseTable("delta", place, number)
    return None


def is_delta(folder: Path) -> bool:
    """Whether a folder is a table of Delta Lake."""
    log = str(folder / "_delta_log")
    return os.path.isdir(log) and os.access(log, os.R_OK) and bool(os.listdir(log))  # noqa: PTH112, PTH208


def open_lakehouse(table: LakehouseTable) -> Opened:
    """Open a table at its version.

    Raises:
        NoInputError: There is no such table or version.
        BundleError: The catalogue is not configured.
        UnavailableError: The extra is not installed, or the catalogue does not answer.
        InputError: The table has a feature that is not read.
    """
    check_installed(table)
    with lakehouse_errors(table.name):
        return _open_delta(table) if table.format == "delta" else _open_iceberg(table)


def check_installed(table: LakehouseTable) -> None:
    """Check that the packages of the format are installed.

    Raises:
        UnavailableError: One is missing.
    """
    missing = [name for name in _PACKAGES[table.format] if find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"{table.name}: a table of {TITLES[table.format]}, which needs {quoted(missing)}. "
            f"Run: pip install 'shopnow-scoring[{table.format}]'"
        )


def open_catalog(table: LakehouseTable) -> tuple[Any, tuple[str, ...]]:
    """The catalogue of an Iceberg table, and the identifier of the table in it.

    PyIceberg finds the catalogue by its name, in `~/.pyiceberg.yaml` or in environment variables.

    Raises:
        InputError: The name is not one of a table.
        BundleError: The catalogue is not configured.
    """
    catalog, *identifier = table.place.split(".")
    if len(identifier) < 2 or not all((catalog, *identifier)):
        raise InputError(f"{table.name}: not a table. Give iceberg:CATALOG.NAMESPACE.TABLE.")
    # NOTE: it logs each retry of a commit, which goes to standard error where nothing handles it.
    logging.getLogger("pyiceberg").addHandler(logging.NullHandler())
    try:
        return import_module("pyiceberg.catalog").load_catalog(catalog), tuple(identifier)
    except (ValueError, TypeError, KeyError):
        raise BundleError(
            f"{table.name}: no usable configuration of catalogue {catalog!r}. Put its URI into "
            f"PYICEBERG_CATALOG__{catalog.upper()}__URI, or into ~/.pyiceberg.yaml."
        ) from None


@contextmanager
def lakehouse_errors(name: str, refusal: type[EngineError] = InputError) -> Iterator[None]:
    """Turn errors of either package into an `EngineError` that names the table.

    Args:
        name: The table.
        refusal: The kind of an error that is none of the table's name, its catalogue or the disk.
    """
    in_store = is_object(name.removeprefix("delta:"))
    try:
        with object_errors(name) if in_store else nullcontext():
            yield
    except EngineError:
        raise
    # NOTE: neither package has a common base of its errors. Those of the operating system go on.
    except Exception as error:
        raise _lakehouse_error(name, error, refusal) from error


def _lakehouse_error(name: str, error: Exception, refusal: type[EngineError]) -> Exception:
    kind = type(error).__name__
    package = type(error).__module__.partition(".")[0]
    if kind in ("NoSuchTableError", "NoSuchNamespaceError", "TableNotFoundError"):
        return NoInputError(f"{name}: no such table. Check its name.")
    if kind in ("ForbiddenError", "UnauthorizedError", "AuthorizationExpiredError", "OAuthError"):
        return AccessError(f"{name}: the catalogue denies access. Check its credentials.")
    if package == "sqlalchemy" or kind in ("ServerError", "ServiceUnavailableError", "RESTError"):
        return UnavailableError(f"{name}: the catalogue does not answer. Check its URI, run again.")
    if error_number(error) is not None:
        return error
    refusals = (pl.exceptions.PolarsError, ValueError, NotImplementedError)
    if package in ("deltalake", "_internal", "pyiceberg") or isinstance(error, refusals):
        reason = str(error).strip().partition("\n")[0]
        return refusal(f"{name}: the library of its format refuses it: {reason}")
    return error


def _open_delta(table: LakehouseTable) -> Opened:
    delta = import_module("deltalake").DeltaTable
    found = delta(table.place)
    newest = found.version()
    if table.version is not None:
        if table.version > newest:
            raise NoInputError(f"{table.name}: no such version; the newest is {newest}.")
        found = delta(table.place, version=table.version)
    name = LakehouseTable("delta", table.place, found.version()).name
    _check_delta_features(found, name)
    return Opened(name, _delta_frame(found))


def _check_delta_features(found: Any, name: str) -> None:  # noqa: ANN401 - untyped
    features = set(found.protocol().reader_features or ()) - _DELTA_FEATURES
    if found.metadata().configuration.get(_MAPPING, "none") != "none":
        features.add("columnMapping")
    if features:
        raise InputError(
            f"{name}: has features that are not read: {quoted(sorted(features))}. Write its rows to "
            "a table without them, or to Parquet, with the tool that made it."
        )


def _delta_frame(found: Any) -> pl.LazyFrame:  # noqa: ANN401
    """The rows of the files that a version of a Delta table consists of, in the order of their names.

    NOTE: `polars.scan_delta` (2.1) takes the values of partitions from the names of folders, and gives
    null without a word where a table does not have them there.
    """
    schema = pl.Schema(found.schema())
    # Both lists are in the same order; the paths of the first are encoded.
    actions = pl.DataFrame(found.get_add_actions()).select("^(path|partition)$")
    files = actions.with_columns(path=pl.Series(found.file_uris(), dtype=pl.String)).sort("path")
    vectors = pl.DataFrame(found.deletion_vectors())
    places = vectors["filepath"].str.strip_prefix("file://")
    kept = dict(zip(places, vectors["selection_vector"], strict=True))
    # A file of which rows are deleted is a group of its own, because rows are numbered in its scan.
    groups = groupby(
        files.iter_rows(named=True),
        lambda file: (file.get("partition"), file["path"] if file["path"] in kept else None),
    )
    frames = [
        _scan([file["path"] for file in group], schema, partition or {}, kept.get(alone))
        for (partition, alone), group in groups
    ]
    return pl.concat(frames) if frames else pl.LazyFrame(schema=schema)


def _scan(
    paths: list[str], schema: pl.Schema, partition: dict[str, Any], kept: pl.Series | None
) -> pl.LazyFrame:
    """Files of one partition.

    Args:
        paths: The files.
        schema: The columns of the table.
        partition: Those that the files do not have, with their values.
        kept: Of a single file, whether each row is left, Boolean [rows]; rows beyond it are.
    """
    frame = pl.scan_parquet(
        paths,
        schema={name: dtype for name, dtype in schema.items() if name not in partition},
        glob=False,
        hive_partitioning=False,
        credential_provider=credential_provider(paths[0]),
        row_index_name=None if kept is None else _ROW,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=pl.ScanCastOptions(
            integer_cast="upcast",
            float_cast="upcast",
            datetime_cast=["nanosecond-downcast", "millisecond-upcast", "convert-timezone"],
            missing_struct_fields="insert",
            extra_struct_fields="ignore",
        ),
    )
    if kept is not None:
        frame = frame.filter(~pl.col(_ROW).is_in((~kept).arg_true().implode()))
    constants = [pl.lit(value, schema[name]).alias(name) for name, value in partition.items()]
    return frame.with_columns(constants).select(schema.names())


def _open_iceberg(table: LakehouseTable) -> Opened:
    catalog, identifier = open_catalog(table)
    found = catalog.load_table(identifier)
    if table.version is not None and found.snapshot_by_id(table.version) is None:
        raise NoInputError(f"{table.name}: no such snapshot; see its history in the catalogue.")
    # Without it, Polars warns that its own planner is not installed.
    os.environ.setdefault("POLARS_ICEBERG_PLANNER", "pyiceberg")
    # NOTE: a column that was added after the last commit of rows belongs to the table, not to a snapshot.
    frame = pl.scan_iceberg(found, snapshot_id=table.version)
    current = found.current_snapshot()
    version = table.version if table.version is not None else current and current.snapshot_id
    return Opened(LakehouseTable("iceberg", table.place, version).name, frame)
