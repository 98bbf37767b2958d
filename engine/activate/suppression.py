"""Suppression files: ids of users who must not be contacted, whatever their score."""

from collections.abc import Mapping, Sequence

import polars as pl
from polars.selectors import by_name

from engine.activate.score_rows import READ_ROWS
from engine.errors import InputError, pluralize
from engine.inputs.chunks import read_frames
from engine.inputs.open import open_inputs
from engine.inputs.tables import Table
from engine.limits import InputLimits
from engine.logs import LOG
from engine.rows.rules import ID_TYPES, is_readable


def suppressed_ids(
    inputs: Sequence[str], id_column: str, limits: InputLimits
) -> dict[str, pl.Series]:
    """The different ids of each suppression file, as text, by the name of the file.

    Args:
        inputs: Files in any format that can be scored.
        id_column: The column with the ids; in a file of one column its name does not matter, and in a CSV
            any other name is an id too.
        limits: What is read at most.

    Raises:
        InputError: A file has several columns, and none is the id column; or its type is not that of
            ids.
    """
    if not inputs:
        return {}
    with open_inputs(inputs, limits=limits) as tables:
        return {table.name: _ids(table, id_column) for table in tables}


def warn_of_unmatched(suppressed: Mapping[str, pl.Series], unmatched: Sequence[str]) -> None:
    """Warn of files of which no id is in the scores: perhaps they hold ids of another system."""
    for name in unmatched:
        LOG.warning(
            "warning: %s: none of its %s is in the scores, so it suppressed nobody. Ids are compared as "
            "text, letter by letter.",
            name,
            pluralize(len(suppressed[name]), "value"),
        )


def _ids(table: Table, id_column: str) -> pl.Series:
    names = table.columns.names()
    if id_column not in names and len(names) > 1:
        raise InputError(
            f"{table.name}: {len(names)} columns, none of them the id column {id_column!r} of the scores. "
            "Name it so, or leave one column."
        )
    name = id_column if id_column in names else names[0]
    # A file of nobody may have a column without a type.
    if not is_readable(table.columns[name], (*ID_TYPES, pl.Null)):
        found = str(table.columns[name])
        raise InputError.wrong_types(table.name, [(name, "a text or a whole number", found)])
    ids = [
        frame.select(by_name(name).cast(pl.String)).to_series().unique()
        for frame in read_frames(table, [name], READ_ROWS)
    ]
    # A list of ids without a header begins with one.
    header = [name] if table.format == "csv" and name != id_column else []
    return pl.concat([pl.Series(name, header, pl.String), *ids]).drop_nulls().unique()
