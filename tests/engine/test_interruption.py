import os
import signal
import time
from threading import Event

import pytest

from engine.errors import InterruptedRunError
from engine.interruption import (
    SIGNALS,
    check_interrupted,
    finished,
    in_background,
    signals_noted,
    started,
)
from tests.helpers import assert_prompt

pytestmark = pytest.mark.usefixtures("hangup")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_raised_at_the_next_check(number):
    with signals_noted():
        check_interrupted()
        os.kill(os.getpid(), number)
        with pytest.raises(InterruptedRunError, match=signal.Signals(number).name) as caught:
            check_interrupted()
    assert caught.value.exit_code == 128 + number
    check_interrupted()


def test_signals_other_than_a_second_ctrl_c_are_noted_once():
    with signals_noted(), signals_noted():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        with pytest.raises(InterruptedRunError, match="SIGINT"):
            check_interrupted()


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_noted():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_ends_the_wait_for_blocked_work():
    blocked, cancelled = Event(), []
    with signals_noted():
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(InterruptedRunError):
            in_background(blocked.wait, lambda: cancelled.append(True))
        assert_prompt(began)
        with pytest.raises(InterruptedRunError):
            finished(started(blocked.wait))
    assert cancelled == [True]
    blocked.set()


def test_work_that_ends_when_it_is_cancelled_was_interrupted():
    stop = Event()

    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        stop.wait()
        raise ValueError

    with signals_noted(), pytest.raises(InterruptedRunError):
        in_background(work, stop.set)


def test_a_signal_is_too_late_for_work_that_is_done():
    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        return "done"

    with signals_noted():
        assert in_background(work) == "done"
        with pytest.raises(InterruptedRunError):
            in_background(work)


def test_what_the_work_raises_is_raised():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_background(fail)
    with pytest.raises(TimeoutError):
        in_background(lambda: time.sleep(0.3), limit_seconds=0.01)
