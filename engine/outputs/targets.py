"""Where the files of one run go, and whether they can be made there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.connectors.databases.tables import ScoresTable
from engine.errors import CannotCreateError, EngineError, UsageError, quoted
from engine.outputs.paths import check_outside_bundles, check_place, real_path
from engine.outputs.writer import output_format

STANDING_SECONDS = 0.5
"""So long a database is asked what stands there, when a run has failed or a signal ended it."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the files of one run go.

    Attributes:
        out: The scores; for a table, its name in the working directory, where the lock and staging
            of the run are.
        quarantine: Rows that are set aside; written only if there are any.
        summary: The JSON summary.
        own_quarantine: Whether the place of the quarantine follows from that of the scores. An
            older file there belongs to older scores and goes with them.
        metrics: The summary in the form that Prometheus reads, where it is wanted.
        table: The table that the scores go to in place of a file.
    """

    out: Path
    quarantine: Path
    summary: Path
    own_quarantine: bool
    metrics: Path | None = None
    table: ScoresTable | None = None

    @classmethod
    def of(
        cls,
        out: Path | ScoresTable,
        quarantine: Path | None,
        summary: Path | None,
        metrics: Path | None = None,
    ) -> "Targets":
        """Fill in the places beside the scores that were not named.

        Raises:
            UsageError: Two of them are the same.
            CannotCreateError: Nothing can be made beside the scores, not even a lock.
        """
        table = out if isinstance(out, ScoresTable) else None
        out = Path(out.name) if isinstance(out, ScoresTable) else out
        ending = ".parquet" if table else out.suffix
        check_place(out)
        found = cls(
            out,
            quarantine or out.with_name(f"{out.name}.quarantine{ending}"),
            summary or out.with_name(f"{out.name}.summary.json"),
            quarantine is None,
            metrics,
            table,
        )
        # NOTE: names that differ only in case are one file on many disks of macOS.
        places = (*found.paths, found.lock)
        if len({str(real_path(path)).casefold() for path in places}) < len(places):
            raise UsageError(
                f"{out}: scores, quarantine, summary, metrics and lock need different places, found "
                f"{quoted(map(str, places))}."
            )
        return found

    @property
    def paths(self) -> tuple[Path, ...]:
        """Scores, quarantine, summary, and metrics where they are wanted."""
        places = (self.out, self.quarantine, self.summary)
        return places if self.metrics is None else (*places, self.metrics)

    @property
    def lock(self) -> Path:
        """The file that a run holds as long as it works."""
        return self.out.with_name(f"{self.out.name}.lock")

    @property
    def scores(self) -> str:
        """What messages and the summary call the place of the scores."""
        return str(self.out) if self.table is None else self.table.place

    def exists(self) -> bool:
        """Whether scores stand there.

        Raises:
            EngineError: The database of a table cannot be asked.
        """
        return self.out.exists() if self.table is None else self.table.exists()

    def check_outside_bundles(self, bundle: Path) -> None:
        """Check that no file is among those of this or another bundle, which may have only what its manifest lists.

        Raises:
            UsageError: One is.
        """
        for path in self.paths:
            check_outside_bundles(path, bundle)

    def standing(self) -> Literal["earlier run", "none", "unknown"]:
        """Whether scores of a run before stand, as far as that can be told."""
        try:
            if self.table is not None:
                return "earlier run" if self.table.exists(STANDING_SECONDS) else "none"
            return "earlier run" if self.exists() else "none"
        except EngineError:
            return "unknown"

    def check(self, *, replace: bool) -> None:
        """Check that every file can be made at its place.

        Args:
            replace: Whether scores that stand there may be replaced.

        Raises:
            CannotCreateError: A place lies in no directory, is one, has an unknown ending or a name
                that no file can have, or scores exist already.
        """
        if self.table is None:
            output_format(self.out)
        output_format(self.quarantine)
        for path in self.paths:
            check_place(path)
        if self.table is not None and replace:
            self.table.check_replaceable()
        elif self.exists() and not replace:
            other = "--out" if self.table is None else "--table"
            raise CannotCreateError(
                f"{self.scores}: exists already. Use --if-exists replace, or another {other}."
            )
