"""Arguments and options that several commands share."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.cli.console import Command
from engine.errors import UsageError, quoted
from engine.limits import InputLimits

if TYPE_CHECKING:
    from engine.connectors.databases.tables import ScoresTable
    from engine.connectors.lakehouse.scores import LakehouseScores

DEFAULT_BUNDLE = Path("onnx_models/shopnow")
STANDARD_STREAM = Path("-")

Function = TypeVar("Function", bound=Callable[..., Any])


def command(example: str) -> Callable[[Callable[..., Any]], Command]:
    """A command of either program; the example ends its help text, protected from re-wrapping."""
    return click.command(cls=Command, epilog=f"\b\nExample:\n  {example}")


def not_nan(_context: click.Context, option: click.Parameter, value: Any) -> Any:  # noqa: ANN401
    """Refuse NaN, which passes every range that click checks."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("must be a number", param=option)
    return value


# NOTE: the engine itself reports unreadable files, with its own exit code.
PLACE = click.Path(readable=False, path_type=Path)
INPUT = click.Path(readable=False)


def check_packages(packages: Sequence[str], extra: str) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        UsageError: One is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{quoted(missing)} not installed: this command needs the extra [{extra}]. "
            f"Run: pip install 'shopnow-scoring[{extra}]', or in a clone: pip install '.[{extra}]'"
        )


inputs_argument = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=INPUT)
bundle_argument = click.argument(
    "bundle", type=PLACE, default=DEFAULT_BUNDLE, envvar="ENGINE_BUNDLE"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
max_reject_share_option = click.option(
    "--max-reject-share",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    callback=not_nan,
    default=0.01,
    help="Publish nothing if more than this share of the rows cannot be scored.",
)


def bundle_option(command: str) -> Callable[[Function], Function]:
    """The bundle of a command, from its own variable or the one for all commands."""
    return click.option(
        "--bundle",
        type=PLACE,
        default=DEFAULT_BUNDLE,
        envvar=[f"ENGINE_{command.upper()}_BUNDLE", "ENGINE_BUNDLE"],
        help="A bundle, or a folder of versions with CURRENT. Environment: ENGINE_BUNDLE.",
    )


def destination(
    out: Path | None, table: str | None, variable: str | None, marks: tuple[str, ...] = ()
) -> "Path | ScoresTable | LakehouseScores":
    """Where --out, or --table and --target-env, lead.

    Args:
        out: The file, or the table of a lakehouse.
        table: The database table.
        variable: The environment variable with the URI of its database.
        marks: Columns of a table that may be replaced; by default those of scores.

    Raises:
        click.UsageError: They contradict each other.
    """
    from engine.connectors.databases.tables import MARKS, ScoresTable
    from engine.connectors.databases.uri import Database
    from engine.connectors.lakehouse.scores import LakehouseScores
    from engine.inputs.lakehouse import lakehouse_table

    if out == STANDARD_STREAM:
        raise click.UsageError(
            "--out - is not supported: the output is checked and published as a whole file. "
            "Write a file, then read it: --out FILE.csv && cat FILE.csv"
        )
    if out is not None and table is None and variable is None:
        lakehouse = lakehouse_table(str(out))
        return out if lakehouse is None else LakehouseScores(lakehouse, marks or MARKS)
    if out is not None or table is None:
        raise click.UsageError("Name either --out, or --table with --target-env.")
    if variable is None:
        raise click.UsageError("--table and --target-env go together.")
    return ScoresTable(table, Database.of(variable, os.environ), marks or MARKS)


_LIMITS = {
    "max_columns": "Columns that an input may have.",
    "max_files": "Files and folders that a directory or glob may hold.",
    "max_gzip_ratio": "How many times its size a packed file may unpack to.",
}


def limit_options(function: Function) -> Function:
    """What is read of an input at most, as `limits`."""

    @wraps(function)
    def with_limits(*args: Any, **given: Any) -> Any:  # noqa: ANN401
        limits = InputLimits(**{name: given.pop(name) for name in _LIMITS})
        return function(*args, limits=limits, **given)

    decorated: Any = with_limits
    for field in reversed(fields(InputLimits)):
        decorated = click.option(
            f"--{field.name.replace('_', '-')}",
            type=click.IntRange(1),
            metavar="N",
            default=field.default,
            help=_LIMITS[field.name],
        )(decorated)
    result: Function = decorated
    return result
