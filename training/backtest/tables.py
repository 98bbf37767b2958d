"""Score files and their outcomes as tables with plain names, each row checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from engine.bundle.manifest import BANDS
from engine.bundle.schema import Feature, FeatureSchema
from engine.bundle.score_file import score_features, score_keys
from engine.errors import BundleError, InputError, UsageError, pluralize, quoted, rule_counts
from engine.inputs.chunks import read_chunks
from engine.inputs.open import open_inputs
from engine.inputs.tables import Table
from engine.options import CHUNK_ROWS
from engine.rows.rules import check_columns, check_same_keys, split_rows

SCORES = score_features()
"""The columns that are read from a score file, besides its keys."""
DECILES = tuple(range(1, 11))
NO_SEGMENT = (-1, "all users")
"""Stands for the segment in scores of a bundle whose segments are not used."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Scores and outcomes before they are joined.

    Attributes:
        scored: One row for each score: `id` as text, `snapshot` if there are dates, and the columns of
            `SCORES`.
        known: One row for each outcome: the same keys, `bought` (0, 1 or null if it is not known yet)
            and, if asked for, `value`.
        left_out: Rows of the outcomes without a usable key, by rule.
    """

    scored: pl.DataFrame
    known: pl.DataFrame
    left_out: dict[str, int]

    @property
    def keys(self) -> list[str]:
        """What both sides are joined by."""
        return ["id", "snapshot"] if "snapshot" in self.scored.columns else ["id"]


def read_tables(
    scores: Sequence[str], outcomes: Sequence[str], schema: FeatureSchema, value: str | None = None
) -> Tables:
    """Read scores and outcomes.

    Args:
        scores: Score files, as the engine wrote them; globs or directories of such.
        outcomes: Tables with id, snapshot and label; other columns are not read.
        schema: The table: the names of these three.
        value: A column of the outcomes: what a user spent.

    Raises:
        BundleError: The schema names no id or no label.
        InputError: Columns are missing, keys repeat, a score, a label or a value is invalid, or only
            one side has snapshots.
        NoInputError: There is nothing to read.
        UsageError: The value is the label or a key.
    """
    if schema.id is None or schema.label is None:
        raise BundleError(
            f"schema {schema.name!r}: names no {'id' if schema.id is None else 'label'}; scores are "
            "joined with outcomes by the id. Add it to the schema."
        )
    taken = {schema.id: "id", schema.snapshot: "snapshot date", schema.label: "label"}
    if value in taken and value is not None:
        raise UsageError(
            f"--value: {value!r} is the {taken[value]} of schema {schema.name!r}. Name the column with "
            "what users spent."
        )
    same = {feature.name: feature.name for feature in SCORES}
    scored, wrong = read_rows(
        scores, _table(schema, SCORES), same, "scores", partial(_check_keys, schema)
    )
    if wrong:
        raise InputError(
            f"{', '.join(scores)}: {rule_counts(wrong)}; the engine never writes such rows. Give "
            "score files."
        )
    _check_groups(scored, ", ".join(scores))
    wanted = {"bought": schema.label} | ({} if value is None else {"value": value})
    numbers = tuple(Feature(name, "numeric") for name in wanted.values())
    known, left_out = read_rows(outcomes, _table(schema, numbers), wanted, "outcomes")
    keys = _keys(scored, known, schema)
    named = [str(schema.id), str(schema.snapshot)][: len(keys)]
    _check_once(scored, [*keys, "bundle_id"], [*named, "bundle_id"], ", ".join(scores))
    _check_once(known, keys, named, ", ".join(outcomes))
    known = _labels(known, schema.label, ", ".join(outcomes))
    if value is not None:
        _check_values(known, value, ", ".join(outcomes))
    return Tables(
        scored.with_columns(
            pl.col("segment_id").fill_null(NO_SEGMENT[0]),
            pl.col("segment_name").fill_null(NO_SEGMENT[1]),
        ),
        known,
        left_out,
    )


def read_rows(
    inputs: Sequence[str],
    table: FeatureSchema,
    features: Mapping[str, str],
    what: str,
    check: Callable[[Table], None] = lambda _: None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The usable rows of all files, and the number of others by rule.

    Args:
        inputs: The files.
        table: Their keys, which become `id`, as text, and `snapshot`; and their features.
        features: What the features become: new names, and those in the files.
        what: For messages.
        check: Called with each file.
    """
    keys = [name for name in (table.id, table.snapshot) if name is not None]
    wanted = [*keys, *features.values()]
    with open_inputs(inputs, wanted) as tables:
        for found in tables:
            check(found)
            check_columns(table, found.columns, found.name, f"a backtest of {what}")
        # Ids are compared as text, whatever their type.
        text = {str(table.id): pl.String()}
        check_same_keys(table, ((t.name, pl.Schema({**t.columns, **text})) for t in tables))
        frames, caught = [], dict[str, int]()
        for chunk in read_chunks(tables, wanted, CHUNK_ROWS):
            split = split_rows(chunk.frame, table, chunk.faults)
            columns = {new: pl.col(name) for new, name in features.items()}
            columns["id"] = pl.col(str(table.id)).cast(pl.String)
            if table.snapshot in split.valid.columns:
                columns["snapshot"] = pl.col(table.snapshot)
            frames.append(split.valid.select(**columns))
            caught |= {n: caught.get(n, 0) + rows for n, rows in split.reasons.items()}
    if not frames:
        raise InputError(f"{', '.join(inputs)}: no row of {what}. Check the job that writes it.")
    return pl.concat(frames), caught


def _table(schema: FeatureSchema, features: tuple[Feature, ...]) -> FeatureSchema:
    return FeatureSchema(schema.name, features, id=schema.id, snapshot=schema.snapshot)


def _check_keys(schema: FeatureSchema, scores: Table) -> None:
    """Check that the keys of a score file are those of the schema."""
    keys = score_keys(scores.columns.names(), scores.name)
    other = [f"id column {keys.first!r}"] if keys.first != schema.id else []
    if keys.snapshot not in (None, schema.snapshot):
        other.append(f"snapshot date {keys.snapshot!r}")
    if other:
        raise InputError(
            f"{scores.name}: scores have the {' and the '.join(other)}, schema {schema.name!r} has the "
            f"id {schema.id!r} and {'no snapshot' if schema.snapshot is None else f'the snapshot {schema.snapshot!r}'}. "
            "Give the schema of the bundle that made them."
        )


def _check_groups(scored: pl.DataFrame, where: str) -> None:
    """Check that every row has a band and a decile that exist."""
    for name, kind, known in (
        ("propensity_band", pl.String, BANDS),
        ("propensity_decile", pl.Float64, DECILES),
    ):
        wrong = int((~scored[name].cast(kind).is_in(pl.Series(known, dtype=kind).implode())).sum())
        if wrong:
            raise InputError(
                f"{where}: {pluralize(wrong, 'row')} of {scored.height:,} where {name!r} is none of "
                f"{', '.join(map(str, known))}; the engine never writes such rows. Give score files."
            )


def _keys(scored: pl.DataFrame, known: pl.DataFrame, schema: FeatureSchema) -> list[str]:
    dated = ["snapshot" in frame.columns for frame in (scored, known)]
    if dated[0] != dated[1]:
        raise InputError(
            f"column {schema.snapshot!r}: only the {'scores' if dated[0] else 'outcomes'} have it, "
            "so outcomes cannot be assigned to a week. Give it on both sides."
        )
    return ["id", "snapshot"] if dated[0] else ["id"]


def _check_once(frame: pl.DataFrame, keys: list[str], named: list[str], where: str) -> None:
    repeated = frame.height - frame.select(keys).n_unique()
    if repeated:
        raise InputError(
            f"{where}: {pluralize(repeated, 'row')} of {frame.height:,} whose {quoted(named)} came "
            "before. Give every score and every outcome once."
        )


def _labels(known: pl.DataFrame, label: str, where: str) -> pl.DataFrame:
    """`bought` as Int8, null if it is not known yet."""
    wrong = int((~known["bought"].is_in([0.0, 1.0])).sum())
    if wrong:
        raise InputError(
            f"{where}: {pluralize(wrong, 'row')} of {known.height:,} where {label!r} is not 0, 1, true "
            "or false. Make it 1 for a purchase, 0 for none."
        )
    return known.with_columns(pl.col("bought").cast(pl.Int8))


def _check_values(known: pl.DataFrame, value: str, where: str) -> None:
    absent = known.filter(pl.col("bought").is_not_null())["value"].null_count()
    if absent:
        raise InputError(
            f"{where}: {pluralize(absent, 'row')} of {known.height:,} without {value!r}. Write 0 for "
            "users who spent nothing."
        )
