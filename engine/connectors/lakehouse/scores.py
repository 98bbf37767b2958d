"""Writes scores to a table of Delta Lake or Iceberg, as one commit.

The rows of a date are replaced together; those of other dates stay. No reader sees any of it before the
commit. If the run ends earlier, the old version is the current one, and new files that a killed run
leaves belong to no version.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.connectors.databases.tables import MARKS
from engine.connectors.lakehouse.delta import delta_columns, prepare_delta
from engine.connectors.lakehouse.files import DataFile, Pending
from engine.connectors.lakehouse.iceberg import iceberg_columns, prepare_iceberg
from engine.errors import CannotCreateError, LockedError, StorageError, UnavailableError, UsageError
from engine.inputs.lakehouse import LakehouseTable, check_installed, lakehouse_errors
from engine.inputs.objects import is_object
from engine.interruption import in_background
from engine.storage import storage_errors

_COLUMNS = {"delta": delta_columns, "iceberg": iceberg_columns}
_PREPARE = {"delta": prepare_delta, "iceberg": prepare_iceberg}


@dataclass(slots=True)
class LakehouseScores:
    """A table for scores: an `engine.outputs.paths.Destination`.

    Attributes:
        table: The table.
        marks: Columns that it has; only rows of a table with them are replaced.
        version: The version that a run writes, once it is known.
    """

    table: LakehouseTable
    marks: tuple[str, ...] = MARKS
    version: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.table.version is not None:
            raise UsageError(f"{self.table.name}: a version is read, never written. Leave it out.")
        if is_object(self.table.place):
            raise UsageError(
                f"{self.table.name}: is in an object store, where scores are not written. Name a "
                "folder, and copy the table from there."
            )

    @property
    def path(self) -> Path:
        """The folder, or the name of the table in the working directory: lock, quarantine and summary get their names from it."""
        return Path(self.table.place)

    @property
    def label(self) -> str:
        """Its name in messages and in the summary, with the version that a run writes."""
        return LakehouseTable(self.table.format, self.table.place, self.version).name

    @property
    def suffix(self) -> str:
        """Scores are staged as Parquet."""
        return ".parquet"

    @property
    def is_file(self) -> bool:
        """It holds the scores of other runs too."""
        return False

    @property
    def holds_nul(self) -> bool:
        """Parquet holds any text."""
        return True

    def exists(self, limit_seconds: float | None = None) -> bool:
        """Whether the table exists.

        Raises:
            CannotCreateError: Something else has its name, or its namespace does not exist.
            EngineError: The catalogue does not answer.
        """
        return self._columns(limit_seconds) is not None

    def check(self, *, replace: bool) -> None:
        """Check that the table can be created, or that it is one of scores whose rows may be replaced.

        Raises:
            CannotCreateError: It may not be replaced, or is not a table of scores.
            EngineError: The extra is not installed, or the catalogue does not answer.
        """
        self._check_replaceable(self._columns(), replace=replace)

    @contextmanager
    def loaded(self, scores: Path, *, replace: bool) -> Iterator[Callable[[], None]]:
        """Write the files of a new version, and yield its commit.

        Without the commit, leaving the context removes them.

        Args:
            scores: A complete Parquet file.
            replace: Whether rows of an existing table may be replaced.

        Raises:
            EngineError: The table cannot take the scores, cannot be written to, or a signal came.
        """
        written: list[DataFile] = []
        try:
            pending = in_background(partial(self._prepare, scores, written, replace=replace))
            self.version = pending.version
            yield partial(self._commit, pending, written)
        except BaseException:
            self.version = None
            raise
        finally:
            for file in written:
                file.path.unlink(missing_ok=True)

    def _prepare(self, scores: Path, written: list[DataFile], *, replace: bool) -> Pending:
        with self._errors():
            self._check_replaceable(_COLUMNS[self.table.format](self.table), replace=replace)
            return _PREPARE[self.table.format](self.table, scores, written)

    def _commit(self, pending: Pending, written: list[DataFile]) -> None:
        # From here on the files may belong to a version, even if the answer is an error.
        files = [written.pop() for _ in pending.files]
        try:
            with self._errors():
                pending.commit()
        except LockedError:
            written += files
            raise

    def _check_replaceable(self, columns: tuple[str, ...] | None, *, replace: bool) -> None:
        if columns is not None and not replace:
            raise CannotCreateError(
                f"{self.label}: exists already. Use --if-exists replace, which keeps the rows of other "
                "dates, or another --out."
            )
        if columns is not None and not set(self.marks) <= set(columns):
            raise CannotCreateError(
                f"{self.label}: is not a table of scores or a list, which has the columns "
                f"{' and '.join(self.marks)}. Nothing in it is replaced: name another --out."
            )

    def _columns(self, limit_seconds: float | None = None) -> tuple[str, ...] | None:
        try:
            return in_background(self._read_columns, limit_seconds=limit_seconds)
        except TimeoutError:
            raise UnavailableError(
                f"{self.label}: no answer within {limit_seconds} s. Run again later."
            ) from None

    def _read_columns(self) -> tuple[str, ...] | None:
        check_installed(self.table)
        with self._errors():
            return _COLUMNS[self.table.format](self.table)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with storage_errors(self.path), lakehouse_errors(self.label, StorageError):
            yield
