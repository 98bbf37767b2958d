"""From counts over windows of days to the features that follow from them.

Every simulator counts in its own way, from draws or from a log of events; the features are computed
here alone. NaN is a quantity that does not exist.
"""

from dataclasses import dataclass

import numpy as np

from training.simulate.people import FloatArray, IntArray

MAX_CADENCE_RATIO = 100.0
MAX_SESSION_SECONDS = 14_400.0


@dataclass(frozen=True, slots=True)
class Windows:
    """What a shop counts about each user, one array [rows] each; the names end with the days covered."""

    sessions_7: IntArray
    sessions_30: IntArray
    sessions_30_to_60: IntArray
    sessions_90: IntArray
    weekend_sessions_90: IntArray
    evening_sessions_90: IntArray
    bounces_30: IntArray
    carts_30: IntArray
    checkouts_30: IntArray
    pages_30: IntArray
    products_30: IntArray
    searches_30: IntArray
    wishes_30: IntArray
    session_seconds: FloatArray  # mean of the last 30 days
    last_session: FloatArray  # days ago, HISTORY_DAYS where there was none
    orders_30: IntArray
    orders_90: IntArray
    orders_365: IntArray
    coupons_90: IntArray
    discounted_365: IntArray
    refunds_365: IntArray
    extra_items_365: IntArray
    order_value: FloatArray  # mean of the last 365 days
    spend_365: FloatArray
    last_order: FloatArray  # days ago, NaN where there was none
    first_order: FloatArray  # as last_order, the oldest of the last 365 days


def window_columns(windows: Windows) -> dict[str, FloatArray | IntArray]:
    """The behavioural, transaction and temporal features, and `coupon_redemptions`."""
    w = windows
    gaps = np.maximum(w.orders_365 - 1, 1)
    gap_days = np.maximum(w.first_order - w.last_order, 1.0) / gaps
    cadence = np.minimum(w.last_order / gap_days, MAX_CADENCE_RATIO)
    seconds = np.minimum(w.session_seconds, MAX_SESSION_SECONDS).round(1)
    return {
        "sessions_last_7d": w.sessions_7,
        "sessions_last_30d": w.sessions_30,
        "avg_session_duration": seconds,
        "pages_viewed": w.pages_30,
        "product_views_last_30d": w.products_30,
        "searches_last_30d": w.searches_30,
        "cart_add_rate": ratio(w.carts_30, w.sessions_30),
        "cart_abandonment_rate": 1.0 - ratio(w.orders_30, w.carts_30),
        "checkout_starts_last_30d": w.checkouts_30,
        "wishlist_adds_last_30d": w.wishes_30,
        "bounce_rate": ratio(w.bounces_30, w.sessions_30),
        "days_since_last_session": w.last_session.astype(np.int64),
        "orders_last_90d": w.orders_90,
        "orders_last_365d": w.orders_365,
        "avg_order_value": np.where(w.orders_365 > 0, w.order_value, np.nan),
        "total_spend_last_365d": w.spend_365,
        "refund_rate": ratio(w.refunds_365, w.orders_365),
        "days_since_last_purchase": w.last_order,
        "avg_items_per_order": 1.0 + ratio(w.extra_items_365, w.orders_365),
        "discounted_order_share": ratio(w.discounted_365, w.orders_365),
        "coupon_redemptions": w.coupons_90,
        "weekend_activity_ratio": ratio(w.weekend_sessions_90, w.sessions_90),
        "evening_session_share": ratio(w.evening_sessions_90, w.sessions_90),
        "recency_score": np.exp(-w.last_session / 30.0),
        "activity_trend": np.log((w.sessions_30 + 1.0) / (w.sessions_30_to_60 + 1.0)),
        "purchase_cadence_ratio": np.where(w.orders_365 > 1, cadence, np.nan),
    }


def ratio(part: IntArray, whole: IntArray) -> FloatArray:
    """Part of whole, NaN where there is nothing to divide by."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
