"""Files of a run before they are published, and what is needed to put back what stood there.

Quarantine and summary are replaced before the scores. A run that ends in between, by a failing disk
or a `kill -9`, is undone: by itself, or by the next run.
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.outputs.targets import Targets
from engine.storage import sync_path, write_synced


@dataclass(frozen=True, slots=True)
class Staging:
    """The folders of one run, one beside every file, as a rename works only within one file system.

    Attributes:
        targets: Where the files will go.
        name: What the folders are called.
    """

    targets: Targets
    name: str

    @property
    def scores(self) -> Path:
        """The scores before they are published."""
        ending = self.targets.out.suffix if self.targets.table is None else ".parquet"
        return self.targets.out.parent / self.name / f"scores{ending}"

    @property
    def quarantine(self) -> Path:
        """The rows set aside before they are published."""
        return self._beside(self.targets.quarantine, "quarantine")

    @property
    def summary(self) -> Path:
        """The summary before it is published."""
        return self._beside(self.targets.summary, "summary")

    @property
    def metrics(self) -> Path:
        """The metrics before they are published."""
        return self._beside(self.targets.metrics or self.targets.summary, "metrics")

    def make(self) -> None:
        """Make the folders, closed to others."""
        for folder in self._folders():
            folder.mkdir(mode=0o700)

    def keep_what_stands(self) -> None:
        """Copy quarantine and summary as they stand, then note which of them there were.

        From here on, until the scores are moved, `remove` puts them back.
        """
        replaced = []
        for target, staged in self._replaced():
            replaced.append((str(target.absolute()), str(staged.absolute()), target.exists()))
            if target.exists():
                shutil.copy2(target, _kept(staged))
                sync_path(_kept(staged))
        begun = self._journal.with_suffix(".begun")
        write_synced(begun, json.dumps(replaced).encode())
        begun.replace(self._journal)

    def remove(self) -> None:
        """Undo what was published of a run whose scores were not, then remove the folders.

        It may itself be cut short: what is left to do is done by the next call. The places are those of
        the run that was cut short, whatever those of this one.

        Raises:
            OSError: Something could not be put back; the folders stay.
        """
        begun = self._begun()
        if self.scores.exists():
            for target, staged, stood in begun:
                if not stood and not staged.exists():
                    target.unlink(missing_ok=True)
                elif _kept(staged).exists():
                    _kept(staged).replace(target)
        for folder in {*self._folders(), *(staged.parent for _, staged, _ in begun)}:
            _remove_whatever(folder)

    def _begun(self) -> list[tuple[Path, Path, bool]]:
        """What was being replaced: the place, what it was to get, and whether anything stood there."""
        try:
            # What others planted must not have this user remove files.
            if self._journal.stat().st_uid != os.geteuid():
                return []
            found = [
                (Path(t), Path(s), bool(b)) for t, s, b in json.loads(self._journal.read_bytes())
            ]
        # NOTE: none of a run of ours can be read only in part; what others left is no journal.
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return []
        return [entry for entry in found if entry[1].parent.name == self.name]

    @property
    def _journal(self) -> Path:
        return self.scores.with_name("publishing.json")

    def _replaced(self) -> tuple[tuple[Path, Path], ...]:
        """Quarantine and summary: where they go, and where they are made."""
        return (
            (self.targets.quarantine, self.quarantine),
            (self.targets.summary, self.summary),
        )

    def _folders(self) -> list[Path]:
        return sorted({path.parent / self.name for path in self.targets.paths})

    def _beside(self, target: Path, name: str) -> Path:
        return target.parent / self.name / f"{name}{target.suffix}"


def _remove_whatever(place: Path) -> None:
    """Remove a folder, or what stands in its place; what cannot be removed now is left to the next run."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):
            place.unlink()


def _kept(staged: Path) -> Path:
    return staged.with_name(f"{staged.name}.kept")
