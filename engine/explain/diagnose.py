"""Decides whether a run may publish, and guesses the cause if not.

A changed unit, column or format is recognised in the first rows of the file with most rejected rows.
The diagnosis is a guess for the person who fixes the input: it rejects no row and shows no value.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.reference import Reference
from engine.errors import NAMES_SHOWN, InputError, rule_counts
from engine.explain.drift import other_unit
from engine.inputs.chunks import read_chunks
from engine.inputs.tables import Table
from engine.model.columns import ScoredChunk
from engine.rows.prepare import PreparedChunk, needed_columns
from engine.rows.typed import Typed, is_missing_text, to_typed, with_plain_texts

SAMPLE_ROWS = 32_768

RULES_SHOWN = 3
MOST = 0.5
"""From this share of its values on, a problem is attributed to the whole column."""
SOME = 0.02
"""Below this share of all rows, a few wrong values have no common cause."""

MISSING_MARKS = (
    *("null", "(null)", "none", "nil", "na", "n/a", "#n/a", "<na>", "n.a.", "n/d", "nd", "missing"),
    *("unknown", "undefined", "\\n", "-", "--", "---", ".", "?", "*", "#n/v", "nat"),
)
"""Texts that programs write where a value is missing, in lower case. Messages may show them."""
DECIMAL_COMMA = r"^\s*-?\d+(\.\d{3})*,\d+\s*$|^\s*-?\d{1,3}(,\d{3})+(\.\d+)?\s*$"
OTHER_DATE = r"^\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ].*)?\s*$"


@dataclass(slots=True)
class RowCounts:
    """Rows and values counted over the chunks of an input.

    Attributes:
        read: All rows.
        rejected: The number of rejected rows of each file that has any.
        reasons: The number of rows that break each rule, `column|rule`; a row may break several.
        unseen: The number of values without a category code, by feature.
    """

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: PreparedChunk | ScoredChunk) -> None:
        """Count one chunk."""
        self.read += chunk.rows_read
        if chunk.rejected.height:
            self.rejected[chunk.rejected["source_file"][0]] += chunk.rejected.height
        self.reasons.update(chunk.reasons)
        self.unseen.update(chunk.unseen)


def check_rejects(
    counts: RowCounts,
    max_reject_share: float,
    tables: Sequence[Table],
    manifest: Manifest,
    reference: Reference,
) -> None:
    """Refuse an input without rows, or with too many rows that cannot be scored.

    Args:
        counts: The rows of the input.
        max_reject_share: The largest share of rejected rows that is allowed.
        tables: The opened input, in which the cause is looked for.
        manifest: Schema and category tables.
        reference: The training users.

    Raises:
        InputError: There are no rows, or too many are rejected; the message names the probable cause.
    """
    if counts.read == 0:
        files = ", ".join(table.name for table in tables[:NAMES_SHOWN])
        raise InputError(f"{files}: no rows. Check the job that writes it.")
    rows = counts.rejected.total()
    if rows <= max_reject_share * counts.read:
        return
    worst = max(counts.rejected, key=lambda file: counts.rejected[file])
    table = next(table for table in tables if table.name == worst)
    sample = next(read_chunks([table], needed_columns(manifest.schema), SAMPLE_ROWS)).frame
    causes = " ".join(diagnose(sample, counts.reasons, manifest, reference))
    raise InputError(
        f"{rows:,} of {counts.read:,} rows ({rows / counts.read:.1%}) cannot be scored, "
        f"more than --max-reject-share {max_reject_share:.1%}; "
        f"caught by: {rule_counts(counts.reasons)}. "
        + (f"Probable cause in {worst}: {causes} " if causes else "")
        + "Nothing was published: fix the input, or allow more. To list the rows: engine validate"
    )


def diagnose(
    sample: pl.DataFrame, by_rule: Mapping[str, int], manifest: Manifest, reference: Reference
) -> list[str]:
    """Sentences about the most frequent broken rules; none if nothing stands out.

    Args:
        sample: Raw rows of the file with most rejected rows.
        by_rule: The number of rows that break each rule, `column|rule`.
        manifest: Schema and category tables.
        reference: The training users.
    """
    sample = with_plain_texts(sample, manifest.schema)
    typed = to_typed(sample, manifest.schema)
    frequent = sorted(by_rule.items(), key=lambda item: -item[1])[:RULES_SHOWN]
    found: list[str] = []
    for name, _ in frequent:
        column, _, rule = name.rpartition("|")
        diagnosis = _DIAGNOSTICS.get(rule)
        sentence = diagnosis(column, sample, typed, manifest, reference) if diagnosis else None
        if sentence is not None and sentence not in found:
            found.append(sentence)
    return found


def _unit(
    name: str, _: pl.DataFrame, typed: Typed, manifest: Manifest, reference: Reference
) -> str | None:
    number = [feature.name for feature in manifest.schema.model_features].index(name)
    words = other_unit(typed.frame[name].to_numpy(), reference.typical[number])
    return f"{name!r}: {words}" if words else None


def _empty(
    name: str, sample: pl.DataFrame, _: Typed, manifest: Manifest, __: Reference
) -> str | None:
    schema, values = manifest.schema, sample[name].drop_nulls()
    features = [feature for feature in schema.model_features if feature.name == name]
    marks = schema.missing_marks(features[0]) if features else schema.missing_texts
    if len(values) and not is_missing_text(values.cast(pl.String), marks).all():
        return None
    return f"{name!r} has no value in any of the first {sample.height:,} rows: renamed upstream?"


def _text(
    name: str, sample: pl.DataFrame, typed: Typed, manifest: Manifest, _: Reference
) -> str | None:
    wrong = _unreadable(name, "not_a_number", sample, typed)
    if not len(wrong):
        return None
    if _share(wrong.str.contains(DECIMAL_COMMA)) >= MOST:
        return f"{name!r} has numbers with commas: write 1234.5, not 1.234,5 or 1,234.5."
    for other, values in manifest.categories.items():
        if _share(wrong.is_in(values)) >= MOST:
            return f"{name!r} holds values of {other!r}: were columns swapped?"
    share = len(wrong) / sample.height
    marks = wrong.filter(wrong.str.to_lowercase().is_in(MISSING_MARKS))
    if _share(wrong.is_in(marks.implode())) >= MOST:
        mark = marks.mode().sort()[0]
        return (
            f"{name!r} holds {mark!r} in {share:.0%} of the rows, which often stands for a missing value. "
            f"If it does, write nothing there, or declare missing_texts = [{json.dumps(mark)}] in the "
            "schema and train again."
        )
    if share < SOME:
        return None
    return f"{name!r} holds text in {share:.0%} of the rows: another column's values?"


def _date(name: str, sample: pl.DataFrame, typed: Typed, *_: object) -> str | None:
    wrong = _unreadable(name, "not_a_date", sample, typed)
    if _share(wrong.str.contains(OTHER_DATE)) < MOST:
        return None
    return f"{name!r} has dates in another format: write 2026-11-22, without a time."


def _unreadable(name: str, rule: str, sample: pl.DataFrame, typed: Typed) -> pl.Series:
    """The texts of a column that break a rule in the sample."""
    rows = typed.faults.get(f"{name}|{rule}")
    return pl.Series(dtype=pl.String) if rows is None else sample[name].filter(rows)


def _repeats(name: str, sample: pl.DataFrame, *_: object) -> str | None:
    if sample.height - sample[name].n_unique() < SOME * sample.height:
        return None
    return f"many {name!r} occur more than once: is a file given twice, or part of another?"


def _cut(*_: object) -> str:
    return "rows have fewer fields than the header: is a separator missing?"


def _share(marks: pl.Series) -> float:
    return float(marks.sum()) / max(len(marks), 1)


_DIAGNOSTICS: Mapping[str, Callable[..., str | None]] = {
    "above_max": _unit,
    "below_min": _unit,
    "not_finite": _unit,
    "missing": _empty,
    "not_a_number": _text,
    "not_a_date": _date,
    "duplicate": _repeats,
    "too_short": _cut,
}
