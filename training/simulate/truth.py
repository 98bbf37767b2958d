"""The truth: the probability of an order within the next 7 days, as a function of the 38 columns.

It depends on the columns of a row only, not on hidden traits, dates or other rows; a missing value has
its own effect. Numbers pass through float32, so that Parquet and CSV give the same result.
"""

import numpy as np
import polars as pl

from training.simulate.people import FloatArray, sigmoid

# Calibrated over seeds 0 - 9 of 240,000 users at the default date, see the package's docstring:
INTERCEPT = -3.7068  # mean probability 18.0 %
SCALE = 0.6668  # ROC-AUC of the truth 0.860
INTERACTION_WEIGHT = 1.3  # interactions 7.8 % of the variance of the log-odds (target: 5 - 10 %)

DEVICE_EFFECT = {
    "ios_app": 0.20,
    "android_app": 0.12,
    "mobile_web": -0.10,
    "desktop": 0.0,
    "tablet": -0.05,
}
CHANNEL_EFFECT = {
    "referral": 0.15,
    "direct": 0.10,
    "email": 0.05,
    "organic_search": 0.0,
    "affiliate": -0.05,
    "paid_search": -0.10,
    "social": -0.15,
}
TIER_EFFECT = {"none": -0.10, "bronze": 0.0, "silver": 0.12, "gold": 0.28, "platinum": 0.42}
COUNTRY_EFFECT = {"US": 0.08, "GB": 0.05, "DE": 0.05, "IT": -0.06, "BR": -0.08, "JP": 0.06}
GUEST_EFFECT = -0.30  # in four parts, one for each profile column below


def true_probability(frame: pl.DataFrame) -> FloatArray:
    """The probability from which the label of each row is drawn, float64 [rows].

    NaN where a value that must not be missing is missing.
    """
    log_odds = INTERCEPT + SCALE * (main_effects(frame) + INTERACTION_WEIGHT * interactions(frame))
    # NOTE: nine decimals hide the last bit, in which two processors' exp may differ.
    return np.round(sigmoid(log_odds), 9)


def main_effects(frame: pl.DataFrame) -> FloatArray:
    """The sum of the main effects of columns, float64 [rows]."""
    x = Columns(frame)
    carts = x["cart_add_rate"]
    bought = x["days_since_last_purchase"]
    cadence = x["purchase_cadence_ratio"]
    return (
        0.45 * np.log1p(x["sessions_last_7d"])
        + 0.60 * x["recency_score"]
        + 0.15 * np.log1p(x["product_views_last_30d"])
        + known(0.12 * np.tanh(np.log1p(x["avg_session_duration"]) - 5.0), missing=-0.10)
        + known(0.8 * carts + 0.35 * above(carts, 0.30, 0.02), missing=-0.10)
        + known(-0.5 * x["cart_abandonment_rate"], missing=-0.45)
        + 0.30 * np.log1p(x["checkout_starts_last_30d"])
        + 0.10 * np.tanh(x["activity_trend"])
        + 0.50 * np.log1p(x["orders_last_90d"])
        + known(-0.10 * np.tanh(np.log1p(x["avg_order_value"]) - 4.2), missing=0.0)
        + known(0.9 * np.sqrt(x["refund_rate"]), missing=0.0)
        + known(0.6 * np.exp(-bought / 45.0) + 0.40 * (bought < 14), missing=-0.35)
        + known(due_now(cadence) * 0.35, missing=0.0)
        + known(0.30 * above(x["email_open_rate"], 0.35, 0.04), missing=-0.05)
        + known(1.2 * np.minimum(x["push_click_rate"], 0.4), missing=0.0)
        + known(0.20 * np.log1p(x["coupon_redemptions"]), missing=0.0)
        + known(0.25 * np.exp(-x["account_age_days"] / 60.0), missing=GUEST_EFFECT / 4)
        + _effect(frame, "device_type", DEVICE_EFFECT, missing=GUEST_EFFECT / 4)
        + _effect(frame, "acquisition_channel", CHANNEL_EFFECT, missing=GUEST_EFFECT / 4)
        + _effect(frame, "loyalty_tier", TIER_EFFECT, missing=GUEST_EFFECT / 4)
        + _effect(frame, "country", COUNTRY_EFFECT, missing=0.0)
    )


def interactions(frame: pl.DataFrame) -> FloatArray:
    """The sum of the pairwise interactions, float64 [rows].

    Carts mean more from bargain hunters; being due for an order matters only for active users;
    coupons work on bargain hunters; push messages work on active users.
    """
    x = Columns(frame)
    bargain = known(above(x["discounted_order_share"], 0.45, 0.06), missing=0.0)
    open_carts = known(np.tanh(3.0 * x["cart_add_rate"]), missing=0.0)
    due = known(due_now(x["purchase_cadence_ratio"]), missing=0.0)
    coupons = known(np.tanh(x["coupon_redemptions"] / 2.0), missing=0.0)
    active = np.tanh(x["sessions_last_7d"] / 3.0)
    return (
        2.6 * (open_carts - 0.4) * (bargain - 0.35)
        + 2.6 * (due - 0.3) * (x["recency_score"] - 0.6)
        + 2.2 * coupons * (bargain - 0.6)
        + 2.0 * (active - 0.4) * known(np.tanh(4.0 * x["push_click_rate"]) - 0.3, missing=0.0)
    )


class Columns:
    """Reads a column as float64, NaN where it is missing."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __getitem__(self, name: str) -> FloatArray:
        numbers = self._frame[name].cast(pl.Float32).cast(pl.Float64)
        return np.ascontiguousarray(numbers.to_numpy(), dtype=np.float64)


def known(effect: FloatArray, *, missing: float) -> FloatArray:
    """The effect, and `missing` where it is NaN."""
    return np.where(np.isnan(effect), missing, effect)


def above(x: FloatArray, threshold: float, width: float) -> FloatArray:
    """Near 1 above the threshold, near 0 below it."""
    return sigmoid((x - threshold) / width)


def due_now(cadence: FloatArray) -> FloatArray:
    """1 where the usual gap between orders is just over, near 0 soon after an order and much later."""
    return np.exp(-0.5 * (np.log(np.maximum(cadence, 0.01)) / 0.6) ** 2)


def _effect(
    frame: pl.DataFrame, name: str, effects: dict[str, float], *, missing: float
) -> FloatArray:
    column = frame[name].cast(pl.String)
    known = column.replace_strict(effects, default=0.0, return_dtype=pl.Float64)
    return np.where((column.is_null() | (column == "")).to_numpy(), missing, known.to_numpy())
