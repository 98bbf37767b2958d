"""What the adapters for clusters share: the work for the workers, planned where the bundle is, and the gate.

An adapter gives the types of its columns, sends batches through `worker`, and keeps the outcomes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl
import pyarrow as pa

from engine.bundle.graphs import signatures
from engine.bundle.open import (
    ANALYST_REPORT,
    CONFORMANCE,
    EVALUATION,
    MANIFEST,
    MODEL_CARD,
    NATIVE_CLASSIFIER,
    REPORT,
    Bundle,
)
from engine.connectors.worker import REJECTED, ShippedBundle, Work
from engine.errors import InputError, UsageError, rule_counts
from engine.model.columns import with_texts
from engine.model.session import graphs_to_run
from engine.options import OutputOptions
from engine.rows.chunk import Chunk
from engine.scorer import Scorer

Duplicates = Literal["check", "checked"]

NOT_SHIPPED = (
    *(NATIVE_CLASSIFIER, REPORT, ANALYST_REPORT, MODEL_CARD, CONFORMANCE),
    *(MANIFEST, EVALUATION),
)
"""Files of a bundle that `Scorer` does not open, besides the graphs that it does not run."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of rows; `reasons` has the number of rows that break each rule."""

    rows_read: int
    rows_quarantined: int
    reasons: dict[str, int]


def plan_work(
    bundle: Bundle, types: pl.Schema, options: OutputOptions, duplicates: Duplicates, where: str
) -> Work:
    """Check bundle and columns, and say what every worker has to do.

    Args:
        bundle: The opened bundle.
        types: The type of every column of the users.
        options: Which columns of reasons the scores have.
        duplicates: Whether workers look for duplicates.
        where: What messages call the users, such as `DataFrame`.

    Raises:
        EngineError: The bundle cannot be used, or the columns break its contract.
    """
    if duplicates not in ("check", "checked"):
        raise UsageError(f'duplicates: {duplicates!r} given; expected "check" or "checked".')
    scorer = Scorer(bundle)
    scorer.check_columns(types, where)
    id_column = scorer.manifest.schema.id
    if id_column is None:
        raise InputError(
            f"bundle {scorer.manifest.bundle_id}: names no id, and rows of a {where} have no "
            "number to use instead. Name an id in the schema, or use: engine score"
        )
    read = {name: types[name] for name in scorer.columns if name in types}
    # The columns of an outcome do not depend on the rows, so an empty chunk shows them.
    empty = scorer.score_chunk(Chunk(pl.DataFrame(schema=read), where, 0, 0), options)
    rejected = empty.rejected.select(*read, "reasons")
    outcome = pa.schema(
        [
            *_plain_fields(with_texts(empty.scores)),
            pa.field(REJECTED, pa.struct(_plain_fields(rejected))),
        ]
    )
    return Work(shipped(bundle), options, duplicates == "check", tuple(read), id_column, outcome)


def shipped(bundle: Bundle) -> ShippedBundle:
    """The bytes of a bundle for the workers, as they were checked when it was opened."""
    manifest = bundle.contents[MANIFEST]
    left_out = {*NOT_SHIPPED, *signatures(bundle.manifest)} - graphs_to_run(bundle).keys()
    return ShippedBundle(
        path=str(bundle.path),
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        manifest=manifest,
        contents={n: c for n, c in bundle.contents.items() if n not in left_out},
    )


def check_totals(reasons: Mapping[str | None, int], max_reject_share: float, where: str) -> Totals:
    """Check how many rows were rejected.

    Args:
        reasons: The number of rows with each text of reasons; None stands for scored rows.
        max_reject_share: The largest share of rejected rows that is allowed.
        where: What messages call the users.

    Raises:
        InputError: There are no rows, or too many of them are rejected.
    """
    rows = sum(reasons.values())
    if not rows:
        raise InputError(f"{where}: no rows. Check the job that makes it.")
    rejected = rows - reasons.get(None, 0)
    caught: dict[str, int] = {}
    for text, count in reasons.items():
        for rule in text.split(";") if text else ():
            caught[rule] = caught.get(rule, 0) + count
    if rejected > max_reject_share * rows:
        raise InputError(
            f"{where}: {rejected:,} of {rows:,} rows ({rejected / rows:.1%}) cannot be scored, "
            f"more than max_reject_share {max_reject_share:.1%}; caught by: "
            f"{rule_counts(caught)}. Fix the input, or allow more."
        )
    return Totals(rows, rejected, caught)


def arrow_types(columns: Mapping[str, pa.DataType]) -> pl.Schema:
    """The Polars types of Arrow columns."""
    return pl.DataFrame(pa.schema(list(columns.items())).empty_table()).schema


def _plain_fields(frame: pl.DataFrame) -> list[pa.Field]:
    """Arrow fields that every cluster supports: no large strings, and no nulls as a type."""
    fields = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return [
        field.with_type(pa.string()) if _is_text_or_nothing(field.type) else field
        for field in fields
    ]


def _is_text_or_nothing(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_null(kind))
