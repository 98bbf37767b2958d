"""Who is admitted: filters, suppression, the control group, and the cutoff of the ranking.

One pass over the scores keeps at most 11 bytes a row; the cutoff is exact.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.activate.options import AudienceOptions
from engine.activate.profit import NO_CELL, ContactProfits
from engine.activate.score_rows import BAND, IN_CONTROL, Scores
from engine.bundle.playbook import salted_draws
from engine.bundle.score_file import PROBABILITY
from engine.errors import InputError, pluralize, quoted

LEFT_OUT, CONTACTED, CONTROL_USER = 0, 1, 2
TIE_SALT = "tie-v1:"


@dataclass(frozen=True, slots=True)
class Filters:
    """What every user of a list passes.

    Attributes:
        segments: Names or ids; any segment if there are none.
        bands: Any band if there are none.
        min_probability: The least probability of a purchase.
    """

    segments: tuple[str, ...]
    bands: tuple[str, ...]
    min_probability: float | None

    def conditions(self) -> dict[str, pl.Expr]:
        """The condition of each filter that is set, by its option; null values do not pass."""
        conditions = {}
        if self.segments:
            names = (pl.col("segment_name"), pl.col("segment_id").cast(pl.String))
            conditions["--segment"] = pl.any_horizontal(n.is_in(self.segments) for n in names)
        if self.bands:
            conditions["--band"] = pl.col(BAND).is_in(self.bands)
        if self.min_probability is not None:
            least = pl.lit(self.min_probability, pl.Float32)
            conditions["--min-probability"] = pl.col(PROBABILITY) >= least
        return {option: found.fill_null(value=False) for option, found in conditions.items()}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Every row of the scores.

    Attributes:
        role: `LEFT_OUT`, or who may be `CONTACTED`, or is a `CONTROL_USER`: uint8 [rows].
        probability: float32 [rows].
        rank: Users with higher values are admitted first: float32 [rows].
        cell: The cell of the playbook, int16 [rows]; None if users are ranked by probability.
        left_out: Rows that fail each filter, of those that pass the ones before it, by reason.
        suppressed: Rows that pass the filters but are suppressed.
        unmatched: Suppression files of which no id is in the scores.
    """

    role: np.ndarray
    probability: np.ndarray
    rank: np.ndarray
    cell: np.ndarray | None
    left_out: Mapping[str, int]
    suppressed: int
    unmatched: tuple[str, ...]


def rank_users(
    scores: Scores,
    filters: Filters,
    suppressed: Mapping[str, pl.Series],
    profits: ContactProfits | None,
) -> Ranking:
    """Give every user a role and a rank.

    Args:
        scores: The score files.
        filters: What users must pass.
        suppressed: The ids, as text, of each suppression file.
        profits: Ranks users by expected profit; without them they are ranked by probability.

    Raises:
        InputError: Values are missing, or a segment of the filters is unknown.
    """
    role = np.zeros(scores.rows, np.uint8)
    probability = np.zeros(scores.rows, np.float32)
    rank = probability if profits is None else np.zeros_like(probability)
    cell = None if profits is None else np.zeros(scores.rows, np.int16)
    counts: Counter[str] = Counter()
    matches: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    segments: set[tuple[str | None, str | None]] = set()
    end = 0
    for frame in scores.read(_columns(scores, filters, profits)):
        rows = slice(end, end := end + frame.height)
        probability[rows] = frame[PROBABILITY]
        if profits is not None and cell is not None:
            cell[rows] = profits.cell_column(frame)
            rank[rows] = profits.profit(probability[rows], cell[rows])
        faults.update(value_faults(frame, None if cell is None else cell[rows]))
        passes = np.ones(frame.height, np.bool_)
        conditions = {
            f"outside {option}": frame.select(condition).to_series().to_numpy()
            for option, condition in filters.conditions().items()
        }
        if profits is not None and cell is not None:
            conditions["whom the playbook does not contact"] = profits.contacted[cell[rows]]
        for reason, found in conditions.items():
            counts[reason] += int(np.count_nonzero(passes & ~found))
            passes &= found
        matching = _matching(frame[scores.id].cast(pl.String), suppressed)
        matches.update({name: int(found.sum()) for name, found in matching.items()})
        is_suppressed = np.any([*matching.values(), np.zeros(frame.height, np.bool_)], axis=0)
        counts["suppressed"] += int(np.count_nonzero(passes & is_suppressed))
        passes &= ~is_suppressed
        in_control = frame[IN_CONTROL].fill_null(value=False)
        role[rows] = np.where(in_control, CONTROL_USER, CONTACTED) * passes
        if filters.segments:
            known = frame.select("segment_name", pl.col("segment_id").cast(pl.String)).unique()
            segments |= set(known.rows())
    check_faults(scores.names, faults)
    _check_segments(filters.segments, segments, scores.names)
    unmatched = tuple(name for name in suppressed if not matches[name])
    count = counts.pop("suppressed")
    return Ranking(role, probability, rank, cell, dict(counts), count, unmatched)


def admit(
    ranking: Ranking, scores: Scores, options: AudienceOptions
) -> tuple[np.ndarray, float | None]:
    """Admit the users of the highest rank; of equal rank, those of the smallest draw.

    The draw is the first 8 hex digits of SHA-256(UTF-8 of "tie-v1:" + id). Ranked by profit, nobody is
    admitted who would cost as much as the contact can earn, or more.

    Returns:
        The role of each row, and the rank of the last user admitted; None if all could be.
    """
    role, rank = ranking.role.copy(), ranking.rank
    if options.by == "profit":
        role[rank <= 0] = LEFT_OUT
    is_eligible = role == CONTACTED
    eligible = rank[is_eligible]
    most = options.most_users(len(eligible))
    if most == len(eligible):
        return role, None
    if most == 0:
        return np.zeros_like(role), None
    cutoff = np.partition(eligible, -most)[-most]
    excess = int(np.count_nonzero(eligible >= cutoff)) - most
    role[rank < cutoff] = LEFT_OUT
    if excess:
        tied = np.flatnonzero(is_eligible & (rank == cutoff))
        order = np.argsort(_tie_draws(scores, tied), kind="stable")
        role[tied[order[-excess:]]] = LEFT_OUT
    # The shortest text of a float32 is also the number that people read.
    return role, float(str(cutoff))


def _matching(ids: pl.Series, suppressed: Mapping[str, pl.Series]) -> dict[str, np.ndarray]:
    """Which ids each suppression file has: bool [rows]."""
    return {name: ids.is_in(found.implode()).to_numpy() for name, found in suppressed.items()}


def value_faults(scores: pl.DataFrame, cell: np.ndarray | None) -> dict[str, int]:
    """How many typed rows of scores lack a value, by what is expected.

    Args:
        scores: Typed rows.
        cell: Their cells of the playbook, if users are ranked by profit.
    """
    probability = pl.col(PROBABILITY).is_between(0, 1).fill_null(value=False)
    faults = {
        f"a number from 0 to 1 in {PROBABILITY!r}": scores.select((~probability).sum()).item(),
        f"true or false in {IN_CONTROL!r}": scores[IN_CONTROL].null_count(),
    }
    if cell is not None:
        faults["a segment and band that the bundle's playbook has"] = int((cell == NO_CELL).sum())
    return faults


def check_faults(where: str, faults: Mapping[str, int]) -> None:
    """Check that no row lacks a value.

    Raises:
        InputError: Some do; `where` begins the message.
    """
    found = [f"{pluralize(rows, 'row')} without {what}" for what, rows in faults.items() if rows]
    if found:
        raise InputError(f"{where}: {'; '.join(found)}. Give a file that 'engine score' wrote.")


def _columns(scores: Scores, filters: Filters, profits: ContactProfits | None) -> list[str]:
    segment = bool(filters.segments) or profits is not None
    band = bool(filters.bands) or profits is not None
    return [
        *(scores.id, PROBABILITY, IN_CONTROL),
        *(("segment_id", "segment_name") if segment else ()),
        *((BAND,) if band else ()),
    ]


def _check_segments(
    wanted: Sequence[str], found: set[tuple[str | None, str | None]], where: str
) -> None:
    if not wanted:
        return
    if any(name is None and number is None for name, number in found):
        raise InputError(
            f"{where}: rows without a segment, because the bundle's segments are not used. Leave out "
            "--segment."
        )
    unknown = [text for text in wanted if not any(text in each for each in found)]
    if unknown:
        names = sorted(f"{name} ({number})" for name, number in found)
        raise InputError(
            f"{where}: no segment {quoted(unknown)}, as --segment asks for. There are {', '.join(names)}."
        )


def _tie_draws(scores: Scores, rows: np.ndarray) -> np.ndarray:
    """The draws of some rows, ascending: uint32 [rows given]."""
    draws = [np.empty(0, np.uint32)]
    end = 0
    for frame in scores.read([scores.id]):
        first, last = np.searchsorted(rows, [end, end + frame.height])
        ids = frame[scores.id].gather(rows[first:last] - end)
        draws.append(salted_draws(ids, TIE_SALT))
        end += frame.height
    return np.concatenate(draws)
