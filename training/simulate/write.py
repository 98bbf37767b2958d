"""Simulated users to a file, streamed and published in one step."""

from pathlib import Path

from engine.model.threads import Progress
from engine.outputs.paths import check_creatable, check_outside_bundles
from engine.outputs.writer import FrameWriter, output_format
from engine.storage import storage_errors
from training.simulate import SimulateOptions, output_schema, simulate
from training.staging import staged


def write_users(
    options: SimulateOptions,
    out: Path,
    progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> int:
    """Write the users of `simulate` and return the number of rows.

    Args:
        options: What to simulate.
        out: Replaced in one step; the format follows the ending.
        progress: Called with rows done and rows in total.

    Raises:
        EngineError: The output cannot be written; an earlier file is unchanged.
    """
    output_format(out)
    check_creatable(out)
    check_outside_bundles(out)
    with staged(out) as folder:
        staging = folder / out.name
        done = _write(options, FrameWriter(staging, output_schema(options), target=out), progress)
        with storage_errors(out):
            staging.replace(out)
    return done


def _write(options: SimulateOptions, writer: FrameWriter, progress: Progress) -> int:
    done = 0
    try:
        for frame in simulate(options):
            writer.write(frame)
            done += frame.height
            progress(done, options.total_rows)
        writer.finish()
    except BaseException:
        writer.abort()
        raise
    return done
