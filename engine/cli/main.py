"""The command line of the engine: parse, one call, print."""

import json
import logging
import math
import os
import platform
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.console import Program, TerminalProgress, example, show
from engine.errors import InputError, InterruptedRunError
from engine.format import visible
from engine.logs import LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.connectors.databases.queries import Query
    from engine.connectors.databases.tables import ScoresTable
    from engine.outputs.summary import Summary

DEFAULT_BUNDLE = Path("onnx_models/shopnow")
MAX_CHUNK_ROWS = 10_000_000
MAX_THREADS = 256
"""Polars starts all of its threads before it reads a row: 256 take seconds, 1,024 a minute."""
_PACKAGES = ("shopnow-scoring", "polars", "onnxruntime", "numpy")


def _print_versions(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        versions = " ".join(f"{name} {version(name)}" for name in _PACKAGES)
        click.echo(f"{versions} python {platform.python_version()}")
        context.exit()


def _not_nan(_context: click.Context, option: click.Parameter, value: float) -> float:
    if math.isnan(value):
        raise click.BadParameter("must be a number", param=option)
    return value


_max_reject_share = click.option(
    "--max-reject-share",
    type=click.FloatRange(0, 1),
    callback=_not_nan,
    default=0.01,
    show_default=True,
    help="Publish nothing when a larger share of the rows cannot be scored.",
)


def _choose_log_format(context: click.Context, _option: click.Parameter, value: str) -> None:
    context.find_root().obj.as_json = value == "json"


@click.group(name="engine", cls=Program)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_versions,
    help="Show the versions that decide the bytes of an output.",
)
def main() -> None:
    """Score users with an ONNX bundle.

    Every option can be set from the environment, for instance ENGINE_SCORE_THREADS=2.
    """


def _source(
    inputs: tuple[str, ...], query: str | None, variable: str | None
) -> "Sequence[str | Query]":
    from engine.connectors.databases.queries import Query
    from engine.connectors.databases.uri import Database

    if bool(inputs) == (query is not None):
        raise click.UsageError("Name either INPUT or --query.")
    if (query is None) != (variable is None):
        raise click.UsageError("--query and --source-env go together.")
    if query is None or variable is None:
        return inputs
    return (Query(query, Database.of(variable, os.environ)),)


def _target(out: Path | None, table: str | None, variable: str | None) -> "Path | ScoresTable":
    from engine.connectors.databases.tables import ScoresTable
    from engine.connectors.databases.uri import Database

    if out is not None and table is None and variable is None:
        return out
    if out is not None or table is None:
        raise click.UsageError("Name either --out, or --table with --target-env.")
    if variable is None:
        raise click.UsageError("--table and --target-env go together.")
    return ScoresTable(table, Database.of(variable, os.environ))


@main.command(
    name="score",
    epilog=example("engine score users.parquet --out scores.parquet --if-exists replace"),
)
@click.argument("inputs", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="The file that the scores go to.")
@click.option("--query", help="SQL that gives the users, in place of INPUT.")
@click.option(
    "--source-env", help="The environment variable with the URI of the database of --query."
)
@click.option("--table", help="The table that the scores go to, in place of --out.")
@click.option(
    "--target-env", help="The environment variable with the URI of the database of --table."
)
@click.option(
    "--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE, show_default=True
)
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "replace", "skip"]),
    default="fail",
    show_default=True,
    help="What to do where the output exists.",
)
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, MAX_CHUNK_ROWS),
    default=32_768,
    show_default=True,
    help="Rows in one hand at a time.",
)
@click.option(
    "--threads", type=click.IntRange(1, MAX_THREADS), help="By default one for each core."
)
@click.option(
    "--quarantine",
    type=click.Path(path_type=Path),
    help="Where rows that cannot be scored go, by default <out>.quarantine.<ending>.",
)
@_max_reject_share
@click.option(
    "--summary",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Where the JSON summary goes, by default <out>.summary.json; '-' also prints it.",
)
@click.option(
    "--drivers",
    type=click.IntRange(0, 3),
    default=3,
    show_default=True,
    help="Features with the largest impact on the score, each with its impact.",
)
@click.option("--impacts", is_flag=True, help="Add the base value and the impact of every feature.")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path),
    help="Where the summary goes as Prometheus reads it.",
)
@click.option("--strict", is_flag=True, help="Publish nothing when drift raises an alarm.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read, check and score all rows, say what would be published, write nothing.",
)
@click.option(
    "--csv-for-spreadsheets",
    is_flag=True,
    help="In CSV, put an apostrophe before texts that a spreadsheet would run as formulas.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "verbose", is_flag=True, help="Say what is being done.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    is_eager=True,
    expose_value=False,
    callback=_choose_log_format,
    help="Words for people, or one JSON object a line.",
)
def score_command(
    inputs: tuple[str, ...],
    out: Path | None,
    query: str | None,
    source_env: str | None,
    table: str | None,
    target_env: str | None,
    bundle: Path,
    threads: int | None,
    summary: Path | None,
    quiet: bool,
    verbose: bool,
    **options: Any,  # noqa: ANN401 - passed on by name
) -> None:
    """Score INPUT... or a query into one file or table, in input order, all or nothing.

    INPUT is a file, a glob, a directory, or '-' for standard input: Parquet, CSV (also gzip),
    Arrow IPC or NDJSON, told by its first bytes. Databases are PostgreSQL, SQLite and DuckDB.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and -v contradict each other.")
    LOG.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    if threads is not None:
        # Polars sizes its own pool when it is imported.
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    from engine.pipeline import ScoreOptions, score

    source, target = _source(inputs, query, source_env), _target(out, table, target_env)
    to_stdout = summary == Path("-")
    settings = ScoreOptions(threads=threads, summary=None if to_stdout else summary, **options)
    with TerminalProgress("scored", quiet=quiet) as progress:
        done = score(source, bundle, target, settings, progress)
    # The work is done: a signal cuts short only the words about it.
    with suppress(InterruptedRunError):
        LOG.info("\n".join(done.to_lines()), extra={"fields": {"summary": asdict(done)}})
        if to_stdout:
            show(done.to_json().rstrip(b"\n"), _consequence(done))


def _consequence(done: "Summary") -> str:
    """What to say where the summary of a run could not be shown."""
    if not done.published:
        return "Mend it and run again."
    return f"The scores of this run stand at {done.out}; only the summary could not be shown."


@main.command(epilog=example("engine validate users.parquet"))
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE, show_default=True
)
@_max_reject_share
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def validate(inputs: tuple[str, ...], bundle: Path, max_reject_share: float, as_json: bool) -> None:
    """Show which rows of INPUT... would be scored and which set aside, and why, without scoring.

    Ends with exit code 65 where 'engine score' would publish nothing.
    """
    from engine.explain.validate import preview

    with TerminalProgress("checked") as progress:
        found = preview(inputs, bundle, max_reject_share, progress)
    for line in [found.to_json()] if as_json else map(visible, found.to_lines()):
        show(line)
    if found.refusal is not None:
        raise InputError(found.refusal)


@main.command(epilog=example("engine inspect"))
@click.argument("bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--json", "as_json", is_flag=True, help="Manifest and evaluation as JSON.")
def inspect(bundle: Path, as_json: bool) -> None:
    """Show what a bundle holds: metrics, segments, drivers, thresholds, features, files, hashes."""
    from engine.bundle.evaluation import read_evaluation
    from engine.bundle.open import EVALUATION, MANIFEST, open_bundle
    from engine.bundle.playbook import playbook_rows
    from engine.explain.inspect import inspect_lines, playbook_lines

    opened = open_bundle(bundle)
    evaluation = read_evaluation(opened)
    if as_json:
        manifest, measured = (json.loads(opened.contents[name]) for name in (MANIFEST, EVALUATION))
        show(json.dumps({**manifest, "evaluation": measured}, ensure_ascii=False))
    else:
        lines = inspect_lines(opened.manifest, evaluation)
        for line in (*lines, *playbook_lines(playbook_rows(opened))):
            show(visible(line))


@main.command(epilog=example("engine verify"))
@click.argument("bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def verify(bundle: Path, as_json: bool) -> None:
    """Check a bundle on this machine: hashes, operators, and that it computes what it must."""
    from engine.model.verify import verify as verify_bundle

    verification = verify_bundle(bundle)
    for line in [verification.to_json()] if as_json else verification.to_lines():
        show(line)
    verification.refuse_failures()


@main.command(epilog=example("engine explain users.parquet --user U00000001"))
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--user", required=True, help="The user's id, as it stands in the id column.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def explain(inputs: tuple[str, ...], user: str, bundle: Path, as_json: bool) -> None:
    """Show why one user of INPUT... has the score that they have.

    Every feature with its value, where that value lies among the users of INPUT, and its impact on
    the score. Of several snapshots of the user, the last is explained.
    """
    from engine.explain.explanation import explain as explain_user
    from engine.explain.format import explanation_lines
    from engine.inputs.open import open_inputs
    from engine.scorer import load_bundle

    scorer = load_bundle(bundle)
    with open_inputs(inputs, scorer.columns) as tables:
        explanation = explain_user(tables, scorer, user)
    if as_json:
        show(explanation.to_json())
    else:
        for line in explanation_lines(explanation):
            show(line)


@main.command(epilog=example("engine drift users.parquet"))
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def drift(inputs: tuple[str, ...], bundle: Path, as_json: bool) -> None:
    """Show how far the users of INPUT... are from those that the bundle was trained on.

    The population stability index (PSI) of the score, of the segments and of every feature, the
    largest first: from 0.10 a moderate shift, from 0.25 an alarm. Measured on up to 30,000 of the
    users, spread evenly over the input. Rows that cannot be scored are left out.
    """
    from engine.explain.format import drift_lines
    from engine.pipeline import input_drift

    report = input_drift(inputs, bundle)
    if as_json:
        show(json.dumps(report, ensure_ascii=False))
    else:
        for line in drift_lines(report):
            show(visible(line))
