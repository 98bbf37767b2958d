"""Calls that block in a library, made in a thread of their own, so that signals are heard meanwhile.

Python runs its handlers of signals in the main thread, between two of its own instructions.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

STEP_SECONDS = 0.1
CANCEL_SECONDS = 0.5
"""So long what is cancelled may take to end, of the two seconds that an interrupted run has."""

Result = TypeVar("Result")


class Cancellation:
    """What a thread waits for, so that another can end it.

    Attributes:
        asked: Whether it is to end.
        connection: The connection in use; None before it is opened.
    """

    def __init__(self) -> None:
        self.asked = False
        self.connection: Any = None

    def cancel(self) -> None:
        """Ask for the end."""
        self.asked = True
        try:
            if self.connection is not None:
                self.connection.cancel()
        except Exception:  # noqa: BLE001 - SQLite's driver cannot; others may have ended by now
            return


def in_background(
    work: Callable[[], Result], cancel: Callable[[], None], limit_seconds: float | None = None
) -> Result:
    """What the work gives; whatever is raised here meanwhile, by a signal, cancels it.

    A library that cannot be cancelled is not waited for: its thread ends with the process.

    Args:
        work: What may block.
        cancel: Ends it, from this thread.
        limit_seconds: The longest wait, where there is one.

    Raises:
        TimeoutError: It has not ended within the limit.
    """
    done: Future[Result] = Future()
    Thread(target=_settle, args=(done, work), name="database", daemon=True).start()
    try:
        _wait(done, limit_seconds)
    except BaseException:
        cancel()
        wait([done], CANCEL_SECONDS)
        raise
    return done.result()


def _wait(done: "Future[Any]", limit_seconds: float | None) -> None:
    waited_seconds = 0.0
    while not wait([done], STEP_SECONDS).done:
        waited_seconds += STEP_SECONDS
        if limit_seconds is not None and waited_seconds >= limit_seconds:
            raise TimeoutError


def _settle(done: "Future[Result]", work: Callable[[], Result]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        done.set_exception(error)
