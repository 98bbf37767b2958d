"""A new snapshot of an Iceberg table: its files are written first, then the catalogue points to it."""

import warnings
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from engine.connectors.lakehouse.files import DataFile, Pending, Scores
from engine.errors import CannotCreateError, LockedError
from engine.inputs.lakehouse import LakehouseTable, open_catalog
from engine.storage import sync_path


def iceberg_columns(table: LakehouseTable) -> tuple[str, ...] | None:
    """The columns of a table; None if there is none.

    Raises:
        CannotCreateError: Its namespace does not exist.
    """
    catalog, identifier = open_catalog(table)
    found = _found(catalog, identifier, table)
    return None if found is None else tuple(found.schema().column_names)


def prepare_iceberg(table: LakehouseTable, staged: Path, written: list[DataFile]) -> Pending:
    """Write the files of the next snapshot, and stage it.

    Args:
        table: The table; it is created if it is not there.
        staged: The scores, a Parquet file.
        written: Each new file is added before it is written.

    Raises:
        CannotCreateError: The table cannot take the scores.
    """
    scores = Scores.of(staged, table.name, has_small_integers=False)
    catalog, identifier = open_catalog(table)
    found = _found(catalog, identifier, table)
    if found is not None:
        _check_writable(found, scores, table.name)
    transaction = _transaction(catalog, identifier, found, scores)
    folder = _local_folder(transaction.table_metadata.location, table)
    before = set((folder / "metadata").glob("*"))
    files = scores.write(folder / "data", written, with_day=True)
    if found is not None:
        _remove(transaction, scores)
    # NOTE: PyIceberg takes a location as it is written: nothing in it is encoded.
    places = [f"file://{file.path}" for file in files]
    transaction.add_files(places, check_duplicate_files=False)
    # What lists the files is on the disk before the catalogue points to it.
    for path in (*set((folder / "metadata").glob("*")) - before, folder / "metadata"):
        sync_path(path)
    version = transaction.table_metadata.current_snapshot_id
    return Pending(version, files, partial(_commit, transaction, table))


def _transaction(
    catalog: Any,  # noqa: ANN401 - untyped
    identifier: tuple[str, ...],
    found: Any,  # noqa: ANN401
    scores: Scores,
) -> Any:  # noqa: ANN401
    """A transaction on a table that has the columns of these scores; on a new one if none is found."""
    arrow = pl.DataFrame(schema=scores.schema).to_arrow().schema
    if found is not None:
        transaction = found.transaction()
        with transaction.update_schema() as schema:
            schema.union_by_name(arrow)
        return transaction
    transaction = catalog.create_table_transaction(identifier, schema=arrow)
    if scores.day_column is not None:
        with transaction.update_spec() as spec:
            spec.add_identity(scores.day_column)
    return transaction


def _found(catalog: Any, identifier: tuple[str, ...], table: LakehouseTable) -> Any:  # noqa: ANN401 - untyped
    errors = import_module("pyiceberg.exceptions")
    try:
        return catalog.load_table(identifier)
    except (errors.NoSuchTableError, errors.NoSuchNamespaceError):
        if not catalog.namespace_exists(identifier[:-1]):
            raise CannotCreateError(
                f"{table.name}: its namespace does not exist. Create it first, or name another."
            ) from None
        return None


def _check_writable(found: Any, scores: Scores, name: str) -> None:  # noqa: ANN401
    schema, fields = found.schema(), found.spec().fields
    needed = [field.name for field in schema.fields if field.required]
    partitions = [
        schema.find_column_name(field.source_id)
        if str(field.transform) == "identity"
        else f"{field.transform} of {schema.find_column_name(field.source_id)}"
        for field in fields
    ]
    scores.check_columns(pl.Schema(schema.as_arrow()), needed, partitions, name)


def _remove(transaction: Any, scores: Scores) -> None:  # noqa: ANN401
    """Remove the rows of the dates of these scores; without dates, all rows."""
    expressions = import_module("pyiceberg.expressions")
    rows = expressions.AlwaysTrue()
    if scores.day_column is not None:
        rows = expressions.In(scores.day_column, [str(day) for day in scores.days])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Delete operation did not match any records")
        warnings.filterwarnings("ignore", "Merge on read is not yet supported")
        transaction.delete(rows)


def _commit(transaction: Any, table: LakehouseTable) -> None:  # noqa: ANN401
    errors = import_module("pyiceberg.exceptions")
    try:
        committed = transaction.commit_transaction()
    except (
        errors.CommitFailedException,
        errors.ValidationException,
        errors.TableAlreadyExistsError,
    ) as error:
        raise LockedError.of_commit(table.name) from error
    metadata = Path(urlsplit(committed.metadata_location).path)
    for path in (metadata, metadata.parent):
        sync_path(path)


def _local_folder(location: str, table: LakehouseTable) -> Path:
    place = urlsplit(location)
    if place.scheme not in ("", "file"):
        raise CannotCreateError(
            f"{table.name}: its files are in a store ({place.scheme}), where scores are not written. "
            "Name a table whose files are on this machine's disks."
        )
    return Path(place.path).absolute()
