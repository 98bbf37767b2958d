"""The figures of a night as words, tables and a picture; no figure is about fewer than 20 users."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from engine.bundle.manifest import BANDS
from engine.bundle.reference import TELLING_USERS
from engine.errors import pluralize
from engine.format import shown_name
from engine.pages.blocks import Block, Bullets, Cell, Fact, Facts, Figure, Section, Text, table
from engine.pages.format import BAND_WORDS, bands_words, count, percent, signed
from engine.pages.merging import Runs, neighbours, table_runs
from engine.report.chart import histogram_chart, shares_by_bin, width_of
from engine.report.flows import Flows, either, merged_note
from engine.report.moves import Moves, moves
from engine.report.night import Night
from engine.report.run import Run

FEW = f"< {TELLING_USERS}"
FEW_WORDS = f"fewer than {TELLING_USERS}"
"""Stand for a number that is not disclosed, in a table and in a sentence."""

_FEW_ROWS = re.compile(r"\b1?\d (?:rows|of the run before)\b")

UPPER_BOUND = (
    "The sum of all probabilities: users who will buy, contacted or not. It is the most that contacts "
    "can win, not what they win."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is wrong with the run, in a few words and in sentences."""

    badge: str
    sentences: tuple[str, ...] = ()
    good: bool = False


def verdict(now: Night) -> Verdict:
    """Whether the run raised an alarm."""
    if not isinstance(now.run, Run):
        return Verdict("Alarms unknown", (now.run,))
    if now.run.unusable:
        return Verdict("These scores must not be used", now.run.unusable)
    if now.run.alarms:
        sentences = tuple(map(_disclosed, now.run.alarms))
        return Verdict(pluralize(len(sentences), "alarm"), sentences)
    return Verdict("No alarm", good=True)


def about(now: Night, before: Night | None) -> list[tuple[str, str]]:
    """Which files and bundles the page is about, as terms and words."""
    lines = [("Scores", shown_name(now.name)), ("Bundle", _bundles(now))]
    if isinstance(now.run, Run) and now.run.snapshots:
        lines.append(("Snapshot", " to ".join(now.run.snapshots)))
    if before is not None:
        lines.append(("Last run", f"{shown_name(before.name)}, {_bundles(before)}"))
    return lines


def night_sections(now: Night, before: Night | None) -> list[Section]:
    """All sections, in order.

    Args:
        now: The scores of this run.
        before: Those of the last run, if they are compared.
    """
    sections = (
        Section("figures", "Key figures", _facts(now, before)),
        Section("sizes", "Segments and bands", _sizes(now, before)),
        Section("scores", "How likely the users are to buy", _histogram(now, before)),
        Section("moves", "Who moved", _moves(now, before)),
        Section("quarantine", "Rows set aside, and why", _quarantine(now.run)),
        Section("drift", "Shifts from the training users", _shifts(now.run)),
    )
    return [section for section in sections if section.blocks]


def users(number: float, few: str = FEW) -> str:
    """A number of users, or `few` if there are some, but too few to disclose."""
    return few if 0 < number < TELLING_USERS else count(number)


def _disclosed(alarm: str) -> str:
    """An alarm without the sizes of runs of few rows, and without the change that tells them."""
    if _FEW_ROWS.search(alarm):
        return "rows: far more or fewer than in the run before."
    return alarm


def _bundles(night: Night) -> str:
    return ", ".join(map(shown_name, night.bundles))


def _facts(now: Night, before: Night | None) -> list[Block]:
    total, buyers = int(now.rows.sum()), float(now.buyers.sum())
    earlier = (None, None) if before is None else (int(before.rows.sum()), before.buyers.sum())
    if total < TELLING_USERS:
        return [Text(f"Fewer than {TELLING_USERS} users: no figure is shown.", strong=True)]
    return [
        Facts(
            (
                Fact(count(total), "users scored", _against(total, earlier[0])),
                Fact(
                    count(buyers),
                    "buyers to expect",
                    f"{_against(buyers, earlier[1])} {UPPER_BOUND}",
                ),
                *_likeliest(now, before),
            )
        )
    ]


def _likeliest(now: Night, before: Night | None) -> list[Fact]:
    """The users of the highest band, or of several where it has few."""
    nights = [now] if before is None else [now, before]
    by_band = np.array([night.rows.sum(axis=0) for night in nights])
    runs = neighbours(by_band)
    if not runs:
        return []
    sizes = by_band[:, runs[-1].start :].sum(axis=1).tolist()
    bands = bands_words([BANDS[n] for n in runs[-1]]).lower()
    against = _against(sizes[0], sizes[1] if before is not None else None)
    return [
        Fact(
            users(sizes[0]), f"in the {'band' if len(runs[-1]) == 1 else 'bands'} {bands}", against
        )
    ]


def _against(now: float, before: float | None) -> str:
    if before is None:
        return "No last run was given to compare with."
    if 0 < now < TELLING_USERS or 0 < before < TELLING_USERS:
        return "Too few to compare with the last run."
    if not before:
        return "None in the last run."
    return f"{count(before)} in the last run: {signed(100 * (now / before - 1), 1)}\u202f%."


def _sizes(now: Night, before: Night | None) -> list[Block]:
    names = sorted({*now.segments, *(() if before is None else before.segments)})
    sizes = _sizes_of(now, before, names)
    groups = neighbours(sizes.sum(axis=2))
    if not groups:
        return [Text(f"Fewer than {TELLING_USERS} users: no table.")]
    sizes = np.stack([sizes[:, each.start : each.stop].sum(axis=1) for each in groups], axis=1)
    buyers = _buyers_of(now, names)
    rows = [
        _size_row(either(names, each), sizes[:, n], runs, buyers[each.start : each.stop].sum())
        for n, (each, runs) in enumerate(zip(groups, table_runs(sizes), strict=True))
    ]
    if len(groups) > 1:
        whole = sizes.sum(axis=1)
        rows.append(_size_row("All segments", whole, neighbours(whole), buyers.sum()))
    note = "; below, the change from the last run" if before is not None else ""
    header = ("Segment", *(BAND_WORDS[band] for band in BANDS), "All bands", "Buyers to expect")
    return [table(f"Users by segment and band{note}", header, rows), *merged_note(rows)]


def _sizes_of(now: Night, before: Night | None, names: Sequence[str]) -> np.ndarray:
    """Users of this run and the last by segment and band, int64 [runs, segments, bands]."""
    nights = [now] if before is None else [now, before]
    empty = np.zeros(len(BANDS), np.int64)
    return np.array(
        [
            [dict(zip(night.segments, night.rows, strict=True)).get(name, empty) for name in names]
            for night in nights
        ]
    )


def _buyers_of(night: Night, names: Sequence[str]) -> np.ndarray:
    """Expected buyers by segment, float64 [segments]."""
    found = dict(zip(night.segments, night.buyers.sum(axis=1).tolist(), strict=True))
    return np.array([found.get(name, 0.0) for name in names])


def _size_row(name: str, sizes: np.ndarray, runs: Runs, buyers: float) -> tuple[str | Cell, ...]:
    """The sizes of segments, those of the last run too if it is known: int64 [runs, bands]."""
    cells = [_size(sizes[:, run.start : run.stop], run) for run in runs]
    return (name, *cells, _size(sizes, range(1)), count(buyers))


def _size(sizes: np.ndarray, bands: range) -> Cell:
    """Users in one band or several, and the change from the last run."""
    now, *before = sizes.sum(axis=1).tolist()
    notes = [bands_words([BANDS[n] for n in bands])] if len(bands) > 1 else []
    if before:
        change = now - before[0]
        notes.insert(0, f"{change:+,}".replace("-", "−") if change else "±0")
    return Cell(count(now), ", ".join(notes), span=len(bands))


def _histogram(now: Night, before: Night | None) -> list[Block]:
    total = now.bins.sum()
    if total < TELLING_USERS or (before is not None and before.bins.sum() < TELLING_USERS):
        return [Text(f"Fewer than {TELLING_USERS} users: no histogram.")]
    width = width_of(now.bins)
    shares = shares_by_bin(now.bins, width, TELLING_USERS)
    earlier = None if before is None else shares_by_bin(before.bins, width, TELLING_USERS)
    mean = percent(now.buyers.sum() / total)
    finding = f"On average a user buys with a probability of {mean}"
    if before is not None:
        finding += f", in the last run {percent(before.buyers.sum() / before.bins.sum())}"
    caption = "Bars: the share of tonight’s users with that probability." + (
        "" if before is None else " Line: the last run."
    )
    draw = partial(histogram_chart, shares, earlier, width, "histogram")
    return [Text(f"{finding}.", strong=True), Figure(draw, caption)]


def _moves(now: Night, before: Night | None) -> list[Block]:
    if before is None:
        return [Text("No last run was given: add --previous with the scores of the run before.")]
    if now.id is None or before.id is None:
        return [Text("The users have no ids, so nobody can be followed from one run to the next.")]
    if now.id != before.id:
        names = f"“{shown_name(before.id)}” in the last run, “{shown_name(now.id)}” tonight"
        return [Text(f"The ids have different names, {names}: nobody is followed.")]
    found = moves(before, now)
    if found.compared < TELLING_USERS:
        number = "No" if not found.compared else f"Fewer than {TELLING_USERS}"
        return [
            Text(f"{number} ids are in both runs: are these scores of the same users?", strong=True)
        ]
    bands = Flows("band", [BAND_WORDS[band] for band in BANDS], found.bands)
    known = sorted({*before.segments, *now.segments})
    segments = Flows("segment", known, _by_name(found.segments, before, now, known))
    return [
        Bullets(tuple(_changes(found, now, before, bands, segments))),
        *bands.blocks(),
        *(segments.blocks() if len(known) > 1 else []),
    ]


def _by_name(flows: np.ndarray, before: Night, now: Night, names: Sequence[str]) -> np.ndarray:
    """Flows between segments, in the order of their names, int64 [names, names]."""
    found = np.zeros((len(names), len(names)), np.int64)
    rows, columns = ([names.index(name) for name in night.segments] for night in (before, now))
    found[np.ix_(rows, columns)] = flows
    return found


def _changes(
    found: Moves, now: Night, before: Night, bands: Flows, segments: Flows
) -> Iterator[str]:
    yield (
        f"In both runs: {count(found.compared)} users; new tonight: {users(found.new, FEW_WORDS)}; "
        f"gone: {users(found.gone, FEW_WORDS)}."
    )
    if bands.tells_sides:
        rose, fell = int(np.triu(bands.users, 1).sum()), int(np.tril(bands.users, -1).sum())
        yield f"To a higher band: {users(rose, FEW_WORDS)}; to a lower one: {users(fell, FEW_WORDS)}."
    if segments.tells_sides:
        moved = found.compared - int(np.trace(segments.users))
        yield f"To another segment: {users(moved, FEW_WORDS)}."
    if found.repeated:
        repeated = users(found.repeated, FEW_WORDS)
        yield f"Rows left out because their user has several in a run: {repeated}."
    if now.bundles != before.bundles:
        yield (
            "The runs have different bundles: part of the moves comes from other models and cut-points."
        )


def _quarantine(run: Run | str) -> list[Block]:
    if not isinstance(run, Run):
        return [Text(f"Not known. {run}")]
    if not run.rows_quarantined:
        blocks: list[Block] = [Text("Every row was scored.", strong=True)]
    else:
        share = percent(run.rows_quarantined / run.rows_read, 2)
        hidden = run.rows_quarantined < TELLING_USERS
        number = FEW_WORDS.capitalize() if hidden else count(run.rows_quarantined)
        words = f"{number} of {users(run.rows_read, FEW_WORDS)} rows were set aside"
        blocks = [
            Text(f"{words}." if hidden else f"{words}, {share}.", strong=True),
            _counts("Rows that break a rule; a row may break several", "Rule", run.reasons),
        ]
    if run.unseen_categories:
        title = "Values that the bundle does not know, scored as missing"
        blocks.append(_counts(title, "Feature", run.unseen_categories))
    return blocks


def _shifts(run: Run | str) -> list[Block]:
    if not isinstance(run, Run) or not run.warnings:
        return []
    return [Text("Moderate, so that they raise no alarm:"), Bullets(run.warnings)]


def _counts(caption: str, what: str, counts: Mapping[str, int]) -> Block:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return table(caption, (what, "Rows"), [(shown_name(n), users(rows)) for n, rows in rows])
