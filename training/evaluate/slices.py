"""Metrics by slice: does the model serve some groups of users worse than others?

Users are sliced by every categorical feature, by whether they have ordered before, by whether a
whole group of features is missing, and by the features that the schema keeps out of the models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS, Manifest
from engine.bundle.reference import digitize
from engine.bundle.schema import Feature, FeatureSchema
from engine.pages.merging import paired
from training.metrics.disclosure import MIN_USERS, enough, merged, run_of, users_in
from training.metrics.edges import short_edges
from training.metrics.intervals import auc_interval
from training.metrics.metrics import Outcomes, log_losses, rounded

MAX_VALUES = 30
"""At most so many values of a feature are measured separately, the most frequent ones."""

QUANTILE_BINS = 4
MISSING = "(missing)"
OTHER = "(other)"
"""All values of a feature that few users have."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """One way to divide users.

    Attributes:
        name: The feature, or the question about a group of features.
        title: For people.
        values: The names of the parts, in the order of the report.
        part: The part of each row, int64 [rows], -1 where it is in none.
    """

    name: str
    title: str
    values: tuple[str, ...]
    part: np.ndarray


def slice_metrics(
    outcomes: Outcomes, table: pl.DataFrame, schema: FeatureSchema
) -> list[dict[str, Any]]:
    """Rates, ranking and calibration of every slice.

    Rare values of a feature are measured together as `OTHER`. A slice of fewer than `MIN_USERS` users is
    measured with its neighbour, so that it does not follow from the others and the figures of all users. The ROC-AUC is null where fewer than
    `MIN_USERS` rows bought, or fewer did not.

    Args:
        outcomes: Probabilities and labels of users.
        table: Typed values of the features, used or not, in the order of the rows.
        schema: Names, kinds and groups of the features.
    """
    return rounded(
        [
            _slice(slicing, run, outcomes)
            for slicing in slicings(table, schema, outcomes.users)
            for run in _runs(slicing, outcomes.users)
        ]
    )


def slicings(table: pl.DataFrame, schema: FeatureSchema, users: np.ndarray) -> Iterator[Slicing]:
    """Every way in which users are divided.

    Args:
        table: Typed values of the features; a feature that it lacks is passed over.
        schema: The features.
        users: A number for each user, int64 [rows].
    """
    if schema.rfm is not None and schema.rfm.recency in table.columns:
        new = table[schema.rfm.recency].is_null().to_numpy()
        # A user without an order on record may be new, or may never have bought.
        name, title = "new or returning", "Orders on record"
        yield Slicing(name, title, ("some", "none"), new.astype(int))
    groups = dict.fromkeys(f.group for f in schema.features if f.group)
    absent = {g: rows for g in groups if (rows := _absent(table, schema, g)) is not None}
    for group, rows in absent.items():
        name = f"{group} data"
        yield Slicing(name, name.capitalize(), ("known", "missing"), rows.astype(np.int64))
    for feature in schema.features:
        if feature.name in table.columns:
            if feature.kind == "categorical":
                yield _by_value(feature, table[feature.name], users, feature.group not in absent)
            elif not feature.use:
                yield _by_quantile(feature, table[feature.name])


def cell_metrics(
    outcomes: Outcomes,
    segment: np.ndarray,
    manifest: Manifest,
    order_value: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Purchases of every segment in every band; bands of few users are merged with the next.

    Bands are merged in two segments at least, so that few users do not follow from the figures of bands.
    A segment with fewer than `MIN_USERS` users is left out.

    Args:
        outcomes: Probabilities and labels of users.
        segment: Their segment ids, int64 [rows].
        manifest: Segments and cut-points.
        order_value: The value of an order of each row, float64 [rows], NaN where unknown; None if it
            is not measured.
    """
    band = digitize(tuple(manifest.band_cuts), outcomes.probability)
    inside = {known.id: segment == known.id for known in manifest.segments}
    runs = {n: _band_runs(band[rows], outcomes.users[rows]) for n, rows in inside.items()}
    shown = [number for number in runs if runs[number]]
    people = [users_in(band[inside[n]], outcomes.users[inside[n]], len(BANDS)) for n in shown]
    merged_runs = paired([runs[n] for n in shown], np.array([people])) if shown else []
    found = []
    for number, bands in zip(shown, merged_runs, strict=True):
        rows = inside[number]
        value = None if order_value is None else order_value[rows]
        figures = _band_figures(outcomes[rows], band[rows], bands, value)
        found += [{"segment_id": number, **each} for each in figures]
    return found


def band_metrics(
    outcomes: Outcomes, band_cuts: Sequence[float], order_value: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Purchases in every band; bands of few users, and empty ones, are merged with the next.

    Args:
        outcomes: Probabilities and labels of users.
        band_cuts: Rising probabilities.
        order_value: As in `cell_metrics`; its mean and the rows that have one are None where few users
            have one.
    """
    band = digitize(tuple(band_cuts), outcomes.probability)
    return _band_figures(outcomes, band, _band_runs(band, outcomes.users), order_value)


def _band_runs(band: np.ndarray, users: np.ndarray) -> list[range]:
    return merged(band, users, len(BANDS), keep_empty=False)


def _band_figures(
    outcomes: Outcomes,
    band: np.ndarray,
    runs: Sequence[range],
    order_value: np.ndarray | None,
) -> list[dict[str, Any]]:
    """Purchases in each run of bands, as in `band_metrics`."""
    place = run_of(runs, band)
    found = []
    for n, run in enumerate(runs):
        inside = place == n
        figures = {
            "bands": [BANDS[number] for number in run],
            "rows": int(inside.sum()),
            "purchase_rate": float(outcomes.label[inside].mean()),
            "mean_probability": float(outcomes.probability[inside].mean(dtype=np.float64)),
        }
        if order_value is not None:
            known = inside & ~np.isnan(order_value)
            many = enough(outcomes.users[known])
            figures["order_value"] = float(order_value[known].mean()) if many else None
            figures["order_value_rows"] = int(known.sum()) if many else None
        found.append(figures)
    return rounded(found)


def _runs(slicing: Slicing, users: np.ndarray) -> list[range]:
    """Parts of at least `MIN_USERS` users, or neighbours that have as many together."""
    inside = slicing.part >= 0
    part, users = slicing.part[inside], users[inside]
    runs = merged(part, users, len(slicing.values))
    if not runs:
        return []
    counts = users_in(run_of(runs, part), users, len(runs))
    return [run for run, people in zip(runs, counts, strict=True) if people]


def _slice(slicing: Slicing, run: range, everybody: Outcomes) -> dict[str, Any]:
    inside = (slicing.part >= run.start) & (slicing.part < run.stop)
    outcomes, parts = everybody[inside], np.unique(slicing.part[inside]).tolist()
    p, label = outcomes.probability.astype(np.float64), outcomes.label
    bought = int(label.sum())
    measurable = min(bought, len(label) - bought) >= MIN_USERS
    auc, auc_reach = auc_interval(outcomes) if measurable else (None, None)
    return {
        "slice": slicing.name,
        "label": slicing.title,
        "value": " or ".join(slicing.values[part] for part in parts),
        "rows": len(p),
        "base_rate": float(label.mean()),
        "mean_probability": float(p.mean()),
        "roc_auc": auc,
        "roc_auc_interval": auc_reach,
        "calibration_gap": float(p.mean() - label.mean()),
        "log_loss": float(log_losses(p, label).mean()),
    }


def _absent(table: pl.DataFrame, schema: FeatureSchema, group: str) -> np.ndarray | None:
    """Whether each user lacks every feature of a group, bool [rows]; None if no user or all do."""
    names = [f.name for f in schema.features if f.group == group and f.name in table.columns]
    if not names:
        return None
    rows = table.select(pl.all_horizontal(pl.col(names).is_null())).to_series().to_numpy()
    return rows if rows.any() and not rows.all() else None


def _by_value(feature: Feature, column: pl.Series, users: np.ndarray, missing: bool) -> Slicing:  # noqa: FBT001
    """The most frequent values, in the order of the schema if it is meaningful; then the others."""
    counts = (
        pl.DataFrame({"value": column, "user": users})
        .drop_nulls("value")
        .group_by("value")
        .agg(pl.len().alias("rows"), pl.col("user").n_unique().alias("users"))
        .filter(pl.col("users") >= MIN_USERS)
        .sort("rows", "value", descending=[True, False])
    )
    frequent = counts["value"].head(MAX_VALUES).to_list()
    if feature.ordered:
        frequent = [value for value in feature.values if value in frequent]
    others = len(frequent)
    codes = column.replace_strict(
        frequent, range(others), default=others, return_dtype=pl.Int64
    ).to_numpy(writable=True)
    absent = column.is_null().to_numpy()
    # Users left out must be enough too.
    codes[absent] = others + 1 if missing or not enough(users[absent]) else -1
    return Slicing(feature.name, feature.title, (*frequent, OTHER, MISSING), codes)


def _by_quantile(feature: Feature, column: pl.Series) -> Slicing:
    """Up to `QUANTILE_BINS` ranges of equally many users, and the users without a value."""
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
