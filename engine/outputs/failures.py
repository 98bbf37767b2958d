"""The summary of a run that failed or was cut short, and what stands after it."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import (
    EngineError,
    InterruptedRunError,
    StorageError,
    UsageError,
    bug_text,
)
from engine.outputs.metrics import to_prometheus
from engine.outputs.sink import DryRun, Sink
from engine.outputs.summary import Summary, Tally, peak_memory_bytes


@contextmanager
def failures_reported(sink: Sink | DryRun, tally: Tally, started: float) -> Iterator[None]:
    """Write a summary of a run that failed, unless its scores were published all the same."""
    try:
        yield
    except UsageError:
        raise
    except InterruptedRunError as error:
        # A signal that comes after the commit is too late: the run has done its work.
        if not sink.committed:
            _report_failure(error, sink, tally, time.monotonic() - started)
            raise
    # NOTE: a panic inside Polars derives from BaseException, as Ctrl-C does in a notebook.
    except BaseException as error:
        if not sink.committed:
            _report_failure(error, sink, tally, time.monotonic() - started)
        raise


def _report_failure(
    error: BaseException, sink: Sink | DryRun, tally: Tally, seconds: float
) -> None:
    if isinstance(error, KeyboardInterrupt):
        error = InterruptedRunError(signal.SIGINT)
    known = error if isinstance(error, EngineError | InterruptedRunError) else None
    summary = Summary(
        status="interrupted" if isinstance(error, InterruptedRunError) else "failed",
        published=False,
        out=sink.targets.scores,
        stands=sink.targets.standing(),
        seconds=round(seconds, 3),
        error=str(known) if known else bug_text(error),
        exit_code=_exit_code(known or error),
        peak_memory_bytes=peak_memory_bytes(),
        **tally.figures(),
    )
    try:
        sink.report(summary.to_json(), to_prometheus(summary))
    except (OSError, EngineError):
        # The error itself reaches the user; where its summary cannot be written, as little can.
        return


def _exit_code(error: BaseException) -> int:
    if isinstance(error, EngineError | InterruptedRunError):
        return error.exit_code
    # As `console` ends the process.
    return StorageError.exit_code if isinstance(error, OSError) else EngineError.exit_code
