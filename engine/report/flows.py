"""Tables of users who moved between two runs; cells of few users are shown with their neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.bundle.reference import TELLING_USERS
from engine.format import shown_name
from engine.pages.blocks import Block, Cell, Text, table
from engine.pages.format import count
from engine.pages.merging import Runs, neighbours, table_runs


@dataclass(frozen=True, slots=True)
class Flows:
    """Users who moved between bands, or between segments.

    Attributes:
        what: Band or segment.
        names: Of rows and columns.
        users: A row for the last run, a column for this one, int64 [names, names].
    """

    what: str
    names: Sequence[str]
    users: np.ndarray

    @property
    def groups(self) -> Runs:
        """The rows that are shown together."""
        return neighbours(self.users.sum(axis=1)[np.newaxis])

    @property
    def runs(self) -> list[Runs]:
        """The columns that are, in each group of rows."""
        grouped = [self.users[each.start : each.stop].sum(axis=0) for each in self.groups]
        return table_runs(np.array(grouped)[np.newaxis])

    @property
    def tells_sides(self) -> bool:
        """Whether the sums of those who stayed or moved up or down tell nothing about a merged cell."""
        return len(self.groups) == len(self.names) and not any(
            len(run) > 1 and row in run for row, runs in enumerate(self.runs) for run in runs
        )

    def blocks(self) -> list[Block]:
        """The table."""
        rows: list[tuple[str | Cell, ...]] = [
            (either(self.names, group), *(self._cell(group, run) for run in runs))
            for group, runs in zip(self.groups, self.runs, strict=True)
        ]
        caption = f"Users by {self.what}: a row for the last run’s, a column for tonight’s"
        header = (f"Last {self.what}", *map(shown_name, self.names))
        return [table(caption, header, rows), *merged_note(rows)]

    def _cell(self, group: range, run: range) -> Cell:
        number = int(self.users[group.start : group.stop, run.start : run.stop].sum())
        notes = [either(self.names, run)] if len(run) > 1 else []
        if group == run:
            notes.insert(0, "stayed")
        return Cell(count(number), ", ".join(notes), span=len(run))


def either(names: Sequence[str], run: range) -> str:
    """The names of neighbouring rows or columns."""
    return " or ".join(shown_name(names[n]) for n in run)


def merged_note(rows: Sequence[Sequence[str | Cell]]) -> list[Block]:
    """What cells over several columns mean, if there are any."""
    if not any(isinstance(cell, Cell) and cell.span > 1 for row in rows for cell in row):
        return []
    return [
        Text(
            f"Where a cell has fewer than {TELLING_USERS} users, it is shown together with its neighbour, in a "
            "second row as well, so that it does not follow from the totals."
        )
    ]
