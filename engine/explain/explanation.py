"""Why a user has this score: a base value and the impact of every feature.

Takes opened tables and an opened bundle; gives an `Explanation`, which `explain.format` renders.

The rank of a value can be counted only once the value is known, and a single pass would have to keep
every value. So the input is read twice, with flat memory: first the user is looked up by id, then one
streaming pass over all features counts the users with lower and with equal values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.schema import Feature
from engine.errors import NAMES_SHOWN, InputError, UsageError, pluralize, quoted
from engine.inputs.chunks import find_rows, read_chunks
from engine.inputs.tables import Table
from engine.model.columns import score_columns
from engine.model.session import Predictions
from engine.model.threads import available_cores, in_order
from engine.options import CHUNK_ROWS, OutputOptions
from engine.rows.chunk import Chunk
from engine.rows.rules import split_rows
from engine.rows.typed import date_column, to_features
from engine.scorer import Scorer
from engine.words import effect_words, value_words

Value = float | str | None
"""A number, a category, or None if missing."""


@dataclass(frozen=True, slots=True)
class FeatureImpact:
    """The impact of one feature on a user's score.

    Attributes:
        name: The column.
        label: The label for people, or the name if there is none.
        value: The user's value.
        unit: The unit of the value, or empty.
        words: The value with what it is, in words.
        impact: The SHAP value, in log-odds.
        effect: What the impact does to the odds, in words.
        share_below: The share of users with a smaller value; None for a category and for a missing
            value. Users without a value count as users, but never as below.
        share_equal: The share of users with the same value, including this user.
        unseen: Whether the value is a category that the model does not know and treats as missing.
    """

    name: str
    label: str
    value: Value
    unit: str
    words: str
    impact: float
    effect: str
    share_below: float | None
    share_equal: float
    unseen: bool

    @property
    def odds_factor(self) -> float:
        """The factor by which the odds rise, or fall if the impact is negative."""
        return float(np.exp(abs(self.impact)))


@dataclass(frozen=True, slots=True)
class Explanation:
    """One user's score with its explanation.

    Attributes:
        user: The id as text.
        snapshot: The date of the explained row, if the input has dates.
        bundle_id: The bundle that scored it.
        users_read: Rows of the input.
        users_compared: Rows that can be scored; the shares refer to them.
        probability: The score.
        margin: Its log-odds: the base value plus all impacts.
        base_value: The log-odds before any impact, the same for every user.
        decile: From 1 to 10.
        band: The propensity band.
        segment: The name of the segment; None if the bundle's segments are not used.
        action: What the playbook recommends.
        in_control_group: Whether the user gets no action, so that its effect can be measured.
        features: Every feature of the model, the largest absolute impact first.
    """

    user: str
    snapshot: date | None
    bundle_id: str
    users_read: int
    users_compared: int
    probability: float
    margin: float
    base_value: float
    decile: int
    band: str
    segment: str | None
    action: str
    in_control_group: bool
    features: tuple[FeatureImpact, ...]

    def to_json(self) -> str:
        """The explanation as one line of JSON."""
        document = asdict(self)
        for each, feature in zip(document["features"], self.features, strict=True):
            each["odds_factor"] = feature.odds_factor
        return json.dumps(document, ensure_ascii=False, allow_nan=False, default=str)


def explain(tables: Sequence[Table], scorer: Scorer, user: str) -> Explanation:
    """Explain one user's score and compare the user's values with those of all users.

    If the user has several rows, the one of the last snapshot is explained. Every row that can be
    scored counts as a user, so in an input of several snapshots a user may count several times.

    Args:
        tables: The opened input.
        scorer: The opened bundle.
        user: The id, compared as text.

    Raises:
        UsageError: The bundle's schema names no id.
        InputError: The user is missing, occurs twice, or cannot be scored; or the columns break
            the contract.
    """
    schema = scorer.manifest.schema
    if schema.id is None:
        raise UsageError(
            f"bundle {scorer.manifest.bundle_id}: its schema names no id, so no user can be looked "
            "up. Name the id column in schema.toml and train again."
        )
    for table in tables:
        scorer.check_columns(table.columns, table.name)
    row = _find_user(tables, scorer, schema.id, user)
    split = split_rows(row.frame, schema, row.faults)
    if split.reasons:
        raise InputError(
            f"user {user!r}: {_place(row.file, row.rows_before + 1)} cannot be scored; caught by: "
            f"{', '.join(split.reasons)}. Fix the row in the job that writes the table."
        )
    values = split.valid.row(0, named=True)
    features = to_features(split.valid, schema.model_features, scorer.manifest.categories)
    predictions = scorer.session.run(features)
    counts = _count_users(tables, scorer, values)
    return _explanation(user, split.valid, features, predictions, counts, scorer)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of users for the ranks of one user's values.

    Attributes:
        read: Rows of the input.
        valid: Rows that can be scored.
        below: For each feature the valid rows with a smaller value: int64 [features].
        equal: The same for an equal value.
    """

    read: int
    valid: int
    below: np.ndarray
    equal: np.ndarray


def _explanation(
    user: str,
    valid: pl.DataFrame,
    tensor: np.ndarray,
    predictions: Predictions,
    counts: _Counts,
    scorer: Scorer,
) -> Explanation:
    manifest = scorer.manifest
    schema = manifest.schema
    values = valid.row(0, named=True)
    scores = score_columns(
        valid, tensor, 1, predictions, manifest, scorer.playbook, OutputOptions(drivers=0)
    ).row(0, named=True)
    impacts = predictions.impacts[0]
    features = [
        _impact(feature, values[feature.name], impacts[n], n, counts, manifest)
        for n, feature in enumerate(schema.model_features)
    ]
    return Explanation(
        user=user,
        snapshot=values.get(schema.snapshot or ""),
        bundle_id=manifest.bundle_id,
        users_read=counts.read,
        users_compared=counts.valid,
        probability=_shortest(predictions.probability[0]),
        margin=manifest.base_value + sum(feature.impact for feature in features),
        base_value=manifest.base_value,
        decile=scores["propensity_decile"],
        band=scores["propensity_band"],
        segment=scores["segment_name"],
        action=scores["action"],
        in_control_group=scores["in_control_group"],
        features=tuple(sorted(features, key=lambda feature: -abs(feature.impact))),
    )


def _impact(
    feature: Feature,
    value: Value,
    impact: np.float32,
    n: int,
    counts: _Counts,
    manifest: Manifest,
) -> FeatureImpact:
    is_category = feature.kind == "categorical"
    unseen = is_category and value not in (None, *manifest.categories[feature.name])
    return FeatureImpact(
        name=feature.name,
        label=feature.title,
        value=_plain(value),
        unit=feature.unit,
        words=value_words(feature, value, unseen=unseen),
        impact=_shortest(impact),
        effect=effect_words(float(impact)),
        share_below=None if is_category or value is None else int(counts.below[n]) / counts.valid,
        share_equal=int(counts.equal[n]) / counts.valid,
        unseen=unseen,
    )


def _find_user(tables: Sequence[Table], scorer: Scorer, id_column: str, user: str) -> Chunk:
    """The one row of the user's last snapshot."""
    snapshot = scorer.manifest.schema.snapshot
    is_user = pl.col(id_column).cast(pl.String) == user
    found = [find_rows(table, scorer.columns, is_user) for table in tables]
    places = pl.concat(
        frame.with_columns(
            pl.lit(number, pl.Int64).alias("table"), _date(snapshot, frame.schema).alias("date")
        ).select("table", "source_row", "date")
        for number, frame in enumerate(found)
    )
    last = places.filter(pl.col("date").eq_missing(pl.col("date").max()))
    # As text in Polars: it may lie beyond the dates of Python.
    last = last.with_columns(pl.col("date").cast(pl.String))
    if last.is_empty():
        raise _not_found(tables, id_column, user)
    number, row, day = last.row(0)
    if last.height > 1:
        rows = [_place(tables[n].name, r) for n, r, _ in last.head(NAMES_SHOWN).rows()]
        raise InputError(
            f"user {user!r}: {pluralize(last.height, 'row')}{f' of {day}' if day else ''}, expected "
            f"one: {', '.join(rows)}{', …' if last.height > NAMES_SHOWN else ''}. Leave one of "
            "them in the input."
        )
    frame = found[number].filter(pl.col("source_row") == row).drop("source_row")
    return Chunk(frame, tables[number].name, row - 1, 0)


def _not_found(tables: Sequence[Table], id_column: str, user: str) -> InputError:
    read = sum(chunk.frame.height for chunk in read_chunks(tables, (id_column,), CHUNK_ROWS))
    return InputError(
        f"user {user!r}: not among the {pluralize(read, 'user')} read from "
        f"{quoted(table.name for table in tables)}. Check the id: column {id_column!r} is compared "
        "as text, letter by letter."
    )


def _count_users(tables: Sequence[Table], scorer: Scorer, values: Mapping[str, Any]) -> _Counts:
    """One streaming pass over the input."""
    features = scorer.manifest.schema.model_features

    def count(chunk: Chunk) -> np.ndarray:
        valid = split_rows(chunk.frame, scorer.manifest.schema, chunk.faults).valid
        ranks = valid.select(_rank_counts(features, values)).row(0)
        return np.array([chunk.frame.height, valid.height, *ranks], np.int64)

    total = np.zeros(2 + 2 * len(features), np.int64)
    chunks = read_chunks(tables, scorer.columns, CHUNK_ROWS)
    for counts in in_order(count, chunks, available_cores()):
        total += counts
    below, equal = np.split(total[2:], 2)
    return _Counts(int(total[0]), int(total[1]), below, equal)


def _rank_counts(features: Sequence[Feature], values: Mapping[str, Any]) -> Iterator[pl.Expr]:
    """The number of values below the user's, feature by feature; then of those equal to it."""
    dtypes = [pl.Float32() if f.kind == "numeric" else pl.String() for f in features]
    users = [pl.lit(values[f.name], dtype) for f, dtype in zip(features, dtypes, strict=True)]
    for feature, value in zip(features, users, strict=True):
        below = pl.col(feature.name) < value if feature.kind == "numeric" else pl.lit(0)
        yield below.sum().alias(f"{feature.name}|below")
    for feature, value in zip(features, users, strict=True):
        yield pl.col(feature.name).eq_missing(value).sum().alias(f"{feature.name}|equal")


def _date(snapshot: str | None, found: pl.Schema) -> pl.Expr:
    if snapshot is None or snapshot not in found:
        return pl.lit(None, pl.Date)
    return date_column(snapshot, found[snapshot])


def _place(file: str, row: int) -> str:
    return f"row {row:,} of {file}"


def _plain(value: Value) -> Value:
    return _shortest(np.float32(value)) if isinstance(value, float) else value


def _shortest(number: np.float32) -> float:
    """The number with the fewest digits that gives the same float32."""
    return float(str(number))
