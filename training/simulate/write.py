"""Simulated users to a file, streamed and published in one step."""

import os
import re
from contextlib import suppress
from pathlib import Path

from engine.targets import check_place
from engine.threads import Progress
from engine.writer import FrameWriter, output_format, storage_errors
from training.places import check_outside_bundles
from training.simulate import SimulateOptions, output_schema, simulate


def write_users(
    options: SimulateOptions,
    out: Path,
    progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> int:
    """Write what `simulate` gives; gives the number of rows.

    Args:
        options: What to simulate.
        out: Replaced in one step; the format follows the ending.
        progress: Told rows done and rows in all.

    Raises:
        EngineError: The output cannot be written; what stood there still stands.
    """
    output_format(out)
    check_place(out)
    check_outside_bundles(out)
    # Where the directory may not be listed, nobody can see what was left.
    with suppress(PermissionError):
        _remove_left_staging(out)
    staging = _staging(out, os.getpid())
    writer = FrameWriter(staging, output_schema(options), target=out)
    done = 0
    try:
        for frame in simulate(options):
            writer.write(frame)
            done += frame.height
            progress(done, options.rows)
        writer.finish()
        with storage_errors(out):
            staging.replace(out)
    except BaseException:
        writer.abort()
        raise
    finally:
        with suppress(OSError):
            staging.unlink()
    return done


def _staging(out: Path, process: int) -> Path:
    """Where a process writes the users before they are published."""
    return out.with_name(f".{out.stem}.staging-{process}{out.suffix}")


def _remove_left_staging(out: Path) -> None:
    """Remove what runs left that were killed; a process that is alive may still write its own."""
    stem, ending = re.escape(out.stem), re.escape(out.suffix)
    name = re.compile(rf"\.{stem}\.staging-([1-9][0-9]{{0,8}}){ending}")
    for path in out.parent.iterdir():
        found = name.fullmatch(path.name)
        if found and not _is_alive(int(found[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # That of another user.
    except PermissionError:
        return True
    return True
