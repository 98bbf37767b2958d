"""The same scorer inside Spark: a DataFrame of users in; DataFrames of scores and of rejected rows out.

This is the driver's half: it opens the bundle, checks the columns and plans the work, which
`spark_worker` does. Rows pass through one `mapInArrow`. Spark keeps its result, so that both DataFrames
come from one pass.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
import pyarrow as pa

from engine.bundle.manifest import DRIVERS
from engine.bundle.open import (
    ANALYST_REPORT,
    CONFORMANCE,
    EVALUATION,
    MANIFEST,
    MODEL_CARD,
    NATIVE_CLASSIFIER,
    PREPROCESS,
    REPORT,
    SCORER,
    Bundle,
    open_bundle,
)
from engine.connectors.spark_worker import REJECTED, ShippedBundle, Work, score_batches
from engine.errors import InputError, UsageError, rule_counts
from engine.options import OutputOptions
from engine.rows.chunk import Chunk
from engine.scorer import Scorer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NOT_SHIPPED = (
    *(NATIVE_CLASSIFIER, REPORT, ANALYST_REPORT, MODEL_CARD, CONFORMANCE, SCORER, PREPROCESS),
    *(MANIFEST, EVALUATION),
)
"""Files of a bundle for people and other runtimes, which `Scorer` does not open."""

WHERE = "DataFrame"


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of rows; `reasons` has the number of rows that break each rule."""

    rows_read: int
    rows_quarantined: int
    reasons: dict[str, int]


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
        counts = {row[0]: int(row[1]) for row in reasons}
        rows = sum(counts.values())
        if not rows:
            raise InputError(f"{WHERE}: no rows. Check the job that makes it.")
        rejected = rows - counts.pop(None, 0)
        caught: dict[str, int] = {}
        for text, count in counts.items():
            for rule in text.split(";"):
                caught[rule] = caught.get(rule, 0) + count
        if rejected > max_reject_share * rows:
            raise InputError(
                f"{WHERE}: {rejected:,} of {rows:,} rows ({rejected / rows:.1%}) cannot be scored, "
                f"more than max_reject_share {max_reject_share:.1%}; caught by: "
                f"{rule_counts(caught)}. Fix the input, or allow more."
            )
        return Totals(rows, rejected, caught)

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
    duplicates: Literal["check", "checked"] = "check",
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
    if duplicates not in ("check", "checked"):
        raise UsageError(f'duplicates: {duplicates!r} given; expected "check" or "checked".')
    opened = open_bundle(Path(bundle), None if public_key is None else Path(public_key))
    scorer = Scorer(opened)
    scorer.check_columns(_column_types(df, scorer.columns), WHERE)
    id_column = scorer.manifest.schema.id
    if id_column is None:
        raise InputError(
            f"bundle {scorer.manifest.bundle_id}: names no id, and rows of a DataFrame have no "
            "number to use instead. Name an id in the schema, or use: engine score"
        )
    names = [name for name in scorer.columns if name in df.columns]
    users = df.select(*(_quoted(name) for name in names))
    if duplicates == "check":
        users = _with_ids_together(users, id_column)
    options = OutputOptions(drivers, impacts, reasons)
    return _apart(_outcomes(users, opened, scorer, options, duplicates))


def shipped(bundle: Bundle) -> ShippedBundle:
    """The bytes of a bundle for the workers, as they were checked when it was opened."""
    manifest = bundle.contents[MANIFEST]
    return ShippedBundle(
        path=str(bundle.path),
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        manifest=manifest,
        contents={n: c for n, c in bundle.contents.items() if n not in NOT_SHIPPED},
    )


def _with_ids_together(users: "DataFrame", id_column: str) -> "DataFrame":
    """Sort all rows of an id next to each other, in an order independent of their partitions."""
    from pyspark.sql.functions import xxhash64

    # NOTE: by the id alone, although the key includes the snapshot: a date may be written in several ways.
    gathered = users.repartition(_quoted(id_column))
    row_hash = xxhash64(*map(_quoted, users.columns))
    return gathered.sortWithinPartitions(_quoted(id_column), row_hash)


def _outcomes(
    users: "DataFrame", bundle: Bundle, scorer: Scorer, options: OutputOptions, duplicates: str
) -> "DataFrame":
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.storagelevel import StorageLevel

    types = _column_types(users, users.columns)
    # The columns of an outcome do not depend on the rows, so an empty chunk shows them.
    empty = scorer.score_chunk(Chunk(pl.DataFrame(schema=types), WHERE, 0, 0), options)
    rejected = empty.rejected.select(*types, "reasons")
    schema = pa.schema(
        [*_spark_fields(empty.scores), pa.field(REJECTED, pa.struct(_spark_fields(rejected)))]
    )
    work = Work(shipped(bundle), options, duplicates == "check", schema)
    outcomes = users.mapInArrow(partial(score_batches, work=work), from_arrow_schema(schema))
    return outcomes.persist(StorageLevel.MEMORY_AND_DISK)


def _apart(outcomes: "DataFrame") -> ScoredUsers:
    rejected = outcomes[f"`{REJECTED}`"]
    return ScoredUsers(
        scores=outcomes.where(rejected.isNull()).drop(REJECTED),
        quarantined=outcomes.where(rejected.isNotNull()).select(f"`{REJECTED}`.*"),
        outcomes=outcomes,
    )


def _column_types(df: "DataFrame", wanted: list[str] | tuple[str, ...]) -> pl.Schema:
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
                types |= pl.DataFrame(pa.schema([(column.name, arrow)]).empty_table()).schema
    return pl.Schema(types)


def _spark_fields(frame: pl.DataFrame) -> list[pa.Field]:
    """Arrow fields that Spark supports: no large strings, and no nulls as a type."""
    fields = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return [
        field.with_type(pa.string()) if _is_text_or_nothing(field.type) else field
        for field in fields
    ]


def _is_text_or_nothing(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
