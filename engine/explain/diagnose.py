"""Why nothing may be published: too many rows are wrong, and what may have happened to all of them.

A unit, a column or a format that has changed is told from the first rows of the file with most wrong
rows. These are guesses for the person who mends the input: no row is judged by them, and none shown.
"""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.reference import Reference
from engine.errors import NAMES_SHOWN, rule_counts
from engine.explain.drift import other_unit
from engine.inputs.chunks import read_chunks
from engine.inputs.open import Table
from engine.rows.typed import MISSING_TEXTS, Typed, to_typed

SAMPLE_ROWS = 32_768

RULES_SHOWN = 3
MOST = 0.5
"""The share of values in doubt from which they are spoken of as the column's."""

DECIMAL_COMMA = r"^\s*-?\d+(\.\d{3})*,\d+\s*$|^\s*-?\d{1,3}(,\d{3})+(\.\d+)?\s*$"
OTHER_DATE = r"^\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ].*)?\s*$"


def refusal(
    files: Sequence[str],
    rows_read: int,
    rejected: Mapping[str, int],
    reasons: Mapping[str, int],
    max_reject_share: float,
    causes: Callable[[str], list[str]],
) -> str | None:
    """Why the scores of an input may not be published; None where they may.

    Args:
        files: The names of all inputs.
        rows_read: All rows.
        rejected: Rows set aside of each file.
        reasons: Rows caught by each rule.
        max_reject_share: The largest share of rows set aside with which scores are published.
        causes: Gives the probable causes, for the name of the file with most wrong rows.
    """
    if rows_read == 0:
        return f"{', '.join(files[:NAMES_SHOWN])}: no rows. Check the job that writes it."
    rows = sum(rejected.values())
    if rows <= max_reject_share * rows_read:
        return None
    worst = max(rejected, key=lambda file: rejected[file])
    found = " ".join(causes(worst))
    return (
        f"{rows:,} of {rows_read:,} rows ({rows / rows_read:.1%}) cannot be scored, more than "
        f"--max-reject-share {max_reject_share:.1%}; caught by: {rule_counts(reasons)}. "
        + (f"Probable cause in {worst}: {found} " if found else "")
        + "Nothing was published: fix the input, or allow more."
    )


def causes_in(
    file: str,
    tables: Sequence[Table],
    reasons: Mapping[str, int],
    manifest: Manifest,
    reference: Reference,
) -> list[str]:
    """What `probable_causes` tells from the first rows of the input of that name."""
    table = next(table for table in tables if table.name == file)
    sample = next(read_chunks([table], None, SAMPLE_ROWS)).frame
    return probable_causes(sample, reasons, manifest, reference)


def probable_causes(
    sample: pl.DataFrame, reasons: Mapping[str, int], manifest: Manifest, reference: Reference
) -> list[str]:
    """Sentences on the rules that caught most rows; none where nothing stands out.

    Args:
        sample: Raw rows of the file with most wrong rows.
        reasons: Rows caught by each rule, `column|rule`.
        manifest: Schema and category tables.
        reference: The users of training.
    """
    typed = to_typed(sample, manifest.schema)
    frequent = sorted(reasons.items(), key=lambda item: -item[1])[:RULES_SHOWN]
    found: list[str] = []
    for name, _ in frequent:
        column, _, rule = name.rpartition("|")
        tell = _TELLERS.get(rule)
        sentence = tell(column, sample, typed, manifest, reference) if tell else None
        if sentence is not None and sentence not in found:
            found.append(sentence)
    return found


def _unit(
    name: str, _: pl.DataFrame, typed: Typed, manifest: Manifest, reference: Reference
) -> str | None:
    number = [feature.name for feature in manifest.schema.model_features].index(name)
    words = other_unit(typed.frame[name].to_numpy(), reference.typical[number])
    return f"{name!r}: {words}" if words else None


def _empty(name: str, sample: pl.DataFrame, *_: object) -> str | None:
    values = sample[name].drop_nulls()
    if len(values) and not values.cast(pl.String).is_in(MISSING_TEXTS).all():
        return None
    return f"{name!r} has no value in any of the first {sample.height:,} rows: renamed upstream?"


def _text(
    name: str, sample: pl.DataFrame, typed: Typed, manifest: Manifest, _: Reference
) -> str | None:
    if f"{name}|not_a_number" not in typed.faults:
        return None
    wrong = sample[name].filter(typed.faults[f"{name}|not_a_number"])
    if _share(wrong.str.contains(DECIMAL_COMMA)) >= MOST:
        return f"{name!r} has numbers with commas: write 1234.5, not 1.234,5 or 1,234.5."
    for other, values in manifest.categories.items():
        if _share(wrong.is_in(values)) >= MOST:
            return f"{name!r} holds values of {other!r}: have columns been exchanged?"
    share = len(wrong) / sample.height
    return f"{name!r} holds text in {share:.0%} of the rows: another column's values?"


def _date(name: str, sample: pl.DataFrame, typed: Typed, *_: object) -> str | None:
    if f"{name}|not_a_date" not in typed.faults:
        return None
    wrong = sample[name].filter(typed.faults[f"{name}|not_a_date"])
    if _share(wrong.str.contains(OTHER_DATE)) < MOST:
        return None
    return f"{name!r} has dates in another form: write 2026-11-22, without a time."


def _repeats(name: str, *_: object) -> str:
    return f"many {name!r} come more than once: is a file given twice, or a part of another?"


def _cut(*_: object) -> str:
    return "rows have fewer fields than the header: has a separator got lost?"


def _share(marks: pl.Series) -> float:
    return float(marks.sum()) / max(len(marks), 1)


_TELLERS: Mapping[str, Callable[..., str | None]] = {
    "above_max": _unit,
    "below_min": _unit,
    "not_finite": _unit,
    "missing": _empty,
    "not_a_number": _text,
    "not_a_date": _date,
    "duplicate": _repeats,
    "too_short": _cut,
}
