"""An opened bundle as one function: a chunk of users in, a chunk of scores out."""

import os
from pathlib import Path

import polars as pl

from engine.bundle.manifest import DRIVERS, Manifest
from engine.bundle.open import REFERENCE, Bundle, open_bundle
from engine.bundle.playbook import open_playbook
from engine.bundle.reference import reference_from_json
from engine.errors import InputError, pluralize, rule_counts
from engine.forks import check_polars_answers, forked
from engine.model.columns import ScoredChunk, score_columns, with_texts
from engine.model.conformance import check_core
from engine.model.session import Session
from engine.options import OutputOptions
from engine.rows.chunk import Chunk
from engine.rows.duplicates import mark_own_duplicates
from engine.rows.prepare import needed_columns, prepare_chunk
from engine.rows.rules import check_columns


class Scorer:
    """An opened bundle, ready to score chunks; threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        check_polars_answers()
        self._process = os.getpid()
        self.session = Session(bundle)
        self.manifest: Manifest = bundle.manifest
        self.signed_by = bundle.signed_by
        self.playbook = open_playbook(bundle)
        self.reference = reference_from_json(bundle.contents[REFERENCE], bundle.manifest)
        check_core(bundle, self.session)

    def score(
        self,
        frame: pl.DataFrame,
        drivers: int = DRIVERS,
        *,
        impacts: bool = False,
        reasons: int = 0,
    ) -> pl.DataFrame:
        """Score users in memory: one row of scores per user, in the same order.

        Args:
            frame: Users with at least the columns that the bundle needs.
            drivers: How many features with the largest impacts to add, 0 to 3.
            impacts: Whether to add the base value and the impacts of all features.
            reasons: How many drivers to add in words, 0 to 3.

        Raises:
            InputError: Columns or rows break the contract. Unlike with files, one invalid row
                refuses the whole frame.
            UsageError: The bundle was opened by a process that has forked since.
        """
        self._check_process()
        options = OutputOptions(drivers, impacts, reasons)
        self.check_columns(frame.schema, "frame")
        chunk = mark_own_duplicates(Chunk(frame, "frame", 0, 0), self.manifest.schema)
        scored = self.score_chunk(chunk, options)
        if scored.rejected.height:
            rows = ", ".join(str(row) for row in scored.rejected["source_row"].head(8))
            raise InputError(
                f"frame: {pluralize(scored.rejected.height, 'row')} of {frame.height:,} cannot be "
                f"scored, the first of them: {rows} (from 1). Caught by: "
                f"{rule_counts(scored.reasons)}. "
                "Fix them, or leave them out; engine score quarantines them."
            )
        return with_texts(scored.scores)

    def check_columns(self, found: pl.Schema, where: str) -> None:
        """Check the columns of an input; see `rules.check_columns`."""
        check_columns(self.manifest.schema, found, where, f"bundle {self.manifest.bundle_id}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns that scoring reads."""
        return needed_columns(self.manifest.schema)

    def score_chunk(self, chunk: Chunk, options: OutputOptions) -> ScoredChunk:
        """Score the valid rows of a chunk, and reject the others.

        Args:
            chunk: Rows as read, with duplicates marked.
            options: Which columns to add.
        """
        self._check_process()
        prepared = prepare_chunk(chunk, self.manifest)
        predictions = self.session.run(prepared.features)
        first_row = chunk.input_rows_before + 1
        return ScoredChunk(
            rows_read=prepared.rows_read,
            features=prepared.features,
            scores=score_columns(
                prepared.valid,
                prepared.features,
                first_row,
                predictions,
                self.manifest,
                self.playbook,
                options,
            ),
            segments=predictions.segment,
            rejected=prepared.rejected,
            reasons=prepared.reasons,
            unseen=prepared.unseen,
        )

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise forked(f"bundle {self.manifest.bundle_id} was opened by process {self._process}")


def load_bundle(path: str | Path, public_key: str | Path | None = None) -> Scorer:
    """Open a bundle for scoring in memory.

    Args:
        path: A bundle folder, or a folder with `CURRENT`.
        public_key: The key that must have signed the bundle; without it no signature is looked at.

    Raises:
        BundleError: The bundle is missing, altered or invalid, or its signature is.
        VersionError: The bundle needs another engine version.
    """
    return Scorer(open_bundle(Path(path), None if public_key is None else Path(public_key)))
