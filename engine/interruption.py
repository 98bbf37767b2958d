"""Signals that end a run: noted when they arrive, raised where the run waits.

The handler only notes the signal, so no statement is interrupted. Anything that may take long waits in
`finished` or `in_background`, which raise the signal.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Any, TypeVar

from engine.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STEP_SECONDS = 0.1
"""How often a wait checks for a signal."""
CANCEL_SECONDS = 0.5
"""How long cancelled work may take to end. An interrupted run has two seconds in all."""

Result = TypeVar("Result")

# Signals belong to the process, and so does this list of the signals received, in order.
_noted: list[int] = []


@contextmanager
def signals_noted() -> Iterator[None]:
    """Note SIGINT, SIGTERM and SIGHUP; a second Ctrl-C ends the process at once.

    Only Ctrl-C does, because `timeout` sends its signal twice and a closing terminal sends several.
    A signal that the parent process ignores, as nohup does, stays ignored.
    """
    kept = (signal.SIG_IGN, _note)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced = {number: handler for number, handler in before.items() if handler not in kept}
    for number in replaced:
        signal.signal(number, _note)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        if replaced:
            _noted.clear()


def check_interrupted() -> None:
    """Check for a signal.

    Raises:
        InterruptedRunError: A signal was noted.
    """
    if _noted:
        raise InterruptedRunError(_noted[0])


def started(work: Callable[[], Result]) -> "Future[Result]":
    """Start work on a daemon thread, which does not keep the process alive."""
    done: Future[Result] = Future()
    Thread(target=_settle, args=(done, work), daemon=True).start()
    return done


def finished(done: "Future[Result]") -> Result:
    """Wait for the result of work on another thread.

    Raises:
        InterruptedRunError: A signal came first; the work is abandoned.
    """
    _wait(done)
    return done.result()


def in_background(
    work: Callable[[], Result],
    cancel: Callable[[], None] = lambda: None,
    limit_seconds: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Result:
    """Run work that may block on another thread, so that a signal can end it.

    Work that cannot be cancelled is abandoned: its thread ends with the process.

    Args:
        work: The call that may block.
        cancel: Called from this thread to end the work early.
        limit_seconds: The longest wait. With a limit, signals are not checked.
        check: Called from this thread while it waits; raises `TimeoutError` to end the wait.

    Raises:
        InterruptedRunError: A signal came before the work was done.
        TimeoutError: The work did not end within the limit, or `check` raised it.
    """
    if limit_seconds is None:
        check_interrupted()
    done = started(work)
    try:
        _wait(done, limit_seconds, check)
    except BaseException as error:
        cancel()
        wait([done], CANCEL_SECONDS)
        came_too_late = done.done() and done.exception() is None
        if not (came_too_late and isinstance(error, InterruptedRunError)):
            raise
    return done.result()


def _wait(
    done: "Future[Any]",
    limit_seconds: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    if limit_seconds is not None:
        if wait([done], limit_seconds).not_done:
            raise TimeoutError
        return
    check_interrupted()
    while wait([done], STEP_SECONDS).not_done:
        check_interrupted()
        check()


def _settle(done: "Future[Result]", work: Callable[[], Result]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        done.set_exception(error)


def _note(number: int, _frame: FrameType | None) -> None:
    if _noted and number == signal.SIGINT:
        os._exit(128 + number)
    _noted.append(number)
