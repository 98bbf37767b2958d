"""The figures of a night as words, tables and a picture; no figure is about fewer than 20 users."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from engine.bundle.manifest import BANDS
from engine.bundle.reference import TELLING_USERS
from engine.errors import pluralize
from engine.format import shown_name
from engine.pages.blocks import Block, Bullets, Cell, Fact, Facts, Figure, Section, Text, table
from engine.pages.format import BAND_WORDS, count, percent, signed
from engine.report.chart import histogram_chart, shares_by_bin, width_of
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
    total, buyers, top = _totals(now)
    earlier = (None, None, None) if before is None else _totals(before)
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
                Fact(
                    users(top),
                    "in the band very high",
                    _against(top, earlier[2]),
                ),
            )
        )
    ]


def _totals(night: Night) -> tuple[int, float, int]:
    """Users, expected buyers, and users in the highest band."""
    return int(night.rows.sum()), float(night.buyers.sum()), int(night.rows[:, -1].sum())


def _against(now: float, before: float | None) -> str:
    if before is None:
        return "No last run was given to compare with."
    if 0 < now < TELLING_USERS or 0 < before < TELLING_USERS:
        return "Too few to compare with the last run."
    if not before:
        return "None in the last run."
    return f"{count(before)} in the last run: {signed(100 * (now / before - 1), 1)}\u202f%."


def _sizes(now: Night, before: Night | None) -> list[Block]:
    names = sorted(now.segments)
    header = ("Segment", *(BAND_WORDS[band] for band in BANDS), "All bands", "Buyers to expect")
    rows = [_size_row(name, now, before) for name in names]
    if len(names) > 1:
        rows.append(_size_row(None, now, before))
    note = "; below, the change from the last run" if before is not None else ""
    blocks: list[Block] = [table(f"Users by segment and band{note}", header, rows)]
    gone = sorted(set(before.segments) - set(names)) if before is not None else []
    if gone:
        blocks.append(Text(f"In the last run alone: {', '.join(map(shown_name, gone))}."))
    return blocks


def _size_row(name: str | None, now: Night, before: Night | None) -> tuple[str | Cell, ...]:
    """The sizes of a segment, or of all users."""
    sizes, buyers = _of_segment(now, name)
    earlier = None if before is None else _of_segment(before, name)[0]
    cells = [
        _size(int(n), None if earlier is None else int(earlier[b])) for b, n in enumerate(sizes)
    ]
    total = int(sizes.sum())
    whole = _size(total, None if earlier is None else int(earlier.sum()))
    expected = FEW if total < TELLING_USERS else count(buyers)
    return (shown_name(name or "All segments"), *cells, whole, expected)


def _of_segment(night: Night, name: str | None) -> tuple[np.ndarray, float]:
    """Users by band, int64 [bands], and expected buyers; zeros for a segment that is not there."""
    if name is None:
        return night.rows.sum(axis=0), float(night.buyers.sum())
    if name not in night.segments:
        return np.zeros(len(BANDS), np.int64), 0.0
    place = night.segments.index(name)
    return night.rows[place], float(night.buyers[place].sum())


def _size(number: int, before: int | None) -> Cell:
    few = range(1, TELLING_USERS)
    if before is None or number in few or before in few:
        return Cell(users(number))
    change = number - before
    return Cell(users(number), f"{change:+,}".replace("-", "−") if change else "±0")


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
        few = "No" if not found.compared else f"Fewer than {TELLING_USERS}"
        return [
            Text(f"{few} ids are in both runs: are these scores of the same users?", strong=True)
        ]
    return [*_changes(found, now, before), *_flows(found, now, before)]


def _changes(found: Moves, now: Night, before: Night) -> list[Block]:
    bands = found.bands
    rose, fell = int(np.triu(bands, 1).sum()), int(np.tril(bands, -1).sum())
    names = {name: place for place, name in enumerate(now.segments)}
    stayed = sum(
        int(found.segments[n, names[name]])
        for n, name in enumerate(before.segments)
        if name in names
    )
    items = [
        f"In both runs: {count(found.compared)} users; new tonight: {users(found.new, FEW_WORDS)}; "
        f"gone: {users(found.gone, FEW_WORDS)}.",
        f"To a higher band: {users(rose, FEW_WORDS)}; to a lower one: {users(fell, FEW_WORDS)}.",
        f"To another segment: {users(found.compared - stayed, FEW_WORDS)}.",
    ]
    if found.repeated:
        repeated = users(found.repeated, FEW_WORDS)
        items.append(f"Rows left out because their user has several in a run: {repeated}.")
    if now.bundles != before.bundles:
        items.append(
            "The runs have different bundles: part of the moves comes from other models and cut-points."
        )
    return [Bullets(tuple(items))]


def _flows(found: Moves, now: Night, before: Night) -> list[Block]:
    bands = [BAND_WORDS[band] for band in BANDS]
    blocks: list[Block] = [_flow_table("band", found.bands, bands, bands)]
    if len(before.segments) > 1 or len(now.segments) > 1:
        rows, columns = np.argsort(before.segments), np.argsort(now.segments)
        flows = found.segments[np.ix_(rows, columns)]
        blocks.append(_flow_table("segment", flows, sorted(before.segments), sorted(now.segments)))
    return blocks


def _flow_table(what: str, flows: np.ndarray, before: Sequence[str], now: Sequence[str]) -> Block:
    return table(
        f"Users by {what}: a row for the last run’s, a column for tonight’s",
        (f"Last {what}", *map(shown_name, now)),
        [
            (
                shown_name(name),
                *(
                    Cell(users(number), "stayed" if name == other else "")
                    for number, other in zip(row, now, strict=True)
                ),
            )
            for name, row in zip(before, flows.tolist(), strict=True)
        ],
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
