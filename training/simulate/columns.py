"""The 38 features in the order of the contract, with the types in which they are written.

Counts, whole days among them, are Int32; everything else that is a number is Float32.
"""

import polars as pl

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
