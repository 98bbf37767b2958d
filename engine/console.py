"""What the two command lines share: errors become messages and exit codes, signals end a run."""

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

import click

from engine.errors import EngineError, InterruptedRunError


class Program(click.Group):
    """A group of commands that never shows a traceback; exit codes as in `engine.errors`."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - click's signature
        """Run the command line and exit."""
        extra |= {"standalone_mode": False, "prog_name": self.name}
        extra |= {"auto_envvar_prefix": str(self.name).upper()}
        with _signals_end_the_run():
            sys.exit(_exit_code(lambda: super(Program, self).main(*args, **extra), str(self.name)))


BAR_CELLS = 30


class TerminalProgress:
    """A bar on a terminal, or a count where the total is not known; silent anywhere else."""

    def __init__(self, verb: str, *, quiet: bool = False) -> None:
        self._verb = verb
        self._shown = sys.stderr.isatty() and not quiet

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far the work has come."""
        if self._shown:
            click.echo(f"\r{progress_line(self._verb, done, total)}", err=True, nl=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo(err=True)


def progress_line(verb: str, done: int, total: int | None) -> str:
    """How far the work has come, on one line."""
    if not total:
        return f"{verb} {done:,} users"
    filled = BAR_CELLS * done // total
    bar = "█" * filled + "░" * (BAR_CELLS - filled)
    return f"{bar} {verb} {done:,} of {total:,} users"


def not_nan(_context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """NaN passes every range of click's."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("must be a number", param=option)
    return value


def say(lines: Sequence[str], *, quiet: bool = False) -> None:
    """Words for people, on standard error."""
    if not quiet:
        for line in lines:
            click.echo(line, err=True)


def example(text: str) -> str:
    """The example that ends a help text, protected from re-wrapping."""
    return f"\b\nExample:\n  {text}"


def _exit_code(run: Callable[[], object], program: str) -> int:
    try:
        run()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EngineError as error:
        click.echo(f"{program}: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        click.echo(f"{program}: out of memory. Lower --chunk-rows, or give it more.", err=True)
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort before a traceback
        click.echo(
            f"{program}: a bug: {type(error).__name__}: {error}; "
            "please report this with the command and the versions that 'engine --version' gives.",
            err=True,
        )
        return 1
    return 0


@contextmanager
def _signals_end_the_run() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise where the main thread stands, so that staging is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    # A signal that the caller ignores, as nohup does, stays ignored.
    before = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    # A closed terminal is a request to end like any other.
    raise InterruptedRunError(signal.SIGTERM if number == signal.SIGHUP else number)
