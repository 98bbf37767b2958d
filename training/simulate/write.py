"""Simulated users to a file, streamed and published in one step."""

import os
from collections.abc import Callable
from pathlib import Path

from engine.errors import CannotCreateError
from engine.writer import FrameWriter, check_no_device, output_format, storage_errors
from training.simulate import SimulateOptions, output_schema, simulate

Progress = Callable[[int, int | None], None]


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
    check_no_device(out)
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise CannotCreateError(
            f"{out}: is a directory, or lies in one that does not exist. Name a file in one that does."
        )
    staging = out.with_name(f".{out.stem}.staging-{os.getpid()}{out.suffix}")
    writer = FrameWriter(staging, output_schema(options))
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
        staging.unlink(missing_ok=True)
    return done
