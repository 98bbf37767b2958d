"""The code in the Python workers of a cluster: Arrow batches of users in, Arrow batches of outcomes out.

An outcome is a row of scores or a rejected row; `spark` and `ray` separate the two.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

# NOTE: Polars sizes its thread pool when it is imported, and a worker imports this module before it
# calls anything. So only functions may import Polars, after `score_batches` has set the size.
if TYPE_CHECKING:
    import polars as pl

    from engine.model.columns import ScoredChunk
    from engine.options import OutputOptions
    from engine.scorer import Scorer

REJECTED = "|rejected"
"""The column of an outcome that holds a rejected row as a struct; null where the row is scored.
No feature has such a name, because `|` separates a column from a rule."""


@dataclass(frozen=True, slots=True)
class ShippedBundle:
    """The checked bytes of a bundle for the workers; equal if the manifests are equal.

    Attributes:
        path: The path on the driver, for messages.
        manifest_sha256: SHA-256 of `manifest`, which holds the SHA-256 of every other file.
        manifest: The bytes of `manifest.json`.
        contents: The bytes of the files that scoring reads.
    """

    path: str
    manifest_sha256: str
    manifest: bytes = field(compare=False, repr=False)
    contents: Mapping[str, bytes] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Work:
    """What to do with every partition.

    Attributes:
        bundle: The bundle.
        options: Which columns of reasons the scores have.
        find_duplicates: Whether to find duplicates; all rows of an id then follow each other.
        columns: The columns of the users that scoring reads.
        id_column: The one that holds the id.
        outcome: The columns of an outcome; the last is `REJECTED`.
    """

    bundle: ShippedBundle
    options: "OutputOptions"
    find_duplicates: bool
    columns: tuple[str, ...]
    id_column: str
    outcome: pa.Schema


def score_batches(batches: Iterable[pa.RecordBatch], work: Work) -> Iterator[pa.RecordBatch]:
    """Score one partition on one thread.

    Args:
        batches: Users, with the columns that the bundle needs.
        work: The work to do.

    Raises:
        BundleError: The bundle was altered in transit.
        SelfCheckError: The rows of a batch do not add up.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    import polars as pl

    from engine.rows.chunk import Chunk
    from engine.rows.duplicates import mark_own_duplicates

    scorer = open_scorer(work.bundle)
    schema = scorer.manifest.schema
    frames: Iterable[pl.DataFrame] = map(pl.DataFrame, batches)
    if work.find_duplicates:
        frames = whole_ids(frames, work.id_column)
    for users in frames:
        chunk = Chunk(users, "partition", 0, 0)
        if work.find_duplicates:
            chunk = mark_own_duplicates(chunk, schema)
        yield from outcomes(scorer.score_chunk(chunk, work.options), work.outcome).to_batches()


def score_block(block: pa.Table, work: Work) -> pa.Table:
    """Score a block of users that has all rows of each of its ids.

    Args:
        block: Users, with the columns that the bundle needs.
        work: The work to do.

    Raises:
        BundleError: The bundle was altered in transit.
        SelfCheckError: The rows of a batch do not add up.
    """
    if work.find_duplicates:
        # By all columns: which row of a key is scored must not depend on where it was stored.
        others = [name for name in block.column_names if name != work.id_column]
        block = block.sort_by([(name, "ascending") for name in (work.id_column, *others)])
    batches = block.combine_chunks().to_batches()
    return pa.Table.from_batches(score_batches(batches, work), work.outcome)


def scored_rows(outcomes: pa.Table) -> pa.Table:
    """The scores among the outcomes."""
    return outcomes.filter(outcomes[REJECTED].is_null()).drop_columns([REJECTED])


def rejected_rows(outcomes: pa.Table) -> pa.Table:
    """The rejected rows among the outcomes."""
    rejected = outcomes[REJECTED].drop_null().combine_chunks()
    return pa.Table.from_struct_array(rejected)


def count_reasons(outcomes: pa.Table) -> pa.Table:
    """The number of outcomes with each text of reasons, null for scored rows, as `reasons` and `rows`."""
    counts = outcomes[REJECTED].combine_chunks().field("reasons").value_counts()
    return pa.table({"reasons": counts.field("values"), "rows": counts.field("counts")})


def whole_ids(frames: Iterable["pl.DataFrame"], id_column: str) -> Iterator["pl.DataFrame"]:
    """Regroup rows so that all rows of an id are in one frame.

    Args:
        frames: Rows sorted so that equal ids are adjacent.
        id_column: The id column.
    """
    import polars as pl

    id_ = pl.col(id_column)
    held: pl.DataFrame | None = None
    for frame in frames:
        rows = frame if held is None else pl.concat([held, frame])
        # The next frame may continue the last id. Rows without an id have no duplicates.
        is_last = rows.select((id_ == id_.last()).fill_null(value=False)).to_series()
        held = rows.filter(is_last)
        yield rows.filter(~is_last)
    if held is not None:
        yield held


@lru_cache(maxsize=1)
def open_scorer(shipped: ShippedBundle) -> "Scorer":
    """Open a shipped bundle; it is cached, because a worker process runs many tasks.

    Raises:
        BundleError: The bytes differ from those that the driver checked.
    """
    from engine.bundle.manifest import manifest_from_json
    from engine.bundle.open import Bundle
    from engine.scorer import Scorer

    _check_hash(shipped, "manifest.json", shipped.manifest, shipped.manifest_sha256)
    manifest = manifest_from_json(shipped.manifest, shipped.path)
    for name, content in shipped.contents.items():
        _check_hash(shipped, name, content, manifest.files[name].sha256)
    return Scorer(Bundle(Path(shipped.path), manifest, shipped.contents))


def outcomes(scored: "ScoredChunk", schema: pa.Schema) -> pa.Table:
    """The rows of one chunk in the schema that the cluster expects: first the scored ones, then the others.

    Args:
        scored: The result of the chunk.
        schema: The columns of an outcome.

    Raises:
        SelfCheckError: The numbers of rows do not add up.
    """
    import polars as pl

    from engine.errors import SelfCheckError
    from engine.model.columns import with_texts

    columns = [column.name for column in schema.field(REJECTED).type]
    rejected = scored.rejected.select(pl.struct(columns).alias(REJECTED))
    rows = pl.concat([with_texts(scored.scores), rejected], how="diagonal")
    if rows.height != scored.rows_read:
        raise SelfCheckError(
            f"{scored.rows_read:,} rows read, but {scored.scores.height:,} scored and "
            f"{rejected.height:,} rejected. Do not use these scores; report this."
        )
    # NOTE: Spark supports neither large texts nor views.
    return rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def _check_hash(shipped: ShippedBundle, name: str, content: bytes, wanted: str) -> None:
    from engine.errors import BundleError

    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise BundleError(
            f"{shipped.path}/{name}: altered on the way to a worker: SHA-256 {wanted[:12]}… "
            f"expected, found {found[:12]}…. Start the job again."
        )
