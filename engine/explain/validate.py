"""`engine validate`: finds the rows that a run would score or reject, without scoring."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.open import REFERENCE, open_bundle
from engine.bundle.reference import reference_from_json
from engine.errors import NAMES_SHOWN, InputError, pluralize
from engine.explain.diagnose import RowCounts, check_rejects
from engine.inputs.chunks import check_tables, read_users
from engine.inputs.open import open_inputs
from engine.limits import InputLimits
from engine.model.threads import Progress, available_cores, in_order
from engine.options import CHUNK_ROWS
from engine.rows.chunk import Chunk
from engine.rows.prepare import PreparedChunk, needed_columns, prepare_chunk

PLACES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Place:
    """The file of a row, and its number from 1, not counting the header."""

    file: str
    row: int


@dataclass(frozen=True, slots=True)
class Validation:
    """What `engine score` would do with an input.

    Attributes:
        rows_valid: Rows that would be scored.
        rows_rejected: Rows that would go to quarantine.
        reasons: The number of rows that break each rule; a row may break several.
        first_rows: The first rows that break each rule.
        unseen_categories: The number of values that the bundle does not know, by feature.
        near_categories: How many of them differ from a known value only in case, outer spaces or
            Unicode form, by feature and known value.
        refusal: Why nothing would be published; None if scores would be published.
    """

    bundle_id: str
    inputs: tuple[str, ...]
    rows_read: int
    rows_valid: int
    rows_rejected: int
    reasons: dict[str, int]
    first_rows: dict[str, tuple[Place, ...]]
    unseen_categories: dict[str, int]
    near_categories: dict[str, dict[str, int]]
    refusal: str | None

    def to_json(self) -> str:
        """The result as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def to_lines(self) -> list[str]:
        """The result as lines for people."""
        lines = [
            f"{self.rows_read:,} users read: {self.rows_valid:,} would be scored, "
            f"{self.rows_rejected:,} quarantined"
        ]
        for rule, rows in self.reasons.items():
            places = ", ".join(f"row {p.row:,} of {p.file}" for p in self.first_rows[rule])
            lines.append(f"quarantined: {pluralize(rows, 'row')} by {rule}: {places}")
        for name, count in self.unseen_categories.items():
            near = self.near_categories.get(name, {})
            hint = ", ".join(f"{n:,} near {value!r}" for value, n in [*near.items()][:NAMES_SHOWN])
            lines.append(
                f"unseen values scored as missing: {count:,} in {name}"
                + (f" ({hint})" if hint else "")
            )
        return lines


def validate_input(
    inputs: Sequence[str],
    bundle: Path,
    max_reject_share: float,
    limits: InputLimits = InputLimits(),  # noqa: B008 - it is frozen
    progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> Validation:
    """Check an input as `engine score` does, without scoring or writing.

    Args:
        inputs: Files, globs, directories, or `-` for standard input.
        bundle: A bundle folder, or a folder with `CURRENT`.
        max_reject_share: The largest share of rejected rows with which scores are published.
        limits: What is read of the input at most.
        progress: Called after each chunk.

    Raises:
        EngineError: The bundle or the input cannot be opened, or columns break the contract.
    """
    opened = open_bundle(bundle)
    manifest = opened.manifest
    reference = reference_from_json(opened.contents[REFERENCE], manifest)
    findings = _Findings()
    needed = needed_columns(manifest.schema)
    with open_inputs(inputs, needed, limits) as tables:
        check_tables(manifest, tables)
        total = sum(table.rows for table in tables)
        chunks = read_users(tables, needed, CHUNK_ROWS, manifest.schema)
        check = partial(_check, manifest=manifest)
        with closing(in_order(check, chunks, available_cores())) as chunks_checked:
            for found in chunks_checked:
                findings.add(*found)
                progress(findings.rows.read, total)
        refusal = None
        try:
            check_rejects(findings.rows, max_reject_share, tables, manifest, reference)
        except InputError as error:
            refusal = str(error)
    rows, rejected = findings.rows, findings.rows.rejected.total()
    return Validation(
        bundle_id=manifest.bundle_id,
        inputs=tuple(table.name for table in tables),
        rows_read=rows.read,
        rows_valid=rows.read - rejected,
        rows_rejected=rejected,
        reasons=dict(rows.reasons.most_common()),
        first_rows={rule: tuple(places) for rule, places in findings.places.items()},
        unseen_categories=dict(sorted(rows.unseen.items())),
        near_categories={name: dict(c.most_common()) for name, c in findings.near.items()},
        refusal=refusal,
    )


class _Findings:
    """Adds up chunks in input order."""

    def __init__(self) -> None:
        self.rows = RowCounts()
        self.places: dict[str, list[Place]] = {}
        self.near: dict[str, Counter[str]] = {}

    def add(self, chunk: PreparedChunk, near: dict[str, Counter[str]]) -> None:
        self.rows.add(chunk)
        for name, counts in near.items():
            self.near.setdefault(name, Counter()).update(counts)
        for rule, file, row in _first_places(chunk.rejected).iter_rows():
            places = self.places.setdefault(rule, [])
            if len(places) < PLACES_SHOWN:
                places.append(Place(file, row))


def _first_places(rejected: pl.DataFrame) -> pl.DataFrame:
    """Rule, file and row of the first rows of a chunk that break each rule."""
    return (
        rejected.select(pl.col("reasons").str.split(";"), "source_file", "source_row")
        .explode("reasons")
        .group_by("reasons", maintain_order=True)
        .head(PLACES_SHOWN)
    )


def _check(chunk: Chunk, manifest: Manifest) -> tuple[PreparedChunk, dict[str, Counter[str]]]:
    """A prepared chunk, and its number of unseen values near each known value, by feature."""
    prepared = prepare_chunk(chunk, manifest)
    near = {name: _near_values(prepared, name, manifest) for name in prepared.unseen}
    return prepared, {name: counts for name, counts in near.items() if counts}


def _near_values(prepared: PreparedChunk, name: str, manifest: Manifest) -> Counter[str]:
    """The number of unseen values that differ from a known one only in case, outer spaces or Unicode form."""
    features = [feature.name for feature in manifest.schema.model_features]
    is_unseen = np.isnan(prepared.features[:, features.index(name)])
    values = prepared.valid[name].filter(pl.Series(is_unseen)).drop_nulls()
    known = pl.Series(manifest.categories[name], dtype=pl.String)
    meant = dict(zip(_plain(known), known, strict=True))
    near = _plain(values).replace_strict(meant, default=None, return_dtype=pl.String).drop_nulls()
    return Counter(dict(near.value_counts().iter_rows()))


def _plain(texts: pl.Series) -> pl.Series:
    """Texts normalised for case, outer spaces and Unicode form."""
    return texts.str.normalize("NFC").str.strip_chars().str.to_lowercase()
