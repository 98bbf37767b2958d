"""The 38 features in the order of the contract, with the types in which they are written.

Counts, whole days among them, are Int32; everything else that is a number is Float32.
"""

from collections.abc import Mapping

import polars as pl

from training.simulate.people import BoolArray, FloatArray, IntArray

MARKETING: dict[str, pl.DataType] = {
    "email_open_rate": pl.Float32(),
    "email_click_rate": pl.Float32(),
    "push_click_rate": pl.Float32(),
    "sms_click_rate": pl.Float32(),
    "coupon_redemptions": pl.Int32(),
    "ad_clicks_last_30d": pl.Int32(),
}
PROFILE: dict[str, pl.DataType] = {
    "country": pl.String(),
    "device_type": pl.String(),
    "acquisition_channel": pl.String(),
    "loyalty_tier": pl.String(),
    "age_band": pl.String(),
    "preferred_language": pl.String(),
    "account_age_days": pl.Int32(),
}
FEATURES: dict[str, pl.DataType] = {
    "sessions_last_7d": pl.Int32(),
    "sessions_last_30d": pl.Int32(),
    "avg_session_duration": pl.Float32(),
    "pages_viewed": pl.Int32(),
    "product_views_last_30d": pl.Int32(),
    "searches_last_30d": pl.Int32(),
    "cart_add_rate": pl.Float32(),
    "cart_abandonment_rate": pl.Float32(),
    "checkout_starts_last_30d": pl.Int32(),
    "wishlist_adds_last_30d": pl.Int32(),
    "bounce_rate": pl.Float32(),
    "days_since_last_session": pl.Int32(),
    "orders_last_90d": pl.Int32(),
    "orders_last_365d": pl.Int32(),
    "avg_order_value": pl.Float32(),
    "total_spend_last_365d": pl.Float32(),
    "refund_rate": pl.Float32(),
    "days_since_last_purchase": pl.Int32(),
    "avg_items_per_order": pl.Float32(),
    "discounted_order_share": pl.Float32(),
    **MARKETING,
    **PROFILE,
    "weekend_activity_ratio": pl.Float32(),
    "evening_session_share": pl.Float32(),
    "recency_score": pl.Float32(),
    "activity_trend": pl.Float32(),
    "purchase_cadence_ratio": pl.Float32(),
}


def feature_frame(
    columns: Mapping[str, FloatArray | IntArray | pl.Series], missing: Mapping[str, BoolArray]
) -> pl.DataFrame:
    """The 38 features of users, NaN as null.

    Args:
        columns: The values of each feature [rows].
        missing: Which values of a feature are null besides [rows].
    """
    return pl.DataFrame(
        [
            _column(name, columns[name], missing.get(name)).cast(dtype)
            for name, dtype in FEATURES.items()
        ]
    )


def _column(
    name: str, values: FloatArray | IntArray | pl.Series, missing: BoolArray | None
) -> pl.Series:
    column = pl.Series(name, values, nan_to_null=True)
    return column if missing is None else column.set(pl.Series(missing), None)
