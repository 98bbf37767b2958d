"""Shared by both command lines: errors and signals become messages and exit codes."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from engine.cli.logs import Lines, logged_lines, write_error
from engine.cli.render import echo, wrapped
from engine.cli.supervised import supervise
from engine.errors import (
    BundleError,
    EngineError,
    InterruptedRunError,
    ResourceError,
    StorageError,
    bug_text,
    system_error_kind,
)
from engine.format import visible
from engine.interruption import check_interrupted, signals_noted
from engine.logs import LOG
from engine.resources import check_resources


class Command(click.Command):
    """A command whose exit code reports its result, even if standard output fails."""

    def invoke(self, context: click.Context) -> object:
        """Run the command; a failed output raises only if nothing worse was found.

        Raises:
            BundleError: Polars cannot read a variable of the environment.
            InterruptedRunError: A signal came.
            ResourceError: The machine allows too few threads or too little memory.
            StorageError: Standard output is full or failing.
        """
        check_interrupted()
        _check_polars_threads(os.environ.get(_POLARS_THREADS))
        check_resources(context.params.get("threads"))
        # NOTE: loaded after the other packages, NumPy takes 50 ms longer here.
        import_module("numpy")
        try:
            result = super().invoke(context)
        # NOTE: Polars raises it for Ctrl-C, whatever the handler of the process does.
        except KeyboardInterrupt:
            raise InterruptedRunError(signal.SIGINT) from None
        unshown: StorageError | None = context.meta.get(_UNSHOWN)
        if unshown is not None:
            raise unshown
        return result


class Program(click.Group):
    """A group of commands that never shows a traceback; exit codes as in `engine.errors`."""

    command_class = Command

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - click's signature
        """Run the command line and exit."""
        supervise(str(self.name))
        extra |= {"standalone_mode": False, "prog_name": self.name}
        extra |= {"auto_envvar_prefix": str(self.name).upper()}
        extra |= {"help_option_names": ["--help", "-h"], "max_content_width": MAX_HELP_WIDTH}
        extra |= {"show_default": True}
        with logged_lines(str(self.name)) as lines, signals_noted():
            code = _exit_code(partial(self.run, *args, obj=lines, **extra), lines)
        if code > 128 and threading.active_count() > 1:
            # The work of other threads is no longer needed.
            os._exit(code)
        sys.exit(code)

    def run(self, *args: Any, **extra: Any) -> object:  # noqa: ANN401
        """Run the command line without exiting."""
        return super().main(*args, **extra)


_UNSHOWN = "engine.cli.console.unshown"
"""The key in click's context for a failure of standard output, until the command has ended."""

_POLARS_THREADS = "POLARS_MAX_THREADS"
MAX_HELP_WIDTH = 100


def say(lines: Iterable[str]) -> None:
    """Show lines for people on standard error."""
    write_error("\n".join(map(visible, lines)))


def show_lines(lines: Iterable[str]) -> None:
    """Show a result for people on standard output, wrapped to the width of a terminal."""
    show("\n".join(wrapped(map(visible, lines), sys.stdout)))


def show_result(document: str, lines: Iterable[str], *, as_json: bool) -> None:
    """Show a result on standard output: its JSON, or lines for people."""
    if as_json:
        show(document)
    else:
        show_lines(lines)


def show(text: str | bytes, consequence: str = "Fix it and run again.") -> None:
    """Show a result on standard output.

    Nothing is raised here, because the result of a command decides its exit code. A closed pipe is not
    a failure; a full disk is one, if nothing worse is found.

    Args:
        text: The result, without a final newline.
        consequence: What to say if standard output is full or failing.
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
            return _failed(error.format_message(), error.exit_code)
        with suppress(OSError):
            error.show()
        return error.exit_code
    except EngineError as error:
        return _failed(str(error), error.exit_code)
    # NOTE: click turns a BrokenPipeError into a SystemExit.
    except (BrokenPipeError, SystemExit):
        _close_stdout()
        return 0
    # NOTE: a panic inside Polars derives from BaseException.
    except BaseException as error:  # noqa: BLE001 - the last resort before a traceback
        shortage = ResourceError.of(error)
        if shortage is not None:
            return _failed(str(shortage), shortage.exit_code)
        if isinstance(error, OSError):
            _close_stdout()
            return _failed(_system_message(error), system_error_kind(error).exit_code)
        return _failed(
            f"{bug_text(error)}; please report this with the command and the versions that "
            "'engine --version' gives.",
            EngineError.exit_code,
        )
    return 0


def _check_polars_threads(value: str | None) -> None:
    """Check POLARS_MAX_THREADS; with an unusable value, importing Polars fails as if it were broken."""
    if value is not None and not re.fullmatch("0*[1-9][0-9]{0,3}", value):
        raise BundleError(
            f"environment: {_POLARS_THREADS} must be a whole number from 1 to 9999, found "
            f"{value[:80]!r}. Set it to the number of threads, or unset it."
        )


def _system_message(error: OSError) -> str:
    """The message for an operating-system error that no other code has translated."""
    if error.filename is None and _is_directory_gone():
        return "the working directory is gone. Change to one that exists and run again."
    return f"{error.filename or 'standard output'}: {error.strerror}. Fix it and run again."


def _is_directory_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _failed(message: str, exit_code: int) -> int:
    LOG.error("%s", message, extra={"fields": {"exit_code": exit_code}})
    return exit_code


def _close_stdout() -> None:
    """Stop all writes to a standard output whose reader is gone, even at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
