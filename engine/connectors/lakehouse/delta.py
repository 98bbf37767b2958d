"""A new version of a Delta table: its files are written first, then one entry of the log names them."""

import errno
import json
import time
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from engine.connectors.lakehouse.files import DataFile, Pending, Scores
from engine.errors import CannotCreateError, LockedError, quoted
from engine.inputs.lakehouse import LakehouseTable, is_delta
from engine.storage import sync_path

# What a writer must know of a table before it may add files. These ask for nothing of new files.
_FEATURES = {
    *("appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"),
    *("columnMapping", "identityColumns", "deletionVectors", "timestampNtz"),
    *("v2Checkpoint", "vacuumProtocolCheck", "domainMetadata"),
}


def delta_columns(table: LakehouseTable) -> tuple[str, ...] | None:
    """The columns of a table; None if there is nothing.

    Raises:
        CannotCreateError: There is something else.
    """
    folder = Path(table.place)
    if is_delta(folder):
        return tuple(pl.Schema(_opened(table).schema()))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CannotCreateError(
            f"{table.name}: exists and is not a table of Delta Lake. Name another folder."
        )
    return None


def prepare_delta(table: LakehouseTable, staged: Path, written: list[DataFile]) -> Pending:
    """Write the files of the next version.

    Args:
        table: The table; it is created if it is not there.
        staged: The scores, a Parquet file.
        written: Each new file is added before it is written.

    Raises:
        CannotCreateError: The table cannot take the scores.
    """
    scores = Scores.of(staged, table.name, has_small_integers=True)
    if not is_delta(Path(table.place)):
        return _prepare_new(table, scores, staged.parent / "table", written)
    found = _opened(table)
    _check_writable(found, scores, table.name)
    files = scores.write(Path(table.place), written, with_day=False)
    version = found.version() + 1
    return Pending(version, files, partial(_replace, found, table, scores, files, version))


def _prepare_new(
    table: LakehouseTable, scores: Scores, folder: Path, written: list[DataFile]
) -> Pending:
    """Make a whole table in staging: the folder appears with its log, or not at all."""
    files = scores.write(folder, written, with_day=False)
    import_module("deltalake.transaction").create_table_with_add_actions(
        str(folder),
        _schema(scores.schema),
        [_addition(folder, file, scores) for file in files],
        partition_by=_partitions(scores),
    )
    _sync_log(folder, 0)
    return Pending(0, files, partial(_move, folder, table))


def _move(folder: Path, table: LakehouseTable) -> None:
    try:
        folder.rename(table.place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise LockedError.of_commit(table.name) from error
        raise
    sync_path(Path(table.place).parent)


def _opened(table: LakehouseTable) -> Any:  # noqa: ANN401 - untyped
    return import_module("deltalake").DeltaTable(table.place)


def _check_writable(found: Any, scores: Scores, name: str) -> None:  # noqa: ANN401
    metadata, fields = found.metadata(), found.schema().fields
    demands = set(found.protocol().writer_features or ()) - _FEATURES
    demands |= {
        key
        for key, value in metadata.configuration.items()
        if key.startswith("delta.constraints.")
        or (key == "delta.appendOnly" and value == "true")
        or (key == "delta.columnMapping.mode" and value != "none")
    }
    demands |= {key for field in fields for key in field.metadata if key.startswith("delta.")}
    if demands:
        raise CannotCreateError(
            f"{name}: asks more of a writer than scores are written with: {quoted(sorted(demands))}. "
            "Name another table, and copy from there."
        )
    needed = [field.name for field in fields if not field.nullable]
    scores.check_columns(pl.Schema(found.schema()), needed, metadata.partition_columns, name)


def _replace(
    found: Any,  # noqa: ANN401
    table: LakehouseTable,
    scores: Scores,
    files: tuple[DataFile, ...],
    version: int,
) -> None:
    """Add the new files, and remove those of the same dates, unless a version came in between."""
    known = {field.name for field in found.schema().fields}
    added = {column: dtype for column, dtype in scores.schema.items() if column not in known}
    fields = [*found.schema().fields, *(_schema(added).fields if added else ())]
    days = [("" if day is None else str(day)) for day in scores.days]
    try:
        found.create_write_transaction(
            [_addition(Path(table.place), file, scores) for file in files],
            "overwrite",
            import_module("deltalake").Schema(fields),
            partition_by=_partitions(scores),
            partition_filters=[(scores.day_column, "in", days)] if scores.day_column else None,
            # A retry would not look for rows of these dates that the other commit added.
            commit_properties=import_module("deltalake").CommitProperties(max_commit_retries=0),
        )
    except import_module("deltalake.exceptions").CommitFailedError as error:
        raise LockedError.of_commit(table.name) from error
    _sync_log(Path(table.place), version)


def _addition(folder: Path, file: DataFile, scores: Scores) -> Any:  # noqa: ANN401
    values = {} if file.day is None else {scores.day_column: str(file.day)}
    return import_module("deltalake.transaction").AddAction(
        quote(file.path.relative_to(folder).as_posix(), safe="/="),
        file.path.stat().st_size,
        values,
        int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )


def _schema(columns: Mapping[str, pl.DataType]) -> Any:  # noqa: ANN401
    return import_module("deltalake").Schema.from_arrow(pl.Schema(columns))


def _partitions(scores: Scores) -> list[str]:
    return [] if scores.day_column is None else [scores.day_column]


def _sync_log(folder: Path, version: int) -> None:
    log = folder / "_delta_log"
    for path in (log / f"{version:020}.json", log, log.parent):
        sync_path(path)
