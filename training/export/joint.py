"""The joint effects of two and three features, looked up in their tables.

The bins of its features say which cell of a table holds its value. A small table of two features has
all their bins, so that its cell is a product and a sum; a larger one has its own only, to which a
lookup translates. A table of three features begins with the cell of two of them, which is there
already.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from training.export.graph import GraphBuilder
from training.model.shapley.effects import Effects, Table

DIRECT_CELLS = 512
"""Tables up to this size have all bins of a feature."""

BLOCK_TABLES = 48
"""So many tables of two features, and those of three that begin with them, are looked up together:
what one operator leaves for the next stays in the cache."""


@dataclass(frozen=True, slots=True)
class _Follower:
    """A table of three features that begins with the cell of a table of two.

    Attributes:
        row: The table of two features, by its place in its block.
        pair: That table.
        table: The table itself.
        third: Which of its features the other lacks, 0 to 2.
    """

    row: int
    pair: Table
    table: Table
    third: int


class JointEffects:
    """The nodes that add the joint effects of a model to the impacts."""

    def __init__(self, graph: GraphBuilder, bins: str, effects: Effects, rows: np.ndarray) -> None:
        """Prepare the tables.

        Args:
            graph: The graph to add to.
            bins: int32 [features, batch].
            effects: The model.
            rows: The feature of each row of `bins` and of the impacts.
        """
        self._graph, self._bins, self._place = graph, bins, np.argsort(rows)
        self._thresholds = effects.thresholds
        pairs = [self._with_all_bins(t) for t in effects.tables if len(t.features) == 2]
        self._pairs = sorted(pairs, key=lambda t: (self._has_all_bins(t), t.values.size))
        self._triples: dict[tuple[int, ...], list[tuple[Table, int]]] = defaultdict(list)
        for table in effects.tables:
            if len(table.features) == 3:
                third = self._third(table)
                pair = tuple(f for n, f in enumerate(table.features) if n != third)
                self._triples[pair].append((table, third))

    def add_to(self, total: str) -> str:
        """Each feature's impact with its shares, float32 [features, batch].

        Args:
            total: The impacts without joint effects.
        """
        for direct in (False, True):
            pairs = [table for table in self._pairs if self._has_all_bins(table) == direct]
            for start in range(0, len(pairs), BLOCK_TABLES):
                block = pairs[start : start + BLOCK_TABLES]
                cells = self._add_cells(block, direct=direct)
                total = self._add_shares(total, block, self._add_values(block, cells))
                total = self._add_triples(total, block, cells)
        return total

    def _third(self, table: Table) -> int:
        """The feature all of whose bins make the smallest table, 0 to 2."""
        grown = [len(self._thresholds[f]) - len(o) for f, o in _own(table)]
        return int(np.argmin(grown))

    def _with_all_bins(self, table: Table) -> Table:
        """The table with all bins of its features, or itself if it would be large."""
        limits = tuple(self._thresholds[feature] for feature in table.features)
        if prod(len(some) + 2 for some in limits) > DIRECT_CELLS:
            return table
        own = (own_bins(self._thresholds[f], o) for f, o in _own(table))
        return Table(table.features, limits, table.values[np.ix_(*own)])

    def _has_all_bins(self, table: Table) -> bool:
        return all(len(o) == len(self._thresholds[f]) for f, o in _own(table))

    def _add_cells(self, block: Sequence[Table], *, direct: bool) -> str:
        """The cell of each table of two features, int32 [tables, batch]."""
        strides = [table.values.shape[1] for table in block]
        first, second = (self._add_index([t.features[n] for t in block]) for n in range(2))
        if direct:
            factors = self._graph.constant(np.array(strides, np.int32)[:, None], "strides")
            return self._graph.add("Add", self._graph.add("Mul", first, factors), second)
        own = [[own_bins(self._thresholds[f], o) for f, o in _own(table)] for table in block]
        rows = [stride * one for stride, (one, _) in zip(strides, own, strict=True)]
        first = self._add_lookup(rows, first, np.int32, "part")
        second = self._add_lookup([other for _, other in own], second, np.int32, "part")
        return self._graph.add("Add", first, second)

    def _add_index(self, features: Sequence[int]) -> str:
        rows = self._graph.constant(self._place[list(features)])
        return self._graph.add("Gather", self._bins, rows, axis=0)

    def _add_values(self, block: Sequence[Table], cells: str) -> str:
        return self._add_lookup([t.values.ravel() for t in block], cells, np.float32, "joint")

    def _add_lookup(self, rows: Sequence[np.ndarray], index: str, kind: type, name: str) -> str:
        """What each row says at its positions, [rows, batch]; rows of nearly equal lengths."""
        filled: np.ndarray = np.zeros((len(rows), max(map(len, rows))), kind)
        for n, row in enumerate(rows):
            filled[n, : len(row)] = row
        return self._graph.add("GatherElements", self._graph.constant(filled, name), index, axis=1)

    def _add_triples(self, total: str, block: Sequence[Table], cells: str) -> str:
        """The tables of three features that begin with a table of the block."""
        found = [
            _Follower(row, pair, table, third)
            for row, pair in enumerate(block)
            for table, third in self._triples.get(pair.features, ())
        ]
        for direct in (False, True):
            some = [f for f in found if self._third_has_all_bins(f) == direct]
            if some:
                values = self._add_triple_values(some, cells, direct=direct)
                total = self._add_shares(total, [f.table for f in some], values)
        return total

    def _third_has_all_bins(self, follower: _Follower) -> bool:
        shape = list(follower.table.values.shape)
        shape[follower.third] = len(self._thresholds[follower.table.features[follower.third]]) + 2
        return prod(shape) <= DIRECT_CELLS

    def _add_triple_values(self, found: Sequence[_Follower], cells: str, *, direct: bool) -> str:
        """The tables lie one after another; what the pair's cell says includes where each begins."""
        graph = self._graph
        values, begins, thirds, start = [], [], [], 0
        for follower in found:
            table, third = follower.table, follower.third
            feature, limits = table.features[third], table.thresholds[third]
            own = own_bins(self._thresholds[feature], limits)
            ordered = np.moveaxis(table.values, third, -1)
            ordered = ordered[..., own] if direct else ordered
            others = [limits for n, limits in enumerate(table.thresholds) if n != third]
            one, two = map(own_bins, follower.pair.thresholds, others)
            cell = one[:, None] * ordered.shape[1] + two
            begins.append(start + ordered.shape[2] * cell.ravel())
            thirds.append(own)
            values.append(ordered.ravel())
            start += ordered.size
        rows = graph.constant(np.array([follower.row for follower in found]))
        begin = self._add_lookup(begins, graph.add("Gather", cells, rows, axis=0), np.int32, "part")
        index = self._add_index([f.table.features[f.third] for f in found])
        if not direct:
            index = self._add_lookup(thirds, index, np.int32, "part")
        flat = graph.add(
            "Reshape", graph.add("Add", begin, index), graph.constant(np.array([1, -1]))
        )
        looked_up = self._add_lookup([np.concatenate(values)], flat, np.float32, "joint")
        return graph.add("Reshape", looked_up, graph.constant(np.array([len(found), -1])))

    def _add_shares(self, total: str, tables: Sequence[Table], values: str) -> str:
        """Each table's value, in equal parts, to the features that it is about."""
        shares = np.zeros((len(self._place), len(tables)), np.float32)
        for n, table in enumerate(tables):
            shares[self._place[list(table.features)], n] = 1 / len(table.features)
        return self._graph.add("Gemm", self._graph.constant(shares, "shares"), values, total)


def _own(table: Table) -> list[tuple[int, np.ndarray]]:
    """The features of a table, each with its thresholds there."""
    return list(zip(table.features, table.thresholds, strict=True))


def own_bins(thresholds: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The bin among some of a feature's thresholds for each bin among all, int64 [bins of all]."""
    not_exceeded = np.cumsum([0, *np.isin(thresholds, own)[::-1]])
    return np.concatenate([[0], 1 + not_exceeded])
