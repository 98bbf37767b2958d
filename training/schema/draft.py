"""The first draft of a schema.toml: what a table shows of itself, and questions for its owner.

Kinds, ranges, marks of missing values and roles are guessed from values and names. Whatever is a guess,
or looks wrong, stands as a comment beside its key. No value of fewer than 20 users is in the text.
"""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.bundle.schema import Feature, is_bundle_name
from engine.errors import InputError, pluralize
from engine.format import shown_name
from engine.inputs.open import STANDARD_INPUT, open_inputs
from engine.pages.format import sentence
from training.schema.checks import check_features
from training.schema.disguise import DATES
from training.schema.features import Guess, guess_feature, left_out
from training.schema.roles import Role, Roles, guess_roles
from training.schema.survey import Survey, survey_tables

WIDTH = 100
REASONS_SHOWN = 8
NOT_GUESSED = "table"
"""The name of a table whose input has none that a bundle could have."""

_KEYS = ("min", "max", "missing", "missing_texts", "ordered", "values", "at_least", "use")
"""The keys of a feature that a draft may set, in the order of the file; those not set are left out."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A schema.toml in its first form.

    Attributes:
        text: The file.
        features: How many features it has.
        notes: The number of questions in its comments.
        faults: What looks wrong, a line for each.
    """

    text: str
    features: int
    notes: int
    faults: tuple[str, ...]


def draft_schema(inputs: Sequence[str]) -> Draft:
    """Draft the schema of a table.

    Args:
        inputs: Files, globs, directories, or `-`, in any format that scoring reads.

    Raises:
        InputError: A file is damaged, there are no rows, or no column can be a feature.
        NoInputError: There is nothing to read.
    """
    with open_inputs(inputs) as tables:
        survey = survey_tables(tables)
        roles = guess_roles(survey, tables)
    guesses = _guesses(survey, roles)
    kept = [guess for guess in guesses if not guess.left_out]
    if not any(guess.feature.use for guess in kept):
        reasons = "; ".join(_fault_lines([*guesses, *_unreadable(survey)])[:REASONS_SHOWN])
        raise InputError(
            f"{tables[0].name}: no column besides id, label and date can be a feature"
            + (f": {reasons}" if reasons else ".")
        )
    absent = [guess for guess in (*guesses, *_unreadable(survey)) if guess.left_out]
    head = [_title(tables[0].name, survey), _roles(_name_of(inputs[0]), roles), _left_out(absent)]
    blocks = [*filter(None, head), *(_block(guess) for guess in kept)]
    return Draft(
        text="\n\n".join(blocks) + "\n",
        features=len(kept),
        notes=sum(len(guess.notes) for guess in kept),
        faults=tuple(_fault_lines([*kept, *absent])),
    )


def _guesses(survey: Survey, roles: Roles) -> list[Guess]:
    ids = None if roles.id.column is None else survey.sample[roles.id.column]

    def users(rows: pl.Series) -> int:
        return int(rows.sum()) if ids is None else ids.filter(rows).n_unique()

    taken = roles.taken
    alone = [
        guess_feature(column, survey.sample[column.name], users)
        for column in survey.columns
        if column.name not in taken
    ]
    dates = [
        left_out(name, sentence(f"holds {DATES.format('')}"))
        for name in survey.dates
        if name not in taken
    ]
    kept = [guess for guess in alone if not guess.left_out]
    checked = check_features(kept, survey.sample, roles.label.column, roles.id.column)
    return [*checked, *(guess for guess in alone if guess.left_out), *dates]


def _unreadable(survey: Survey) -> list[Guess]:
    return [left_out(name, reason) for name, reason in survey.unreadable.items()]


def _name_of(first: str) -> str:
    """The name of the table, from that of its first file."""
    stem = Path(first).name.split(".")[0]
    is_name = is_bundle_name(stem) and first != STANDARD_INPUT and not set(first) & set("*?[")
    return stem if is_name else NOT_GUESSED


def _title(source: str, survey: Survey) -> str:
    return _comment(
        f"First draft, from {pluralize(survey.rows, 'row')} of {shown_name(Path(source).name)}. Answer "
        "the comments and delete them.",
        "Scoring sets rows aside that are outside min and max, or have no value where missing is "
        '"never". Ranges end at about twice the largest value found, rounded up.',
        "Fill in groups, labels and units. Segments are named by high and low, such as "
        '"frequent buyers" and "rare buyers".',
    )


def _roles(name: str, roles: Roles) -> str:
    lines = [_pair("name", name)]
    for key, role in (("id", roles.id), ("label", roles.label), ("snapshot", roles.snapshot)):
        lines += [_comment(role.reason), _role_line(key, role)]
    if roles.snapshot.column is not None:
        lines += [
            _comment("The days after the snapshot that the label looks ahead."),
            f"horizon_days = {roles.horizon_days}",
        ]
    return "\n".join(lines)


def _role_line(key: str, role: Role) -> str:
    return f'# {key} = ""' if role.column is None else _pair(key, role.column)


def _left_out(absent: Sequence[Guess]) -> str:
    if not absent:
        return ""
    lines = [f"{shown_name(guess.feature.name)}: {' '.join(guess.faults)}" for guess in absent]
    return _comment("Columns that are left out:", *lines)


def _block(guess: Guess) -> str:
    feature = guess.feature
    lines = [
        *([_comment(*guess.faults, *guess.notes)] if guess.faults or guess.notes else []),
        "[[feature]]",
        _pair("name", feature.name),
        _pair("kind", feature.kind),
        *(
            _pair(key, getattr(feature, key))
            for key in _KEYS
            if getattr(feature, key) != getattr(_PLAIN, key)
        ),
        *(f"# {_pair(key, getattr(feature, key))}" for key in _words(feature)),
    ]
    return "\n".join(lines)


_PLAIN = Feature("", "numeric")


def _words(feature: Feature) -> tuple[str, ...]:
    """The keys for people, guessed from the name or empty."""
    if feature.kind == "numeric":
        return ("group", "label", "unit", "high", "low")
    return ("group", "label", "high", "low") if feature.ordered else ("group", "label")


def _pair(key: str, value: object) -> str:
    """A key of TOML and its value: a text, a number, true, false, or a tuple of texts."""
    # JSON is TOML here, but for DEL. Invisible characters would hide what a name is.
    text = json.dumps(value, ensure_ascii=False)
    shown = (c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f"{key} = {''.join(shown)}"


def _comment(*sentences: str) -> str:
    lines = [line for text in sentences for line in textwrap.wrap(text, WIDTH - 2)]
    return "\n".join(f"# {line}" for line in lines)


def _fault_lines(guesses: Sequence[Guess]) -> list[str]:
    return [
        f"{shown_name(guess.feature.name)}: {fault}" for guess in guesses for fault in guess.faults
    ]
