"""The door of the command line: open streams and a way out before anything large is imported."""

import gc
import os
import signal
from types import FrameType
from typing import NoReturn

# Imports make some 80,000 objects, and all of them stay. By default Python looks through the
# newest of them for garbage more than a hundred times on the way, which takes as long as opening the bundle.
OBJECTS_BEFORE_COLLECTION = 100_000

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Run `engine`."""
    open_streams()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    for number in SIGNALS:
        # A signal that the caller ignores, as nohup does, stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from engine.cli.main import main as engine

    try:
        engine()
    finally:
        # All is done and said: what comes while Python shuts down must not change the exit code.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def open_streams() -> None:
    """Give a closed standard stream the null device, or the next file opened would be one.

    What a library then writes to standard error would stand in the middle of the scores.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    # Nothing has been begun; an exception would come out of an import as any other error.
    os._exit(128 + number)
