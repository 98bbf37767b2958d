"""The options of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.bundle.manifest import DRIVERS
from engine.errors import UsageError
from engine.limits import InputLimits

CHUNK_ROWS = 32_768
"""Rows per chunk, by default."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Which columns of reasons the scores have.

    Attributes:
        drivers: The number of drivers, the features with the largest impacts: 0 to 3.
        impacts: Whether to add the base value and the impacts of all features.
        reasons: The number of drivers in words, 0 to 3.
    """

    drivers: int = DRIVERS
    impacts: bool = False
    reasons: int = 0

    def __post_init__(self) -> None:
        for name, count in (("drivers", self.drivers), ("reasons", self.reasons)):
            if count not in range(DRIVERS + 1):
                raise UsageError(f"{name}: {count} given; expected 0 to {DRIVERS}.")


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """Options of `score`.

    Only `drivers`, `reasons`, `impacts` and `csv_for_spreadsheets` change the bytes of what is published.

    Attributes:
        if_exists: What to do if the output exists already.
        chunk_rows: Rows per chunk.
        threads: Chunks scored in parallel; by default one for each available core.
        quarantine: The file for rejected rows; by default beside the output.
        max_reject_share: The largest share of rejected rows with which scores are published.
        summary: The file for the JSON summary; by default beside the output.
        drivers: The number of drivers in the scores, 0 to 3.
        impacts: Whether to add the base value and the impacts of all features.
        reasons: The number of drivers in words, 0 to 3.
        metrics_file: A file for the summary in Prometheus' text format.
        strict: Whether an alarm stops the run before anything is published.
        dry_run: Whether to read, check and score everything, but write nothing.
        csv_for_spreadsheets: Whether to put an apostrophe before CSV texts that look like a formula.
        limits: What is read at most.
        public_key: The key that must have signed the bundle; without it no signature is looked at.
    """

    if_exists: Literal["fail", "replace", "skip"] = "fail"
    chunk_rows: int = CHUNK_ROWS
    threads: int | None = None
    quarantine: Path | None = None
    max_reject_share: float = 0.01
    summary: Path | None = None
    drivers: int = DRIVERS
    impacts: bool = False
    reasons: int = 0
    metrics_file: Path | None = None
    strict: bool = False
    dry_run: bool = False
    csv_for_spreadsheets: bool = False
    limits: InputLimits = InputLimits()  # noqa: RUF009 - it is frozen
    public_key: Path | None = None
