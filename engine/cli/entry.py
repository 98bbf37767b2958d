"""Entry point of the command line: opens streams and notes signals before any large import."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import ResourceError
from engine.interruption import SIGNALS, signals_noted

# Imports create some 80,000 lasting objects. By default Python would collect garbage more than a hundred
# times meanwhile, which takes as long as opening the bundle.
OBJECTS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run `engine`."""
    open_streams()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    try:
        with signals_noted(), shortages_named("engine"):
            from engine.cli.main import main as engine

            engine()
    finally:
        # The work is done: a signal while Python shuts down must not change the exit code.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def shortages_named(program: str) -> Iterator[None]:
    """Say in words what the machine lacks for the imports of a program; afterwards it does so itself."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        shortage = ResourceError.of(error)
        if shortage is None:
            raise
        os.write(2, f"{program}: {shortage}\n".encode())
        raise SystemExit(shortage.exit_code) from None


def open_streams() -> None:
    """Connect a closed standard stream to the null device.

    Otherwise the next opened file takes its descriptor and receives what libraries print there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
