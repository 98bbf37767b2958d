"""Sessions, carts and orders of the last 365 days, and the features they give.

Every order is a checkout, every checkout a cart, every cart a session, and all are counted in the
same five windows, so counts always agree. NaN is a quantity that does not exist.
"""

from dataclasses import dataclass

import numpy as np

from training.simulate.climate import Climate
from training.simulate.people import HISTORY_DAYS, FloatArray, IntArray, People, log_odds, sigmoid

# Days ago [start, end), newest first; the bounds follow the features.
WINDOWS = ((0, 7), (7, 30), (30, 60), (60, 90), (90, HISTORY_DAYS))
MOMENTUM_SLOPE = (0.9, 0.6, 0.0, -0.5, -0.9)
SURGE = (0.9, 0.3, 0.0, 0.0, 0.0)  # of users who shop for something right now
MAX_SPEND_USD = 1_000_000.0
MAX_SESSIONS_PER_30_DAYS = 150.0  # keeps every count far inside the range of its feature
MAX_CADENCE_RATIO = 100.0
MAX_SESSION_SECONDS = 14_400.0


@dataclass(frozen=True, slots=True)
class Events:
    """Counts per window [windows, rows], and days since the last session and the orders [rows]."""

    sessions: IntArray
    carts: IntArray  # only the two windows of the last 30 days
    checkouts: IntArray  # as carts
    orders: IntArray
    last_session: FloatArray  # HISTORY_DAYS where there was none
    last_order: FloatArray  # NaN where there was none
    first_order: FloatArray  # as last_order, the oldest within HISTORY_DAYS


def draw_events(rng: np.random.Generator, people: People, climate: Climate) -> Events:
    """The sessions and orders of every user, window by window."""
    rows = len(people.kind)
    sessions, orders, carts, checkouts = [], [], [], []
    last_session, last_order, first_order = (np.full(rows, np.nan) for _ in range(3))
    for index, (window_start, window_end) in enumerate(WINDOWS):
        start = np.maximum(window_start, people.quiet_days).astype(np.float64)
        end = np.maximum(np.minimum(window_end, people.account_days + 1), start)
        visits = _draw_visits(rng, people, climate.sessions[index], index, end - start)
        intent = 0.6 * people.in_market if window_end <= 30 else 0.0
        cart = rng.binomial(visits, sigmoid(people.cart + intent + climate.cart))
        checkout = rng.binomial(cart, sigmoid(people.checkout))
        order = rng.binomial(checkout, sigmoid(people.pay))

        # Visits spread evenly over the window; orders are a random subset of them.
        visited = _newest(rng, visits, start, end)
        later = _newest(rng, order, visited, end)
        bought = np.where(rng.random(rows) * visits < order, visited, later)
        oldest = np.where(order > 1, _oldest(rng, order - 1, bought, end), bought)

        registered = (people.account_days >= window_start) & (people.account_days < window_end)
        seen = np.where(visits > 0, visited, np.where(registered, people.account_days, np.nan))
        last_session = np.where(np.isnan(last_session), seen, last_session)
        last_order = np.where(np.isnan(last_order) & (order > 0), bought, last_order)
        first_order = np.where(order > 0, oldest, first_order)
        sessions.append(visits + registered)
        orders.append(order)
        if window_end <= 30:
            carts.append(cart)
            checkouts.append(checkout)
    return Events(
        sessions=np.stack(sessions),
        carts=np.stack(carts),
        checkouts=np.stack(checkouts),
        orders=np.stack(orders),
        last_session=np.where(np.isnan(last_session), HISTORY_DAYS, np.floor(last_session)),
        last_order=np.floor(last_order),
        first_order=np.floor(first_order),
    )


def behaviour_columns(
    rng: np.random.Generator, people: People, events: Events
) -> dict[str, FloatArray | IntArray]:
    """The twelve behavioural features."""
    rows = len(people.kind)
    recent = events.sessions[:2].sum(axis=0)
    carts = events.carts.sum(axis=0)
    orders = events.orders[:2].sum(axis=0)
    attention = rng.standard_normal(rows)
    bounces = rng.binomial(recent - carts, sigmoid(-0.9 - 0.45 * attention - 0.3 * people.response))
    browsing = recent - bounces
    pages = recent + browsing + rng.poisson(browsing * 3.5 * np.exp(0.4 * attention))
    products = carts + rng.binomial(pages - carts, sigmoid(0.1 + 0.5 * rng.standard_normal(rows)))
    seconds = (20.0 + 32.0 * _ratio(pages, recent)) * np.exp(0.45 * rng.standard_normal(rows))
    wishes = recent * 0.12 * np.exp(0.3 * people.price) * rng.gamma(0.8, 1.0 / 0.8, rows)
    return {
        "sessions_last_7d": events.sessions[0],
        "sessions_last_30d": recent,
        "avg_session_duration": np.round(np.minimum(seconds, MAX_SESSION_SECONDS), 1),
        "pages_viewed": pages,
        "product_views_last_30d": products,
        "searches_last_30d": rng.poisson(pages * 0.12 * rng.gamma(1.5, 1.0 / 1.5, rows)),
        "cart_add_rate": _ratio(carts, recent),
        "cart_abandonment_rate": 1.0 - _ratio(orders, carts),
        "checkout_starts_last_30d": events.checkouts.sum(axis=0),
        "wishlist_adds_last_30d": rng.poisson(wishes),
        "bounce_rate": _ratio(bounces, recent),
        "days_since_last_session": events.last_session.astype(np.int64),
    }


def transaction_columns(
    rng: np.random.Generator, people: People, events: Events, coupon_shift: float
) -> dict[str, FloatArray | IntArray]:
    """The eight transaction features, and `coupon_redemptions`, which depend on orders."""
    rows = len(people.kind)
    recent = events.orders[:4].sum(axis=0)
    older = events.orders[4]
    orders = recent + older
    some = np.maximum(orders, 1)
    # Order values: lognormal around the user's own level, and a Pareto tail for one user in twenty.
    value = people.order_value * np.exp(0.55 * rng.standard_normal(rows) / np.sqrt(some))
    value = value * np.where(rng.random(rows) < 0.05, 1.0 + rng.pareto(2.2, rows), 1.0)
    value = np.round(np.clip(value, 1.0, MAX_SPEND_USD / (some + 1)), 2)
    value = np.minimum(value, 20_000.0).astype(np.float32).astype(np.float64)
    discount = -0.9 + 1.1 * people.price
    discounted = rng.binomial(recent, sigmoid(discount + coupon_shift))
    coupons = rng.binomial(discounted, sigmoid(0.1 + 0.5 * people.response + 0.5 * coupon_shift))
    discounted = discounted + rng.binomial(older, sigmoid(discount))
    refunds = rng.binomial(
        orders, sigmoid(-3.6 + 0.45 * np.log1p(orders) + 0.5 * rng.standard_normal(rows))
    )
    gap_days = np.maximum(events.first_order - events.last_order, 1.0) / np.maximum(orders - 1, 1)
    cadence = np.minimum(events.last_order / gap_days, MAX_CADENCE_RATIO)
    extra_items = rng.poisson(orders * 0.9 * np.exp(0.5 * rng.standard_normal(rows)))
    return {
        "orders_last_90d": recent,
        "orders_last_365d": orders,
        "avg_order_value": np.where(orders > 0, value, np.nan),
        "total_spend_last_365d": np.round(orders * value, 2),
        "refund_rate": _ratio(refunds, orders),
        "days_since_last_purchase": events.last_order,
        "avg_items_per_order": 1.0 + _ratio(extra_items, orders),
        "discounted_order_share": _ratio(discounted, orders),
        "coupon_redemptions": coupons,
        "purchase_cadence_ratio": np.where(orders > 1, cadence, np.nan),
    }


def temporal_columns(
    rng: np.random.Generator, people: People, events: Events
) -> dict[str, FloatArray | IntArray]:
    """The temporal features except `purchase_cadence_ratio`."""
    rows = len(people.kind)
    month, quarter = events.sessions[:2].sum(axis=0), events.sessions[:4].sum(axis=0)
    weekend = sigmoid(log_odds(np.full(rows, 0.31)) + 0.4 * rng.standard_normal(rows))
    evening = sigmoid(-0.5 + 0.5 * rng.standard_normal(rows))
    return {
        "weekend_activity_ratio": _ratio(rng.binomial(quarter, weekend), quarter),
        "evening_session_share": _ratio(rng.binomial(quarter, evening), quarter),
        "recency_score": np.exp(-events.last_session / 30.0),
        "activity_trend": np.log((month + 1.0) / (events.sessions[2] + 1.0)),
    }


def _draw_visits(
    rng: np.random.Generator, people: People, shift: float, index: int, days: FloatArray
) -> IntArray:
    rate = people.sessions * np.exp(
        MOMENTUM_SLOPE[index] * people.momentum + SURGE[index] * people.in_market + shift
    )
    rate = np.minimum(rate * rng.gamma(4.0, 0.25, len(days)), MAX_SESSIONS_PER_30_DAYS)
    return rng.poisson(rate * days / 30.0)


def _newest(
    rng: np.random.Generator, count: IntArray, start: FloatArray, end: FloatArray
) -> FloatArray:
    # The smallest of `count` uniform numbers of days ago in [start, end).
    days = start + (end - start) * (1.0 - rng.random(len(count)) ** (1.0 / np.maximum(count, 1)))
    return np.minimum(days, np.maximum(end - 0.5, start))


def _oldest(
    rng: np.random.Generator, count: IntArray, start: FloatArray, end: FloatArray
) -> FloatArray:
    # The largest of them.
    days = start + (end - start) * rng.random(len(count)) ** (1.0 / np.maximum(count, 1))
    return np.minimum(days, np.maximum(end - 0.5, start))


def _ratio(part: IntArray, whole: IntArray) -> FloatArray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
