"""The same scorer inside Ray Data: a Dataset of users in; Datasets of scores and of rejected rows out.

This is the driver's half: it opens the bundle, checks the columns and plans the work, which `worker` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from engine.bundle.manifest import DRIVERS
from engine.bundle.open import open_bundle
from engine.connectors.distributed import Duplicates, Totals, arrow_types, check_totals, plan_work
from engine.connectors.worker import (
    count_reasons,
    rejected_rows,
    score_block,
    scored_rows,
)
from engine.errors import InputError
from engine.options import CHUNK_ROWS, OutputOptions
from engine.rows.prepare import needed_columns

if TYPE_CHECKING:
    from ray.data import Dataset

WHERE = "Dataset"
BLOCKS_PER_CORE = 4
"""Of the shuffle that brings all rows of an id together."""


@dataclass(frozen=True, slots=True)
class ScoredUsers:
    """The result of `score`; unpacks as `scores, quarantined`.

    Attributes:
        scores: The columns of the score file, one row for each scored row, in no order.
        quarantined: The columns that scoring reads, unchanged, and `reasons`.
        outcomes: The rows of both, in Ray's object store until nobody holds them.
    """

    scores: "Dataset"
    quarantined: "Dataset"
    outcomes: "Dataset"

    def __iter__(self) -> Iterator["Dataset"]:
        return iter((self.scores, self.quarantined))

    def check(self, max_reject_share: float = 0.01) -> Totals:
        """Fail if too many rows could not be scored; call it before publishing.

        Args:
            max_reject_share: The largest share of rejected rows that is allowed.

        Raises:
            InputError: There are no rows, or too many of them are rejected.
        """
        reasons: dict[str | None, int] = {}
        counted = self.outcomes.map_batches(count_reasons, batch_size=None, batch_format="pyarrow")
        for row in counted.iter_rows():
            reasons[row["reasons"]] = reasons.get(row["reasons"], 0) + row["rows"]
        return check_totals(reasons, max_reject_share, WHERE)


def score(
    dataset: "Dataset",
    bundle: str | Path,
    *,
    drivers: int = DRIVERS,
    impacts: bool = False,
    reasons: int = 0,
    duplicates: Duplicates = "check",
    public_key: str | Path | None = None,
) -> ScoredUsers:
    """Score a Dataset of users, all of it, once.

    Args:
        dataset: Users with at least the columns that the bundle needs; others are not read.
        bundle: A bundle folder, or a folder with `CURRENT`; only the driver reads it.
        drivers: The number of drivers in the scores, 0 to 3.
        impacts: Whether to add the base value and the impacts of all features.
        reasons: The number of drivers in words, 0 to 3.
        duplicates: "check" shuffles all rows of an id together and rejects all but one row of each
            key. As a Dataset has no order, the first by the values of its columns is kept. "checked"
            declares that no key occurs twice, and saves the shuffle.
        public_key: The key that must have signed the bundle; without it no signature is looked at.

    Raises:
        EngineError: The bundle cannot be used, or the columns break its contract.
    """
    opened = open_bundle(Path(bundle), None if public_key is None else Path(public_key))
    types = _column_types(dataset, needed_columns(opened.manifest.schema))
    options = OutputOptions(drivers, impacts, reasons)
    work = plan_work(opened, types, options, duplicates, WHERE)
    users = dataset.select_columns(list(work.columns))
    if work.find_duplicates:
        users = _with_ids_together(users, work.id_column)
    outcomes = users.map_batches(
        partial(score_block, work=work),
        # All rows of an id are in one block, which must stay whole.
        batch_size=None if work.find_duplicates else CHUNK_ROWS,
        batch_format="pyarrow",
        zero_copy_batch=True,
    ).materialize()
    return ScoredUsers(
        scores=outcomes.map_batches(scored_rows, batch_size=None, batch_format="pyarrow"),
        quarantined=outcomes.map_batches(rejected_rows, batch_size=None, batch_format="pyarrow"),
        outcomes=outcomes,
    )


def _with_ids_together(users: "Dataset", id_column: str) -> "Dataset":
    import ray

    cores = int(ray.cluster_resources().get("CPU", 1))
    return users.repartition(BLOCKS_PER_CORE * cores, keys=[id_column])


def _column_types(dataset: "Dataset", wanted: tuple[str, ...]) -> pl.Schema:
    """The columns of a Dataset as Polars types; Null for those that are not wanted."""
    schema = dataset.schema()
    if schema is None:
        raise InputError(f"{WHERE}: no rows. Check the job that makes it.")
    types: dict[str, pl.DataType] = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        types[name] = pl.Null()
        if name in wanted:
            # A column of Python objects has no type in Arrow.
            known = isinstance(kind, pa.DataType)
            types |= arrow_types({name: kind}) if known else {name: pl.Object()}
    return pl.Schema(types)
