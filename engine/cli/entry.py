"""Entry point of the command line: open streams and signals noted before anything large is imported."""

import gc
import os
import signal

from engine.interruption import SIGNALS, signals_noted

# Imports make some 80,000 objects, and all of them stay. By default Python looks through the
# newest of them for garbage more than a hundred times on the way, which takes as long as opening the bundle.
OBJECTS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run `engine`."""
    open_streams()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    try:
        with signals_noted():
            from engine.cli.main import main as engine

            engine()
    finally:
        # All is done: a signal while Python shuts down must not change the exit code.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def open_streams() -> None:
    """Give a closed standard stream the null device.

    The next file opened would otherwise take its place, and receive what libraries print there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
