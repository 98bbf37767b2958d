"""Synthetic users that test whether a runtime computes the same results.

No training user is among them. Their values are split thresholds, bin edges of `reference.json`,
bounds of the schema and categories; their combinations are random.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.bundle.manifest import Manifest
from engine.bundle.open import Bundle
from engine.bundle.reference import SUPPRESSED, Reference
from engine.bundle.schema import Feature
from engine.model.session import PADDED_ROWS, Predictions, Session
from engine.rows.typed import to_features
from training.data.scored import run_engine
from training.model.shapley.effects import Effects

MAX_PROBED_VALUES = 3_072
"""At most so many values of a feature are probed, so that no bundle has more than 4,096 rows."""

PROBED_ROWS = 512
"""Probed values are combined in at least so many rows."""

ORDINARY_ROWS = 256
POOL_ROWS = 16_384
"""So many users are generated to find some near every cut-point and in every segment."""

KEEN_ROWS = 1_024
"""Generated users have less extreme scores than real ones, whose features are correlated. The values
of so many with the highest scores are recombined, for users near the highest cut-points."""

SEGMENT_ROWS = 2
CORE_PARTS = (128, 64)
"""How many rows with probed values, and how many near cut-points, come first."""

SPECIAL_NUMBERS = (0.0, 1e-45, 1.0, 16_777_216.0)
"""Zero, the smallest number above it, one, and 2**24, up to which float32 holds all whole numbers."""

WHOLE = 1e-4
"""Edges this near to whole numbers belong to counts: the lowest bin ends one ulp above its value."""

LARGEST = float(np.finfo(np.float32).max)

UNSEEN = ("unseen", "Zoë 🛒", " ")


@dataclass(frozen=True, slots=True)
class _Column:
    """What is known of one feature.

    Attributes:
        feature: Its place in the schema.
        values: The category table, empty for a number.
        edges: The lower ends of its bins in the reference, except the first; float32.
        users: How many there were in each bin, the missing last; 0 if suppressed.
        thresholds: Where the purchase model splits it, finite float32.
    """

    feature: Feature
    values: tuple[str, ...]
    edges: np.ndarray
    users: np.ndarray
    thresholds: np.ndarray


def conformance_rows(
    bundle: Bundle, reference: Reference, effects: Effects, seed: int
) -> pl.DataFrame:
    """Users with every probed value, users near every cut-point and in every segment, ordinary ones.

    Args:
        bundle: Its graphs and its manifest.
        reference: Histograms of the training users.
        effects: The purchase model, for its thresholds.
        seed: Of the random draws.

    Returns:
        Float32 and String columns, null if missing, as `typed.to_typed` gives; a multiple of
        `session.PADDED_ROWS`, some of each kind among the first.
    """
    manifest = bundle.manifest
    rng = np.random.default_rng(seed)
    columns = _columns(manifest, reference, effects)
    probes = _shuffled([_probed(column) for column in columns], rng)
    pool = pl.DataFrame([_ordinary(column, rng) for column in columns])
    keen = pool[np.argsort(_scored(bundle, pool).probability, kind="stable")[-KEEN_ROWS:]]
    pool = pl.concat([pool, _mixed(keen, rng)])
    chosen = pool[_near_limits(_scored(bundle, pool), manifest)]
    ordinary = ORDINARY_ROWS + -(probes.height + chosen.height + ORDINARY_ROWS) % PADDED_ROWS
    first, near = CORE_PARTS
    return pl.concat(
        [probes[:first], chosen[:near], pool[:ordinary], probes[first:], chosen[near:]]
    )


def _columns(manifest: Manifest, reference: Reference, effects: Effects) -> list[_Column]:
    features = manifest.schema.model_features
    found = zip(
        features, reference.edges, reference.counts.features, effects.thresholds, strict=True
    )
    return [
        _column(feature, manifest, np.array(edges, np.float32), users, splits)
        for feature, edges, users, splits in found
    ]


def _column(
    feature: Feature,
    manifest: Manifest,
    edges: np.ndarray,
    users: np.ndarray,
    thresholds: np.ndarray,
) -> _Column:
    # A threshold of infinity parts missing values from all others: the missing one probes it.
    thresholds = thresholds[np.isfinite(thresholds)]
    if feature.kind == "numeric" and not len(edges):
        # Too few users for bins: equally many on each side of every threshold.
        edges = np.unique(thresholds)
        users = np.ones(len(edges) + 2, np.int64)
    known = np.where(users == SUPPRESSED, 0, users)
    return _Column(feature, manifest.categories.get(feature.name, ()), edges, known, thresholds)


def _probed(column: _Column) -> pl.Series:
    """Every category or both sides of every threshold, unseen or special values, and none at all."""
    name = column.feature.name
    if column.feature.kind == "categorical":
        unseen = [text for text in UNSEEN if text not in column.values]
        known = np.array(column.values, object)[_spread(len(column.values))]
        return pl.Series(name, [*known, *unseen, None], pl.String)
    splits, largest = column.thresholds, np.float32(LARGEST)
    found = np.concatenate(
        [
            *(splits, np.nextafter(splits, largest), np.nextafter(splits, -largest)),
            *(column.edges, np.array(SPECIAL_NUMBERS, np.float32)),
        ]
    )
    bounds = [b for b in (column.feature.min, column.feature.max) if b is not None]
    found = np.unique(_bounded(np.append(found, np.array(bounds, np.float32)), column.feature))
    found = found[_spread(len(found))]
    # NOTE: -0.0 equals 0.0 and has other bits.
    negative_zero = [-0.0] if 0.0 in found else []
    return pl.Series(name, [*found.tolist(), *negative_zero, None], pl.Float32)


def _spread(values: int) -> np.ndarray:
    """The places of all values, or of `MAX_PROBED_VALUES` from the first to the last."""
    return np.unique(np.linspace(0, values - 1, min(values, MAX_PROBED_VALUES)).round().astype(int))


def _shuffled(columns: list[pl.Series], rng: np.random.Generator) -> pl.DataFrame:
    """Each column repeated to the same length, in another order each time."""
    rows = max(PROBED_ROWS, *map(len, columns))

    def places(values: int) -> np.ndarray:
        rounds = [rng.permutation(values) for _ in range(-(-rows // values))]
        return np.concatenate(rounds)[:rows]

    return pl.DataFrame([column.gather(places(len(column))) for column in columns])


def _ordinary(column: _Column, rng: np.random.Generator) -> pl.Series:
    """Values that are as frequent as in the reference, whatever the other features are."""
    users = column.users if column.users.any() else np.ones_like(column.users)
    bins = rng.choice(len(users), POOL_ROWS, p=users / users.sum())
    name, edges = column.feature.name, column.edges.astype(np.float64)
    if column.feature.kind == "categorical":
        texts = [*column.values, None, None][: len(users)]
        return pl.Series(name, texts, pl.String).gather(bins)
    # The ends of the range are not published: the outer bins give the value at their inner end.
    first = (
        np.nextafter(column.edges[:1], np.float32(-LARGEST)).astype(np.float64)
        if len(edges)
        else np.zeros(1)
    )
    starts = np.append(first, edges)
    widths = np.concatenate([first, edges[1:], edges[-1:]]) - starts
    known = np.minimum(bins, len(starts) - 1)
    drawn = starts[known] + rng.random(POOL_ROWS) * widths[known]
    if np.abs(edges - edges.round()).max(initial=0) < WHOLE:
        drawn = np.floor(drawn)
    values = pl.Series(name, np.clip(drawn.astype(np.float32), *_bounds(column.feature)))
    return values.set(pl.Series(bins == len(users) - 1), None)


def _mixed(users: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """As many new users as the pool has, each value from a random one of these."""
    return users.select(column.gather(rng.integers(0, users.height, POOL_ROWS)) for column in users)


def _scored(bundle: Bundle, users: pl.DataFrame) -> Predictions:
    manifest = bundle.manifest
    features = to_features(users, manifest.schema.model_features, manifest.categories)
    return run_engine(Session(bundle), features)


def _bounded(values: np.ndarray, feature: Feature) -> np.ndarray:
    """Finite values within the bounds of the schema: others are quarantined before a model sees them."""
    low, high = _bounds(feature)
    return values[(values >= low) & (values <= high)]


def _bounds(feature: Feature) -> tuple[float, float]:
    low = -LARGEST if feature.min is None else feature.min
    return low, LARGEST if feature.max is None else feature.max


def _near_limits(scored: Predictions, manifest: Manifest) -> np.ndarray:
    """The nearest rows on both sides of each cut-point, and some of each segment."""
    p = scored.probability.astype(np.float64)
    cuts = (manifest.threshold, *manifest.decile_cuts, *manifest.band_cuts)
    near = [
        rows[np.abs(p[rows] - cut).argmin()]
        for cut in cuts
        for rows in (np.flatnonzero(p < cut), np.flatnonzero(p >= cut))
        if len(rows)
    ]
    ids = [segment.id for segment in manifest.segments]
    found = [np.flatnonzero(scored.segment == n)[:SEGMENT_ROWS] for n in ids]
    return np.unique(np.concatenate([np.array(near, np.int64), *found]))
