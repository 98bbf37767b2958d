"""The scores of one night: users and expected buyers by segment and band, and a histogram."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS
from engine.bundle.schema import FeatureSchema
from engine.bundle.score_file import score_features, score_keys
from engine.errors import InputError, pluralize, quoted, rule_counts
from engine.inputs.chunks import read_chunks
from engine.inputs.open import open_inputs
from engine.inputs.tables import Table
from engine.limits import InputLimits
from engine.options import CHUNK_ROWS
from engine.pages.bins import FINEST_BINS, WIDTHS, bin_numbers
from engine.pages.format import EVERYBODY
from engine.report.run import Run, read_run
from engine.rows.rules import check_columns, check_same_keys, split_rows

SCORES = score_features("purchase_probability", "propensity_band", "segment_name", "bundle_id")
"""The columns that are read from a score file, besides its id."""

PLACE_BITS = 10
"""The low bits of a user's number hold the place: segment and band."""

PLACES = 1 << PLACE_BITS
MOST_SEGMENTS = PLACES // len(BANDS)


@dataclass(frozen=True, slots=True)
class Night:
    """The scores of one run.

    Attributes:
        name: The name of the file.
        id: The column of the users' ids; None if rows are only numbered.
        bundles: The bundles that scored the rows, in order.
        segments: Their names; a segment's position is its number.
        rows: int64 [segments, bands].
        buyers: The sum of the probabilities, float64 [segments, bands].
        bins: Rows by probability in `FINEST_BINS`, int64.
        users: A number for each row, rising, uint64 [rows]: the first bits of a hash of the id, then
            the place, which is the segment's number times the number of bands plus the band.
        run: What the summary beside the scores says, or in words why there is none.
    """

    name: str
    id: str | None
    bundles: tuple[str, ...]
    segments: tuple[str, ...]
    rows: np.ndarray
    buyers: np.ndarray
    bins: np.ndarray
    users: np.ndarray
    run: Run | str


def read_night(scores: str, limits: InputLimits = InputLimits()) -> Night:  # noqa: B008 - it is frozen
    """Read a score file in chunks; 8 bytes a row are kept.

    Args:
        scores: A file as the engine wrote it, or a glob or directory of such.
        limits: What is read at most.

    Raises:
        InputError: It is no score file, has no rows, or holds values that the engine never writes.
        NoInputError: There is nothing to read.
    """
    wanted = [feature.name for feature in SCORES]
    with open_inputs([scores], wanted, limits) as tables:
        schema = _score_schema(tables)
        columns = [*wanted, *([schema.id] if schema.id else [])]
        tally = _Tally(sum(table.rows for table in tables), schema.id)
        for chunk in read_chunks(tables, columns, CHUNK_ROWS):
            split = split_rows(chunk.frame, schema, chunk.faults)
            if split.reasons:
                raise InputError(
                    f"{chunk.file}: {rule_counts(split.reasons)}; the engine never writes such rows. "
                    "Give a score file."
                )
            tally.add(split.valid, chunk.file)
    if not tally.filled:
        raise InputError(f"{scores}: no row of scores. Check the job that writes it.")
    return tally.night(Path(scores).name or scores, read_run(Path(scores), tuple(tally.bundles)))


def _score_schema(tables: Sequence[Table]) -> FeatureSchema:
    """The columns to read.

    Raises:
        InputError: Columns are missing or of a wrong type, or the files differ in their id.
    """
    for table in tables:
        missing = sorted(f.name for f in SCORES if f.name not in table.columns)
        if missing:
            raise InputError(
                f"{table.name}: not a score file: {pluralize(len(missing), 'missing column')}: "
                f"{quoted(missing)}. Give a file that 'engine score' wrote."
            )
    keys = score_keys(tables[0].columns.names(), tables[0].name)
    schema = FeatureSchema("scores", SCORES, id=keys.id)
    for table in tables:
        check_columns(schema, table.columns, table.name, "a report")
    check_same_keys(schema, ((table.name, table.columns) for table in tables))
    return schema


@dataclass(slots=True)
class _Tally:
    """Adds up chunks of scores."""

    total: int
    id: str | None
    filled: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    bundles: dict[str, None] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(PLACES, np.int64))
    buyers: np.ndarray = field(default_factory=lambda: np.zeros(PLACES))
    bins: np.ndarray = field(default_factory=lambda: np.zeros(FINEST_BINS, np.int64))
    users: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.users = np.empty(self.total if self.id else 0, np.uint64)

    def add(self, frame: pl.DataFrame, file: str) -> None:
        """Count one chunk of typed rows."""
        probability = frame["purchase_probability"].cast(pl.Float64).to_numpy()
        place = self._places(frame, file)
        self.rows += np.bincount(place, minlength=PLACES)
        self.buyers += np.bincount(place, probability, minlength=PLACES)
        numbers = bin_numbers(probability, WIDTHS[0], FINEST_BINS)
        self.bins += np.bincount(numbers, minlength=FINEST_BINS)
        self.bundles |= dict.fromkeys(frame["bundle_id"].unique(maintain_order=True))
        if self.id:
            hashes = frame[self.id].cast(pl.String).hash().to_numpy()
            numbered = hashes >> np.uint64(PLACE_BITS) << np.uint64(PLACE_BITS)
            self.users[self.filled : self.filled + frame.height] = numbered | place.astype(
                np.uint64
            )
        self.filled += frame.height

    def night(self, name: str, run: Run | str) -> Night:
        """All that was counted."""
        self.users.sort()
        segments, bands = len(self.segments), len(BANDS)
        return Night(
            name,
            self.id,
            tuple(self.bundles),
            tuple(self.segments),
            self.rows[: segments * bands].reshape(segments, bands),
            self.buyers[: segments * bands].reshape(segments, bands),
            self.bins,
            self.users,
            run,
        )

    def _places(self, frame: pl.DataFrame, file: str) -> np.ndarray:
        """The place of each row, int64 [rows]; new segments get the next numbers."""
        # Scores of a bundle whose segments are not used name none.
        names = frame["segment_name"].fill_null(EVERYBODY)
        for name in names.unique(maintain_order=True):
            self.segments.setdefault(name, len(self.segments))
        bands = frame["propensity_band"].replace_strict(
            {band: n for n, band in enumerate(BANDS)}, default=None, return_dtype=pl.Int64
        )
        unknown = bands.null_count()
        if unknown or len(self.segments) > MOST_SEGMENTS:
            what = (
                f"{pluralize(unknown, 'row')} whose 'propensity_band' is none of {quoted(BANDS)}"
                if unknown
                else f"more than {MOST_SEGMENTS} values of 'segment_name'"
            )
            raise InputError(
                f"{file}: {what}; the engine never writes such rows. Give a score file."
            )
        number = names.replace_strict(self.segments, return_dtype=pl.Int64)
        places: np.ndarray = (number * len(BANDS) + bands).to_numpy()
        return places
