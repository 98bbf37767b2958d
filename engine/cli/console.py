"""What the two command lines share: errors become messages and exit codes, signals end a run."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from engine.cli.logs import Lines, logged_lines, write_error
from engine.cli.render import echo, wrapped
from engine.errors import BundleError, EngineError, InterruptedRunError, StorageError, bug_text
from engine.format import visible
from engine.logs import LOG


class Command(click.Command):
    """A command whose exit code is what it finds, whether or not that can be shown."""

    def invoke(self, context: click.Context) -> object:
        """Run the command; what it could not show is told where it found nothing worse.

        Raises:
            BundleError: A variable of the environment is none that Polars can read.
            StorageError: Standard output is full or failing.
        """
        _check_polars_threads(os.environ.get(_POLARS_THREADS))
        result = super().invoke(context)
        unshown: StorageError | None = context.meta.get(_UNSHOWN)
        if unshown is not None:
            raise unshown
        return result


class Program(click.Group):
    """A group of commands that never shows a traceback; exit codes as in `engine.errors`."""

    command_class = Command

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - click's signature
        """Run the command line and exit."""
        extra |= {"standalone_mode": False, "prog_name": self.name}
        extra |= {"auto_envvar_prefix": str(self.name).upper()}
        extra |= {"help_option_names": ["--help", "-h"], "max_content_width": MAX_HELP_WIDTH}
        with logged_lines(str(self.name)) as lines, _signals_end_the_run():
            run = lambda: super(Program, self).main(*args, obj=lines, **extra)  # noqa: E731
            code = _exit_code(run, lines)
        if code > 128 and threading.active_count() > 1:
            # What other threads have in hand is of no use any more: they are not waited for.
            os._exit(code)
        sys.exit(code)


_UNSHOWN = "engine.cli.console.unshown"
"""Where click's context keeps the failure of standard output, until the command has ended."""

_POLARS_THREADS = "POLARS_MAX_THREADS"
MAX_HELP_WIDTH = 100
IMPORT_SECONDS = 0.02
"""A signal that comes during an import is looked at again after so long."""


def say(lines: Iterable[str]) -> None:
    """Show lines for people on standard error."""
    write_error("\n".join(lines))


def show_lines(lines: Iterable[str]) -> None:
    """Show a result for people on standard output, wrapped to the width of a terminal."""
    show("\n".join(wrapped(map(visible, lines), sys.stdout)))


def show(text: str | bytes, consequence: str = "Fix it and run again.") -> None:
    """Show a result on standard output.

    Nothing is raised: what a command finds decides its exit code, whether or not anybody can read
    it. A reader that is gone is no failure; a full disk is one, if nothing worse is found.

    Args:
        text: The result, without the end of its last line.
        consequence: What to say where standard output is full or failing.
    """
    try:
        echo(text)
    except BrokenPipeError:
        _close_stdout()
    except OSError as error:
        _close_stdout()
        failure = StorageError(f"standard output: {error.strerror}. {consequence}")
        click.get_current_context().meta[_UNSHOWN] = failure


def _exit_code(run: Callable[[], object], lines: Lines) -> int:
    try:
        run()
    except click.ClickException as error:
        if lines.as_json:
            return _told(error.format_message(), error.exit_code)
        with suppress(OSError):
            error.show()
        return error.exit_code
    except (EngineError, InterruptedRunError) as error:
        return _told(str(error), error.exit_code)
    # NOTE: click makes a SystemExit of a BrokenPipeError.
    except (BrokenPipeError, SystemExit):
        _close_stdout()
        return 0
    except OSError as error:
        _close_stdout()
        return _told(_system_words(error), StorageError.exit_code)
    except MemoryError:
        return _told("out of memory. Lower --chunk-rows, or give it more.", EngineError.exit_code)
    # NOTE: a panic inside Polars derives from BaseException.
    except BaseException as error:  # noqa: BLE001 - the last resort before a traceback
        return _told(
            f"{bug_text(error)}; please report this with the command and the versions that "
            "'engine --version' gives.",
            EngineError.exit_code,
        )
    return 0


def _check_polars_threads(value: str | None) -> None:
    """Polars does not start with what is no number of threads, and is then taken for broken."""
    if value is not None and not re.fullmatch("0*[1-9][0-9]{0,3}", value):
        raise BundleError(
            f"environment: {_POLARS_THREADS} must be a whole number from 1 to 9999, found "
            f"{value[:80]!r}. Set it to the number of threads, or unset it."
        )


def _system_words(error: OSError) -> str:
    """What the operating system did not do, where nothing closer to it has put it into words."""
    if error.filename is None and _is_nowhere():
        return "the working directory is gone. Change to one that exists and run again."
    return f"{error.filename or 'standard output'}: {error.strerror}. Fix it and run again."


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _told(message: str, exit_code: int) -> int:
    LOG.error("%s", message, extra={"fields": {"exit_code": exit_code}})
    return exit_code


def _close_stdout() -> None:
    """Let nothing more be written to a standard output whose reader is gone, not even at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _signals_end_the_run() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise where the main thread stands, so that staging is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupt = _interrupt_once()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    # A signal that the caller ignores, as nohup does, stays ignored.
    before = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt_once() -> Callable[[int, FrameType | None], None]:
    """A handler for all signals that end a run.

    The first raises. While the run then ends, a Ctrl-C ends it at once and leaves the rest to the
    next run; other signals are heard only once, as a closing terminal sends several.
    """
    raised = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        # A closed terminal is a request to end like any other.
        code_of = signal.SIGTERM if number == signal.SIGHUP else number
        if raised and number == signal.SIGINT:
            os._exit(128 + code_of)
        if _is_importing(frame):
            # Libraries import parts of themselves in the middle of a run, when staging stands.
            signal.signal(signal.SIGALRM, lambda _, later: interrupt(number, later))
            signal.setitimer(signal.ITIMER_REAL, IMPORT_SECONDS)
        elif not raised:
            raised = True
            raise InterruptedRunError(code_of)

    return interrupt


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: an exception there comes out as any other error."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
