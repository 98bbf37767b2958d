"""What holds for simulated users at every date, and the best that any model can reach on them."""

import tomllib

import numpy as np
import polars as pl

from tests.helpers import ROOT
from training.simulate import SimulateOptions, simulate
from training.simulate.columns import FEATURES, MARKETING, PROFILE

SCHEMA = tomllib.loads((ROOT / "engine/schemas/shopnow.toml").read_text())

# Carts and orders of the last 30 days, as a reader of the file gets them back.
CARTS = (pl.col("cart_add_rate") * pl.col("sessions_last_30d")).fill_null(0.0)
ORDERS_30D = (CARTS * (1.0 - pl.col("cart_abandonment_rate"))).fill_null(0.0)
BOUNCES = pl.col("bounce_rate") * pl.col("sessions_last_30d")
GAP_DAYS = pl.col("days_since_last_purchase") / pl.col("purchase_cadence_ratio")
TREND_BEFORE = (pl.col("sessions_last_30d") + 1) / pl.col("activity_trend").cast(pl.Float64).exp()


def draw(**options) -> pl.DataFrame:
    """Simulated users with the true probability of each."""
    return pl.concat(simulate(SimulateOptions(truth=True, **options)))


def whole(count: pl.Expr) -> pl.Expr:
    return (count - count.round()).abs() <= 1e-3 + 1e-5 * count


def times_orders(share: str) -> pl.Expr:
    return pl.col(share) * pl.col("orders_last_365d")


CONSISTENT = {
    "sessions_7d_in_30d": pl.col("sessions_last_7d") <= pl.col("sessions_last_30d"),
    "last_session_7d": (pl.col("sessions_last_7d") > 0) == (pl.col("days_since_last_session") < 7),
    "last_session_30d": (pl.col("sessions_last_30d") > 0) == (pl.col("days_since_last_session") < 30),
    "a_page_per_session": pl.col("pages_viewed") >= pl.col("sessions_last_30d"),
    "no_page_without_session": (pl.col("pages_viewed") > 0) == (pl.col("sessions_last_30d") > 0),
    "products_in_pages": pl.col("product_views_last_30d") <= pl.col("pages_viewed"),
    "a_product_per_cart": pl.col("product_views_last_30d") >= CARTS - 0.01,
    "carts_are_whole": whole(CARTS),
    "bounces_are_whole": whole(BOUNCES),
    "no_cart_in_a_bounce": pl.col("sessions_last_30d") + 0.01 >= CARTS + BOUNCES,
    "checkouts_in_carts": pl.col("checkout_starts_last_30d") <= CARTS + 0.01,
    "orders_in_checkouts": pl.col("checkout_starts_last_30d") + 0.01 >= ORDERS_30D,
    "orders_30d_are_whole": whole(ORDERS_30D),
    "orders_30d_in_90d": pl.col("orders_last_90d") + 0.01 >= ORDERS_30D,
    "orders_90d_in_365d": pl.col("orders_last_90d") <= pl.col("orders_last_365d"),
    "last_order_30d": (ORDERS_30D > 0.5) == (pl.col("days_since_last_purchase").fill_null(999) < 30),
    "last_order_90d": (pl.col("orders_last_90d") > 0)
    == (pl.col("days_since_last_purchase").fill_null(999) < 90),
    "an_order_is_a_session": pl.col("days_since_last_purchase") >= pl.col("days_since_last_session"),
    "spend": (
        pl.col("total_spend_last_365d").cast(pl.Float64)
        - times_orders("avg_order_value").fill_null(0.0)
    ).abs()
    <= 0.01 + 1e-6 * pl.col("total_spend_last_365d"),
    "refunds_are_whole": whole(times_orders("refund_rate")),
    "discounts_are_whole": whole(times_orders("discounted_order_share")),
    "items_are_whole": whole(times_orders("avg_items_per_order")),
    "coupons_in_orders": pl.col("coupon_redemptions") <= pl.col("orders_last_90d"),
    "coupons_in_discounts": pl.col("coupon_redemptions")
    <= times_orders("discounted_order_share").fill_null(0.0) + 0.01,
    "clicks_in_opens": pl.col("email_click_rate") <= pl.col("email_open_rate"),
    "recency": (
        pl.col("recency_score") - (-pl.col("days_since_last_session") / 30).exp()
    ).abs() < 1e-6,
    "trend": whole(TREND_BEFORE) & (TREND_BEFORE > 0.99),
    "cadence_fits_the_year": (pl.col("purchase_cadence_ratio") <= 0)
    | (pl.col("purchase_cadence_ratio") >= 100)
    | (pl.col("days_since_last_purchase") + GAP_DAYS * (pl.col("orders_last_365d") - 1) < 365.1),
    "no_session_before_account": pl.col("days_since_last_session") <= pl.col("account_age_days"),
    "no_order_before_account": pl.col("days_since_last_purchase") <= pl.col("account_age_days"),
}  # fmt: skip

NO_SESSION_30D = pl.col("sessions_last_30d") == 0
NO_SESSION_90D = pl.col("days_since_last_session") >= 90
NO_ORDER = pl.col("orders_last_365d") == 0
STRUCTURAL = {
    "avg_session_duration": NO_SESSION_30D,
    "cart_add_rate": NO_SESSION_30D,
    "bounce_rate": NO_SESSION_30D,
    "cart_abandonment_rate": pl.col("cart_add_rate").fill_null(0.0) == 0,
    "avg_order_value": NO_ORDER,
    "refund_rate": NO_ORDER,
    "days_since_last_purchase": NO_ORDER,
    "avg_items_per_order": NO_ORDER,
    "discounted_order_share": NO_ORDER,
    "weekend_activity_ratio": NO_SESSION_90D,
    "evening_session_share": NO_SESSION_90D,
    "purchase_cadence_ratio": pl.col("orders_last_365d") < 2,
}
NEVER = sorted(FEATURES.keys() - STRUCTURAL.keys() - MARKETING.keys() - PROFILE.keys())


def in_range(values: pl.Series, feature: dict) -> bool:
    """Whether the schema allows all values of a feature."""
    if feature["kind"] == "categorical":
        return set(values.drop_nulls().unique()) <= set(feature["values"])
    whole = values.dtype.is_integer() or not values.is_nan().any()
    return whole and feature["min"] <= values.min() and values.max() <= feature["max"]


def best_auc(p: np.ndarray) -> float:
    """Expected ROC-AUC of labels drawn from p, scored with p."""
    p = np.sort(p)
    negatives_below = np.cumsum(1 - p) - (1 - p) / 2
    return (p * negatives_below).sum() / (p.sum() * (1 - p).sum())


def best_f1(p: np.ndarray) -> float:
    """Expected F1 of labels drawn from p at the best threshold on p."""
    found = np.cumsum(np.sort(p)[::-1])
    return (2 * found / (np.arange(1, len(p) + 1) + p.sum())).max()
