"""The quality of past scores: ranking, calibration and lift, by bundle, decile, band and segment.

No figure is about fewer than `MIN_USERS` users: deciles, bands and segments of fewer merge.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.special import expit, logit  # type: ignore[import-untyped]

from engine.bundle.manifest import BANDS
from engine.bundle.schema import FeatureSchema
from engine.errors import InputError, pluralize
from training.backtest.contacted import campaigns_document
from training.backtest.money import Money
from training.backtest.outcomes import Joined, join_outcomes
from training.backtest.tables import DECILES, read_tables
from training.backtest.without_log import control_effect
from training.metrics.audiences import top_users
from training.metrics.classification import AT_THRESHOLD
from training.metrics.disclosure import MIN_USERS, enough, merged
from training.metrics.intervals import NORMAL_QUANTILE, intervals, mean_and_error, wilson
from training.metrics.metrics import admitted_rows, headline, rank, rounded

LEAST = 1e-7
"""Probabilities this close to 0 or 1 are moved away from them, so that their log-odds are finite."""

FARTHEST = 40.0
FIGURES = ("rows", "mean_probability", "purchase_rate", "interval", "lift", "share_of_buyers")


def backtest(
    scores: Sequence[str],
    outcomes: Sequence[str],
    schema: FeatureSchema,
    logs: Sequence[str] = (),
    money: Money = Money(),  # noqa: B008 - it is frozen
) -> dict[str, Any]:
    """Compare past scores with outcomes.

    Args:
        scores: Score files.
        outcomes: Tables with id, snapshot and label.
        schema: The names of these three.
        logs: Contact logs, if campaigns are to be measured.
        money: What purchases are worth and contacts cost.

    Returns:
        What was joined, for each bundle `shift`, `metrics`, `deciles`, `bands`, `segments` and
        `control`, and with logs `contacts`, `campaigns` and `policy`; plain JSON values.

    Raises:
        EngineError: The files cannot be read or joined, or hold too few users.
    """
    tables = read_tables(scores, outcomes, schema, money.value)
    joined = join_outcomes(scores, outcomes, schema, tables)
    # Contacts are read first: their mistakes should not wait for the bootstrap.
    measured = campaigns_document(logs, scores, tables, schema, money) if logs else {}
    bundles = [
        _bundle_figures(name, frame, contacted=bool(logs))
        for name, frame in _measurable(joined).items()
    ]
    return rounded({**_counts(joined), "bundles": bundles, **measured})


def _measurable(joined: Joined) -> dict[str, pl.DataFrame]:
    """The rows of each bundle that scored enough users."""
    by_bundle = joined.frame.partition_by("bundle_id", as_dict=True, maintain_order=True)
    found = {
        str(n): rows for (n,), rows in by_bundle.items() if rows["user"].n_unique() >= MIN_USERS
    }
    if not found:
        raise InputError(
            f"{pluralize(joined.frame['user'].n_unique(), 'user')} with a score and an outcome; at least "
            f"{MIN_USERS} of one bundle are needed, so that no user is identifiable in the figures. "
            "Add users."
        )
    return found


def _counts(joined: Joined) -> dict[str, Any]:
    frame = joined.frame
    dates = frame["snapshot"].unique().sort().to_list() if "snapshot" in frame.columns else []
    return {
        "scored": joined.scored,
        "with_outcome": frame.height,
        "without_outcome": joined.without_outcome,
        "without_score": joined.without_score,
        "outcomes_left_out": joined.left_out,
        "snapshots": [str(date) for date in dates],
    }


def _bundle_figures(bundle_id: str, frame: pl.DataFrame, *, contacted: bool) -> dict[str, Any]:
    """The figures of one bundle; no correction of its probabilities if contacts changed the outcomes."""
    segments = frame.select("segment_id", "segment_name").unique("segment_id").sort("segment_id")
    ids = segments["segment_id"].cast(pl.Int64).to_list()
    names = dict(zip(ids, segments["segment_name"].to_list(), strict=True))
    return {
        "bundle_id": bundle_id,
        "rows": frame.height,
        "users": frame["user"].n_unique(),
        "purchase_rate": float(frame["bought"].to_numpy().mean()),
        "mean_probability": float(frame["purchase_probability"].to_numpy().mean(dtype=np.float64)),
        "shift": None
        if contacted
        else shift_to(frame["purchase_probability"].to_numpy(), *_outcome(frame)),
        "metrics": _metrics(frame),
        "deciles": _summed(_merged_rates(frame, "propensity_decile", DECILES)),
        "bands": _merged_rates(frame, "propensity_band", BANDS),
        "segments": [
            {
                "segment_ids": part["values"],
                "name": " or ".join(names[number] for number in part["values"]),
                **{figure: part[figure] for figure in FIGURES},
            }
            for part in reversed(_merged_rates(frame, "segment_id", ids))
        ],
        "control": control_effect(frame, names),
    }


def shift_to(
    probability: np.ndarray, label: np.ndarray, users: np.ndarray
) -> dict[str, Any] | None:
    """How far all log-odds must move for the mean probability to be the rate that was observed.

    Args:
        probability: float32 [rows].
        label: int8 [rows].
        users: A number for each user, int64 [rows].

    Returns:
        `log_odds` and its 95 % `interval`; None if no shift reaches the rate or an end of its interval.
    """
    p = probability.astype(np.float64)
    gap, error = mean_and_error(label - p, users)
    margin = logit(np.clip(p, LEAST, 1 - LEAST))
    ends = [p.mean() + gap + z * error for z in (0.0, -NORMAL_QUANTILE, NORMAL_QUANTILE)]
    if not all(0 < rate < 1 for rate in ends):
        return None
    value, low, high = (
        brentq(lambda by, rate=rate: expit(margin + by).mean() - rate, -FARTHEST, FARTHEST)
        for rate in ends
    )
    return {"log_odds": value, "interval": [low, high]}


def _outcome(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return frame["bought"].to_numpy(), frame["user"].to_numpy()


def _metrics(frame: pl.DataFrame) -> dict[str, Any]:
    """Figures with 95 % intervals; empty if all users bought, or none did."""
    label, users = _outcome(frame)
    if not 0 < label.sum() < len(label):
        return {}
    ranked = rank(frame["purchase_probability"].to_numpy(), label)
    threshold = _threshold(frame)
    figures = headline(ranked, np.ones(len(label)), threshold)
    reach = intervals(ranked, users, threshold, figures)
    admitted = top_users(ranked, users, admitted_rows(ranked, threshold))
    suppressed = AT_THRESHOLD if len(admitted) and not enough(admitted) else ()
    return {
        name: {"value": figures[name], "interval": interval}
        for name, interval in reach.items()
        if name not in suppressed
    }


def _threshold(frame: pl.DataFrame) -> float:
    """The lowest probability that the bundle predicted to buy."""
    called = frame.filter(pl.col("will_purchase") == 1)["purchase_probability"].to_numpy()
    return float(called.min(initial=np.inf))


def _merged_rates(frame: pl.DataFrame, name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Predicted and actual rates by a column, the highest value first; few users are merged.

    Args:
        frame: The rows of one bundle.
        name: The column.
        values: All that it may hold, rising.
    """
    count = len(values)
    place = frame[name].replace_strict(list(values), range(count), return_dtype=pl.Int64).to_numpy()
    return [
        {
            "values": [values[n] for n in run],
            **_rates(frame, frame.filter((place >= run.start) & (place < run.stop))),
        }
        for run in reversed(merged(place, frame["user"].to_numpy(), count))
    ]


def _rates(frame: pl.DataFrame, part: pl.DataFrame) -> dict[str, Any]:
    """Predicted and actual purchase rates of some of the rows, with a Wilson interval by user."""
    if not part.height:
        return {**dict.fromkeys(FIGURES), "rows": 0}
    label = part["bought"].to_numpy()
    rate, base = float(label.mean()), float(frame["bought"].to_numpy().mean())
    low, high = wilson(np.array([rate]), np.array([part["user"].n_unique()]))
    return {
        "rows": part.height,
        "mean_probability": float(part["purchase_probability"].to_numpy().mean(dtype=np.float64)),
        "purchase_rate": rate,
        "interval": [float(low[0]), float(high[0])],
        "lift": rate / base if base else None,
        "share_of_buyers": rate * part.height / (base * frame.height) if base else None,
    }


def _summed(deciles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Deciles with the cumulative share of buyers; null if nobody bought."""
    reached, found = 0.0, []
    for decile in deciles:
        share = decile["share_of_buyers"]
        reached += share or 0.0
        known = share is not None or (decile["rows"] == 0 and reached > 0)
        found.append({**decile, "cumulative_share_of_buyers": reached if known else None})
    return found
