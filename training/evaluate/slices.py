"""Figures told by what users are: does the model serve some of them worse than others?

Slices are the values of every categorical feature, new or returning users, users about whom a whole
group of features is missing, and the features that the schema keeps out of the models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.reference import digitize
from engine.bundle.schema import Feature, FeatureSchema
from training.metrics.disclosure import MIN_CELL, few, withheld
from training.metrics.edges import short_edges
from training.metrics.intervals import auc_interval
from training.metrics.metrics import Outcomes, log_losses, rounded, segment_places

MAX_VALUES = 30
"""So many values of a feature are told, those with most users."""

QUANTILE_BINS = 4
MISSING = "(missing)"


@dataclass(frozen=True, slots=True)
class Slicing:
    """One way to divide users.

    Attributes:
        name: Of the feature, or what is asked of a group of features.
        title: For people.
        values: The names of the parts, in the order in which they are told.
        part: The part of each row, int64 [rows], -1 where it is in none.
    """

    name: str
    title: str
    values: tuple[str, ...]
    part: np.ndarray


def slice_metrics(
    outcomes: Outcomes, table: pl.DataFrame, schema: FeatureSchema
) -> list[dict[str, Any]]:
    """Rates, ranking and calibration of every slice that may be told.

    Of a feature no value is told that fewer than `MIN_CELL` users have, nor the next rarest where the
    others, taken from all users, would tell of so few. The ROC-AUC is null where fewer than `MIN_CELL` rows bought, or fewer did not.

    Args:
        outcomes: Probabilities and labels of users.
        table: Typed values of the features, used or not, in the order of the rows.
        schema: Names, kinds and groups of the features.
    """
    return rounded(
        [
            _slice(slicing, part, outcomes[slicing.part == part])
            for slicing in slicings(table, schema)
            for part in _told_parts(slicing, outcomes.users)
        ]
    )


def slicings(table: pl.DataFrame, schema: FeatureSchema) -> Iterator[Slicing]:
    """Every way in which users are divided.

    Args:
        table: Typed values of the features; a feature that it lacks is passed over.
        schema: The features.
    """
    if schema.rfm is not None and schema.rfm.recency in table.columns:
        new = table[schema.rfm.recency].is_null().to_numpy()
        # Who has no order on record may be new, or may never have bought.
        name, title = "new or returning", "Orders on record"
        yield Slicing(name, title, ("some", "none"), new.astype(int))
    absent = {group: rows for group in _groups(schema) if (rows := _absent(table, schema, group))}
    for group, rows in absent.items():
        name = f"{group} data"
        yield Slicing(
            name, name.capitalize(), ("known", "missing"), rows[0].to_numpy().astype(np.int64)
        )
    for feature in schema.features:
        if feature.name in table.columns:
            if feature.kind == "categorical":
                yield _by_value(feature, table[feature.name], feature.group not in absent)
            elif not feature.use:
                yield _by_quantile(feature, table[feature.name])


def cell_metrics(
    outcomes: Outcomes, segment: np.ndarray, manifest: Manifest
) -> list[dict[str, Any]]:
    """Purchases of every segment in every band; null where they are withheld.

    Rows are null too: with the users of a segment they would give the others away.

    Args:
        outcomes: Probabilities and labels of users.
        segment: Their segment ids, int64 [rows].
        manifest: Segments and cut-points.
    """
    ids = np.array([s.id for s in manifest.segments])
    cell = segment_places(ids.tolist(), segment) * len(BANDS) + digitize(
        manifest.band_cuts, outcomes.probability
    )
    cells = len(ids) * len(BANDS)
    hidden = withheld(cell, outcomes.users, (len(ids), len(BANDS))).ravel()
    rows = np.bincount(cell, minlength=cells)
    shown = ~hidden & (rows > 0)
    bought = np.bincount(cell, outcomes.label, minlength=cells) / np.maximum(rows, 1)
    said = np.bincount(cell, outcomes.probability, minlength=cells) / np.maximum(rows, 1)
    return rounded(
        [
            {
                "segment_id": int(ids[n // len(BANDS)]),
                "band": BANDS[n % len(BANDS)],
                "rows": None if hidden[n] else int(rows[n]),
                "purchase_rate": float(bought[n]) if shown[n] else None,
                "mean_probability": float(said[n]) if shown[n] else None,
            }
            for n in range(cells)
        ]
    )


def _told_parts(slicing: Slicing, users: np.ndarray) -> list[int]:
    count = len(slicing.values)
    part = np.where(slicing.part < 0, count, slicing.part)
    # Users in no part are told of elsewhere, or else are what is left; a few must not be left alone.
    judged = np.full(len(part), few(users[part == count])) | (part < count)
    hidden = withheld(part[judged], users[judged], (count + 1,))
    return np.flatnonzero(
        ~hidden[:count] & (np.bincount(part, minlength=count + 1)[:count] > 0)
    ).tolist()


def _slice(slicing: Slicing, part: int, outcomes: Outcomes) -> dict[str, Any]:
    p, label = outcomes.probability.astype(np.float64), outcomes.label
    bought = int(label.sum())
    measurable = min(bought, len(label) - bought) >= MIN_CELL
    auc, auc_reach = auc_interval(outcomes) if measurable else (None, None)
    return {
        "slice": slicing.name,
        "label": slicing.title,
        "value": slicing.values[part],
        "rows": len(p),
        "base_rate": float(label.mean()),
        "mean_probability": float(p.mean()),
        "roc_auc": auc,
        "roc_auc_interval": auc_reach,
        "calibration_gap": float(p.mean() - label.mean()),
        "log_loss": float(log_losses(p, label).mean()),
    }


def _groups(schema: FeatureSchema) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.group for f in schema.features if f.group))


def _absent(table: pl.DataFrame, schema: FeatureSchema, group: str) -> tuple[pl.Series, ...]:
    """Whether each user lacks every feature of a group; nothing where no user does, or all do."""
    names = [f.name for f in schema.features if f.group == group and f.name in table.columns]
    if not names:
        return ()
    rows = table.select(pl.all_horizontal(pl.col(names).is_null())).to_series()
    return (rows,) if rows.any() and not rows.all() else ()


def _by_value(feature: Feature, column: pl.Series, told_missing: bool) -> Slicing:  # noqa: FBT001
    """The most frequent values, in the order of the schema where it has a meaning."""
    counts = (
        column.drop_nulls()
        .value_counts(name="rows")
        .sort("rows", feature.name, descending=[True, False])
    )
    frequent = counts[feature.name].head(MAX_VALUES).to_list()
    if feature.ordered:
        frequent = [value for value in feature.values if value in frequent]
    codes = column.replace_strict(
        frequent, range(len(frequent)), default=-1, return_dtype=pl.Int64
    ).fill_null(-1)
    if told_missing:
        codes = codes.set(column.is_null(), len(frequent))
    return Slicing(feature.name, feature.title, (*frequent, MISSING), codes.to_numpy())


def _by_quantile(feature: Feature, column: pl.Series) -> Slicing:
    """Up to `QUANTILE_BINS` ranges of equally many users, and those without a value."""
    values = column.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    known = values[~np.isnan(values)]
    shares = np.arange(1, QUANTILE_BINS) / QUANTILE_BINS
    inner = np.quantile(known, shares, method="higher") if len(known) else np.empty(0)
    # Where most users share the lowest value, the others are the second part.
    higher = known[known > known.min(initial=np.inf)]
    cuts = np.unique(inner[inner > known.min(initial=np.inf)])
    if not len(cuts) and len(higher):
        cuts = higher.min(keepdims=True)
    cuts = np.array(short_edges(np.sort(known), cuts))
    part = np.searchsorted(cuts, values, side="right")
    names = _ranges(known, cuts)
    part[np.isnan(values)] = len(names)
    return Slicing(feature.name, feature.title, (*names, MISSING), part)


def _ranges(known: np.ndarray, cuts: np.ndarray) -> list[str]:
    if not len(known):
        return []
    edges = [f"{cut:,.6g}" for cut in cuts]
    if not edges:
        return [f"{known[0]:,.6g}"]
    return [
        f"under {edges[0]}",
        *(f"{low} to under {high}" for low, high in pairwise(edges)),
        f"{edges[-1]} or more",
    ]
