"""The same scorer inside Spark: a DataFrame of users in; DataFrames of scores and of rejected rows out.

This is the driver's half: it opens the bundle, checks the columns and plans the work, which
`worker` does. Rows pass through one `mapInArrow`. Spark keeps its result, so that both DataFrames
come from one pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.bundle.manifest import DRIVERS
from engine.bundle.open import open_bundle
from engine.connectors.distributed import Duplicates, Totals, arrow_types, check_totals, plan_work
from engine.connectors.worker import REJECTED, Work, score_batches
from engine.options import OutputOptions
from engine.rows.prepare import needed_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WHERE = "DataFrame"


@dataclass(frozen=True, slots=True)
class ScoredUsers:
    """The result of `score`; unpacks as `scores, quarantined`.

    Attributes:
        scores: The columns of the score file, one row for each scored row, in no order.
        quarantined: The columns that scoring reads, unchanged, and `reasons`.
        outcomes: The rows of both, which Spark keeps in memory and on disk once computed.
    """

    scores: "DataFrame"
    quarantined: "DataFrame"
    outcomes: "DataFrame"

    def __iter__(self) -> Iterator["DataFrame"]:
        return iter((self.scores, self.quarantined))

    def check(self, max_reject_share: float = 0.01) -> Totals:
        """Score all rows, and fail if too many cannot be scored; call it before publishing.

        Args:
            max_reject_share: The largest share of rejected rows that is allowed.

        Raises:
            InputError: There are no rows, or too many of them are rejected.
        """
        reasons = self.outcomes.groupBy(f"`{REJECTED}`.reasons").count().collect()
        return check_totals({row[0]: int(row[1]) for row in reasons}, max_reject_share, WHERE)

    def release(self) -> None:
        """Let Spark drop the outcomes that it keeps."""
        self.outcomes.unpersist()


def score(
    df: "DataFrame",
    bundle: str | Path,
    *,
    drivers: int = DRIVERS,
    impacts: bool = False,
    reasons: int = 0,
    duplicates: Duplicates = "check",
    public_key: str | Path | None = None,
) -> ScoredUsers:
    """Score a DataFrame of users; nothing runs before an action on the result.

    Args:
        df: Users with at least the columns that the bundle needs; others are not read.
        bundle: A bundle folder, or a folder with `CURRENT`; only the driver reads it.
        drivers: The number of drivers in the scores, 0 to 3.
        impacts: Whether to add the base value and the impacts of all features.
        reasons: The number of drivers in words, 0 to 3.
        duplicates: "check" shuffles all rows of an id together and rejects all but one row of each
            key. As a DataFrame has no order, the first by a hash of its columns is kept. "checked"
            declares that no key occurs twice, and saves the shuffle.
        public_key: The key that must have signed the bundle; without it no signature is looked at.

    Raises:
        EngineError: The bundle cannot be used, or the columns break its contract.
    """
    opened = open_bundle(Path(bundle), None if public_key is None else Path(public_key))
    types = _column_types(df, needed_columns(opened.manifest.schema))
    options = OutputOptions(drivers, impacts, reasons)
    work = plan_work(opened, types, options, duplicates, WHERE)
    users = df.select(*map(_quoted, work.columns))
    if work.find_duplicates:
        users = _with_ids_together(users, work.id_column)
    return _apart(_outcomes(users, work))


def _with_ids_together(users: "DataFrame", id_column: str) -> "DataFrame":
    """Sort all rows of an id next to each other, in an order independent of their partitions."""
    from pyspark.sql.functions import xxhash64

    # NOTE: by the id alone, although the key includes the snapshot: a date may be written in several ways.
    gathered = users.repartition(_quoted(id_column))
    row_hash = xxhash64(*map(_quoted, users.columns))
    return gathered.sortWithinPartitions(_quoted(id_column), row_hash)


def _outcomes(users: "DataFrame", work: Work) -> "DataFrame":
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.storagelevel import StorageLevel

    outcomes = users.mapInArrow(partial(score_batches, work=work), from_arrow_schema(work.outcome))
    return outcomes.persist(StorageLevel.MEMORY_AND_DISK)


def _apart(outcomes: "DataFrame") -> ScoredUsers:
    rejected = outcomes[f"`{REJECTED}`"]
    return ScoredUsers(
        scores=outcomes.where(rejected.isNull()).drop(REJECTED),
        quarantined=outcomes.where(rejected.isNotNull()).select(f"`{REJECTED}`.*"),
        outcomes=outcomes,
    )


def _column_types(df: "DataFrame", wanted: tuple[str, ...]) -> pl.Schema:
    """The columns of a DataFrame as Polars types; Null for those that are not wanted."""
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import to_arrow_type

    types: dict[str, pl.DataType] = {}
    for column in df.schema.fields:
        types[column.name] = pl.Null()
        if column.name in wanted:
            try:
                arrow = to_arrow_type(column.dataType, timezone="UTC")
            except PySparkException:
                # No column that scoring reads may have a type that Arrow lacks.
                types[column.name] = pl.Object()
            else:
                types |= arrow_types({column.name: arrow})
    return pl.Schema(types)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
