"""`engine score`."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.console import show
from engine.cli.options import (
    INPUT,
    PLACE,
    STANDARD_STREAM,
    bundle_option,
    command,
    destination,
    limit_options,
    max_reject_share_option,
)
from engine.cli.render import rows_bar
from engine.logs import LOG

if TYPE_CHECKING:
    from engine.connectors.databases.queries import Query
    from engine.outputs.summary import Summary

MAX_CHUNK_ROWS = 10_000_000
MAX_THREADS = 256
"""Polars starts all threads before it reads a row: 256 take seconds, 1,024 take a minute."""


def _choose_log_format(context: click.Context, _option: click.Parameter, value: str) -> None:
    context.find_root().obj.as_json = value == "json"


@command("engine score users.parquet --out scores.parquet --if-exists replace")
@click.argument("inputs", nargs=-1, metavar="[INPUT...]", type=INPUT)
@click.option(
    "-o",
    "--out",
    type=PLACE,
    help="The file for the scores; its ending decides the format: .parquet, .csv, .csv.gz, .arrow, .ndjson. "
    "Or a table: delta:FOLDER, iceberg:CATALOG.NAMESPACE.TABLE.",
)
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "replace", "skip"]),
    default="fail",
    help="What to do if the output exists.",
)
@bundle_option("score")
@click.option(
    "--require-signature",
    is_flag=True,
    help="Score only with a bundle that the holder of --key has signed.",
)
@click.option("--key", type=PLACE, help="The public key for --require-signature.")
@click.option(
    "--drivers",
    type=click.IntRange(0, 3),
    metavar="N",
    default=3,
    help="Add the N features with the largest impact on each score.",
)
@click.option(
    "--reasons",
    type=click.IntRange(0, 3),
    metavar="N",
    default=0,
    help="Add the first N drivers in words, with value and effect.",
)
@click.option("--impacts", is_flag=True, help="Add the base value and the impact of every feature.")
@max_reject_share_option
@click.option(
    "--quarantine",
    type=PLACE,
    help="The file for rows that cannot be scored.  [default: <out>.quarantine.<ending>]",
)
@click.option(
    "--summary",
    type=PLACE,
    help="The file for the JSON summary; '-' also prints it.  [default: <out>.summary.json]",
)
@click.option(
    "--metrics-file", type=PLACE, help="Also write the summary as metrics for Prometheus."
)
@click.option("--strict", is_flag=True, help="Publish nothing if there is an alarm.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read, check and score all rows and report the result, but write nothing.",
)
@click.option(
    "--csv-for-spreadsheets",
    is_flag=True,
    help="In CSV, put an apostrophe before text that a spreadsheet would run as a formula.",
)
@click.option(
    "--query", metavar="SQL", help="Read users with this SQL query instead of from INPUT."
)
@click.option(
    "--source-env",
    metavar="NAME",
    help="The environment variable with the database URI of --query.",
)
@click.option(
    "--table", metavar="TABLE", help="Write scores to this database table instead of --out."
)
@click.option(
    "--target-env",
    metavar="NAME",
    help="The environment variable with the database URI of --table.",
)
@click.option(
    "--chunk-rows",
    type=click.IntRange(1, MAX_CHUNK_ROWS),
    metavar="N",
    default=32_768,
    help="Rows per chunk.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    metavar="N",
    show_default="one per core",
    help="Chunks scored in parallel.",
)
@limit_options
@click.option("--quiet", is_flag=True, help="Print errors, warnings and alarms only.")
@click.option("-v", "verbose", is_flag=True, help="Print each step.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    is_eager=True,
    expose_value=False,
    callback=_choose_log_format,
    help="Log text for people, or one JSON object per line.",
)
@click.pass_context
def score(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    out: Path | None,
    query: str | None,
    source_env: str | None,
    table: str | None,
    target_env: str | None,
    bundle: Path,
    require_signature: bool,
    key: Path | None,
    threads: int | None,
    summary: Path | None,
    quiet: bool,
    verbose: bool,
    **options: Any,  # noqa: ANN401 - passed on by name
) -> None:
    """Score users into one file or table.

    INPUT is a file, a glob, a directory, or '-' for standard input. Parquet, CSV (also gzip), Arrow
    IPC and NDJSON are recognised by content, and so are folders of Delta Lake; Iceberg is
    iceberg:CATALOG.NAMESPACE.TABLE. Either ends in @v12 to read version or snapshot 12. Databases
    are PostgreSQL, SQLite and DuckDB. Scores keep the order of the input and are published whole or
    not at all.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and -v contradict each other.")
    # Two options: if the key gets lost on the way here, nothing is scored unchecked.
    if require_signature != (key is not None):
        raise click.UsageError("--require-signature and --key go together.")
    LOG.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if threads is not None:
        # Polars sizes its own pool when it is imported.
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    from engine.options import ScoreOptions
    from engine.pipeline import score as score_users

    source, target = _source(inputs, query, source_env), destination(out, table, target_env)
    to_stdout = summary == STANDARD_STREAM
    settings = ScoreOptions(
        threads=threads,
        summary=None if to_stdout else summary,
        public_key=key,
        **options,
    )
    # Log lines and a bar would overwrite each other.
    logs = verbose or context.find_root().obj.as_json
    with rows_bar("scoring", hidden=quiet or logs) as progress:
        done = score_users(source, bundle, target, settings, progress)
    lines = done.to_lines()
    LOG.info("\n".join(lines), extra={"lines": lines, "fields": {"summary": asdict(done)}})
    for line in done.to_warnings():
        LOG.warning("%s", line)
    if to_stdout:
        show(done.to_json().rstrip(b"\n"), _consequence(done))


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


def _consequence(done: "Summary") -> str:
    """The message if the summary of a run could not be shown."""
    if not done.published:
        return "Fix it and run again."
    return f"The scores of this run are at {done.out}; only the summary could not be shown."
