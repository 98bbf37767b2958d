"""What past scores were worth: ranking, calibration and lift, by bundle, decile, band and segment.

No figure is told of fewer than `MIN_CELL` users, nor where they would follow by subtraction.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS
from engine.bundle.schema import FeatureSchema
from engine.errors import InputError, pluralize
from training.backtest.effect import control_effect
from training.backtest.outcomes import Joined, join_outcomes
from training.metrics.disclosure import MIN_CELL, users_in, withheld
from training.metrics.intervals import intervals, wilson
from training.metrics.metrics import Ranked, headline, rank, rounded

DECILES = tuple(range(10, 0, -1))
AT_THRESHOLD = ("f1", "precision", "recall")
FIGURES = ("rows", "mean_probability", "purchase_rate", "interval", "lift", "share_of_buyers")


def backtest(
    scores: Sequence[str], outcomes: Sequence[str], schema: FeatureSchema
) -> dict[str, Any]:
    """How past scores did against what happened.

    Args:
        scores: Score files.
        outcomes: Tables with id, snapshot and label.
        schema: The names of these three.

    Returns:
        What was joined, and for each bundle `metrics`, `deciles`, `bands`, `segments` and
        `control`; plain JSON values.

    Raises:
        EngineError: The files cannot be read or joined, or hold too few users.
    """
    joined = join_outcomes(scores, outcomes, schema)
    return rounded(
        {
            **_counts(joined),
            "bundles": [_bundle_figures(name, frame) for name, frame in _told(joined).items()],
        }
    )


def _told(joined: Joined) -> dict[str, pl.DataFrame]:
    """The rows of each bundle that scored enough users."""
    by_bundle = joined.frame.partition_by("bundle_id", as_dict=True, maintain_order=True)
    found = {
        str(n): rows for (n,), rows in by_bundle.items() if rows["user"].n_unique() >= MIN_CELL
    }
    if not found:
        raise InputError(
            f"{pluralize(joined.frame['user'].n_unique(), 'user')} with score and outcome; at least "
            f"{MIN_CELL} of one bundle are needed, so that no user can be told from the figures. "
            "Give more."
        )
    return found


def _counts(joined: Joined) -> dict[str, Any]:
    frame = joined.frame
    dates = frame["snapshot"].unique().sort().to_list() if "snapshot" in frame.columns else []
    return {
        "scored": joined.scored,
        "with_outcome": joined.frame.height,
        "without_outcome": joined.without_outcome,
        "without_score": joined.without_score,
        "outcomes_left_out": joined.left_out,
        "snapshots": [str(date) for date in dates],
    }


def _bundle_figures(bundle_id: str, frame: pl.DataFrame) -> dict[str, Any]:
    segments = frame.select("segment_id", "segment_name").unique("segment_id").sort("segment_id")
    ids = segments["segment_id"].cast(pl.Int64).to_list()
    names = dict(zip(ids, segments["segment_name"].to_list(), strict=True))
    return {
        "bundle_id": bundle_id,
        "rows": frame.height,
        "users": frame["user"].n_unique(),
        "purchase_rate": float(frame["bought"].to_numpy().mean()),
        "mean_probability": float(frame["purchase_probability"].to_numpy().mean(dtype=np.float64)),
        "metrics": _metrics(frame),
        "deciles": _gains(_rates(frame, "propensity_decile", DECILES)),
        "bands": _rates(frame, "propensity_band", BANDS[::-1]),
        "segments": [
            {**found, "name": names[found["value"]]} for found in _rates(frame, "segment_id", ids)
        ],
        "control": control_effect(frame, names),
    }


def _metrics(frame: pl.DataFrame) -> dict[str, Any]:
    """Figures with 95 % intervals; empty where all users bought, or none did."""
    label, users = frame["bought"].to_numpy(), frame["user"].to_numpy()
    if not 0 < label.sum() < len(label):
        return {}
    ranked = rank(frame["purchase_probability"].to_numpy(), label)
    threshold = _threshold(frame)
    figures = headline(ranked, np.ones(len(label)), threshold)
    reach = intervals(ranked, users, threshold, figures)
    told = figures if _tells(ranked, users, threshold) else figures.keys() - set(AT_THRESHOLD)
    return {
        name: {"value": figures[name], "interval": reach[name]} for name in reach if name in told
    }


def _threshold(frame: pl.DataFrame) -> float:
    """The lowest probability that was called a purchase: it divides these users as the bundle did."""
    called = frame.filter(pl.col("will_purchase") == 1)["purchase_probability"].to_numpy()
    return float(called.min(initial=np.inf))


def _tells(ranked: Ranked, users: np.ndarray, threshold: float) -> bool:
    """Whether the threshold leaves enough users on both sides, or none on one."""
    place = ranked.p < threshold
    sides = [len(np.unique(users[ranked.order[side]])) for side in (place, ~place)]
    return all(people == 0 or people >= MIN_CELL for people in sides)


def _rates(frame: pl.DataFrame, name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """What was said and what came for each value of a column, in the order given.

    Intervals (Wilson 1927) count users, so that several rows of a user do not count as evidence
    several times.
    """
    label, users = frame["bought"].to_numpy(), frame["user"].to_numpy()
    count = len(values)
    place = frame[name].replace_strict(list(values), range(count), return_dtype=pl.Int64)
    cell = place.to_numpy()
    people, rows = users_in(cell, users, count), np.bincount(cell, minlength=count)
    told = (rows > 0) & ~withheld(cell, users, (count,))
    bought = np.bincount(cell, label, minlength=count)
    said = np.bincount(cell, frame["purchase_probability"].to_numpy(), minlength=count)
    rate = bought / np.maximum(rows, 1)
    low, high = wilson(rate, np.maximum(people, 1))
    base = label.mean()
    return [
        {
            "value": value,
            **(
                {
                    "rows": int(rows[n]),
                    "mean_probability": float(said[n] / rows[n]),
                    "purchase_rate": float(rate[n]),
                    "interval": [float(low[n]), float(high[n])],
                    "lift": float(rate[n] / base) if base else None,
                    "share_of_buyers": float(bought[n] / label.sum()) if base else None,
                }
                if told[n]
                else dict.fromkeys(FIGURES) | ({} if rows[n] else {"rows": 0})
            ),
        }
        for n, value in enumerate(values)
    ]


def _gains(deciles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The share of all buyers down to each decile; none at all where a decile is not told."""
    shares = [0.0 if decile["rows"] == 0 else decile["share_of_buyers"] for decile in deciles]
    if None in shares:
        return [{**decile, "cumulative_share_of_buyers": None} for decile in deciles]
    reached = np.cumsum(shares)
    return [
        {**decile, "cumulative_share_of_buyers": float(share)}
        for decile, share in zip(deciles, reached, strict=True)
    ]
