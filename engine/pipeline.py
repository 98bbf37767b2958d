"""The main path: users in, scores out. Start here.

A bundle is a pure function from a chunk of users to a chunk of scores; this module moves chunks
through it.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from engine.errors import InputError, SelfCheckError, pluralize
from engine.explain.diagnose import check_rejects
from engine.explain.drift import drift_report
from engine.inputs.chunks import check_tables, read_users
from engine.inputs.open import Source, open_inputs
from engine.inputs.rejected import RejectedRows
from engine.inputs.tables import Table
from engine.interruption import finished, started
from engine.limits import InputLimits
from engine.logs import LOG
from engine.model.columns import REPEATED_TEXTS
from engine.model.threads import Progress, available_cores, in_order
from engine.options import CHUNK_ROWS, OutputOptions, ScoreOptions
from engine.outputs.alarms import find_alarms, input_sha256, inputs_before, last_published
from engine.outputs.metrics import to_prometheus
from engine.outputs.paths import (
    Destination,
    ScoresFile,
    Targets,
    check_apart,
    check_outside_bundles,
)
from engine.outputs.sink import DryRun, Sink, failures_reported
from engine.outputs.summary import Drift, Summary, Tally, file_entry, peak_memory_bytes
from engine.outputs.writer import Written
from engine.rows.chunk import mark_nul
from engine.scorer import Scorer, load_bundle
from engine.versions import running_versions


def score(
    inputs: Sequence[str | Source],
    bundle: str | Path,
    out: str | Path | Destination,
    options: ScoreOptions = ScoreOptions(),  # noqa: B008 - it is frozen
    progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> Summary:
    """Score users into one file or table, in input order, all or nothing.

    Args:
        inputs: Files, globs, directories, `-` for standard input, or queries.
        bundle: A bundle folder, or a folder with `CURRENT`.
        out: Where the scores go; the ending of a file decides its format.
        options: See `ScoreOptions`.
        progress: Called after each chunk.

    Raises:
        EngineError: Its kind says what went wrong; earlier scores are unchanged.
    """
    start = time.monotonic()
    destination = ScoresFile(Path(out)) if isinstance(out, str | Path) else out
    targets = Targets.of(destination, options.quarantine, options.summary, options.metrics_file)
    for path in targets.paths:
        check_outside_bundles(path, Path(bundle))
    if options.if_exists == "skip" and destination.exists():
        return Summary("skipped", published=False, out=targets.label, stands="earlier run")
    output = OutputOptions(options.drivers, options.impacts, options.reasons)
    threads = options.threads or available_cores()
    tally = Tally()
    with _sink(targets, options) as sink, failures_reported(sink, tally, start):
        # A run that fails writes a summary, so it must know what to pass on.
        tally.before = inputs_before(targets.summary)
        targets.check(replace=options.if_exists == "replace")
        sink.prepare()
        scorer = load_bundle(bundle, options.public_key)
        LOG.debug("bundle %s opened; %d threads", scorer.manifest.bundle_id, threads)
        with open_inputs(inputs, scorer.columns, options.limits) as tables:
            LOG.debug("inputs: %s", ", ".join(table.name for table in tables))
            _check_inputs(scorer, tables, inputs, targets)
            total = sum(table.rows for table in tables)
            sha256 = started(partial(input_sha256, tables))
            rejected = RejectedRows(tables, scorer.columns, options.max_reject_share * total)
            schema = scorer.manifest.schema
            chunks = read_users(tables, scorer.columns, options.chunk_rows, schema)
            if not destination.holds_nul:
                chunks = mark_nul(chunks, schema.id)
            score_chunk = partial(scorer.score_chunk, options=output)
            with closing(in_order(score_chunk, chunks, threads)) as chunks_scored:
                for scored in chunks_scored:
                    sink.write(scored.scores)
                    for rows in rejected.add(scored.rejected, tally.rows.read):
                        sink.write_rejected(rows)
                    tally.add(scored)
                    LOG.debug("%s rows done", f"{tally.rows.read:,}")
                    progress(tally.rows.read, total)
            tally.sha256 = finished(sha256)
            _check_totals(tally, options.max_reject_share, scorer, tables)
            # Read on another thread, so that a signal ends the wait.
            with closing(in_order(lambda rows: rows, rejected.read_again(), 1)) as rows_again:
                for rows in rows_again:
                    sink.write_rejected(rows)
        _check_alarms(tally, scorer, sink, strict=options.strict)
        written = sink.finish()
        LOG.debug("all rows scored, files complete and verified")
        summary = replace(
            _summary(targets, scorer, tally, written, dry_run=options.dry_run),
            inputs=tuple(table.name for table in tables),
            threads=threads,
            seconds=round(time.monotonic() - start, 3),
        )
        sink.publish(summary.to_json(), to_prometheus(summary))
    return summary


def input_drift(
    inputs: Sequence[str],
    bundle: str | Path,
    limits: InputLimits = InputLimits(),  # noqa: B008 - it is frozen
) -> dict[str, Any]:
    """Compare the users of files with the training users; nothing is written.

    Args:
        inputs: Files, globs, directories, or `-` for standard input.
        bundle: A bundle folder, or a folder with `CURRENT`.
        limits: What is read of the input at most.

    Returns:
        The report of `drift.drift_report`, with `bundle_id`, `rows_read` and `rows_scored`.

    Raises:
        EngineError: The bundle or the input cannot be used.
    """
    scorer = load_bundle(bundle)
    tally = Tally()
    with open_inputs(inputs, scorer.columns, limits) as tables:
        for table in tables:
            scorer.check_columns(table.columns, table.name)
        chunks = read_users(tables, scorer.columns, CHUNK_ROWS, scorer.manifest.schema)
        score_chunk = partial(scorer.score_chunk, options=OutputOptions(drivers=0))
        with closing(in_order(score_chunk, chunks, available_cores())) as chunks_scored:
            for scored in chunks_scored:
                tally.add(scored)
    if tally.scored == 0:
        raise InputError(
            f"input: none of {tally.rows.read:,} rows can be scored. Check its columns."
        )
    counts = {"rows_read": tally.rows.read, "rows_scored": tally.scored}
    report = drift_report(scorer.reference, tally.sample.users, scorer.manifest)
    return {"bundle_id": scorer.manifest.bundle_id, **counts, **report}


def _sink(targets: Targets, options: ScoreOptions) -> Sink:
    return (DryRun if options.dry_run else Sink)(
        targets,
        REPEATED_TEXTS,
        replace=options.if_exists == "replace",
        for_spreadsheets=options.csv_for_spreadsheets,
    )


def _check_inputs(
    scorer: Scorer, tables: Sequence[Table], inputs: Sequence[str | Source], targets: Targets
) -> None:
    """Check everything that does not need the rows."""
    named = [text for text in inputs if isinstance(text, str)]
    check_apart(targets.paths, named, [table.path for table in tables if table.path is not None])
    check_tables(scorer.manifest, tables)


def _check_totals(
    tally: Tally, max_reject_share: float, scorer: Scorer, tables: Sequence[Table]
) -> None:
    rows = tally.rows
    check_rejects(rows, max_reject_share, tables, scorer.manifest, scorer.reference)
    if rows.read != tally.scored + rows.rejected.total():
        raise SelfCheckError(
            f"{rows.read:,} rows read, but {tally.scored:,} scored and "
            f"{rows.rejected.total():,} quarantined. Nothing was published; report this."
        )


def _check_alarms(tally: Tally, scorer: Scorer, sink: Sink, *, strict: bool) -> None:
    """Compare the users with the training users and with the run before; with `strict`, refuse alarms."""
    report = drift_report(scorer.reference, tally.sample.users, scorer.manifest)
    tally.drift = Drift.of(report)
    tally.alarms = find_alarms(tally.drift.alarms, tally.inputs, tally.before)
    # Scores are hashed only if an alarm depends on whose they are.
    if len(tally.alarms) > len(tally.drift.alarms) and sink.targets.destination.is_file:
        scores = sink.targets.out
        tally.before = last_published(tally.before, scores, after_kill=sink.after_kill)
        tally.alarms = find_alarms(tally.drift.alarms, tally.inputs, tally.before)
    if strict and tally.alarms:
        words = "; ".join(f"{alarm.name}: {alarm.message}" for alarm in tally.alarms)
        raise InputError(
            f"input: {pluralize(len(tally.alarms), 'alarm')}: {_sentence(words)} Nothing was published, "
            "because of --strict. Fix the input; if it is right, run once without --strict."
        )


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".")) else f"{text}."


def _summary(
    targets: Targets,
    scorer: Scorer,
    tally: Tally,
    written: tuple[Written | None, Written | None],
    *,
    dry_run: bool,
) -> Summary:
    """The summary of a successful run, without its inputs and duration."""
    scores, quarantine = written
    return Summary(
        status="dry_run" if dry_run else "published",
        published=not dry_run,
        out=targets.label,
        bundle_id=scorer.manifest.bundle_id,
        signed_by=scorer.signed_by,
        outputs=file_entry("scores", targets.label, scores)
        | file_entry("quarantine", str(targets.quarantine), quarantine),
        stands=targets.standing() if dry_run else "this run",
        versions=running_versions(),
        unusable=scorer.manifest.unusable,
        peak_memory_bytes=peak_memory_bytes(),
        **tally.for_summary(),
    )
