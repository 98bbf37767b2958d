"""Sessions, carts and orders of the last 365 days before one snapshot, and what is counted of them.

Every order is a checkout, every checkout a cart, every cart a session, and all are counted in the
same five windows, so counts always agree. NaN is a quantity that does not exist.
"""

from dataclasses import dataclass

import numpy as np

from training.simulate.climate import Climate
from training.simulate.people import HISTORY_DAYS, FloatArray, IntArray, People, log_odds, sigmoid
from training.simulate.windows import Windows, ratio

# Days ago [start, end), newest first; the bounds follow the features.
WINDOWS = ((0, 7), (7, 30), (30, 60), (60, 90), (90, HISTORY_DAYS))
MOMENTUM_SLOPE = (0.9, 0.6, 0.0, -0.5, -0.9)
SURGE = (0.9, 0.3, 0.0, 0.0, 0.0)  # of users who shop for something right now
MAX_SPEND_USD = 1_000_000.0
MAX_SESSIONS_PER_30_DAYS = 150.0  # keeps every count far inside the range of its feature
MAX_ORDER_USD = 20_000.0
PAGES_PER_SESSION = 3.5  # beyond the first two of a session that is no bounce
SEARCHES_PER_PAGE = 0.12
WISHES_PER_SESSION = 0.12
EXTRA_ITEMS_PER_ORDER = 0.9
WEEKEND_LOG_ODDS = log_odds(np.full(1, 0.31))


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


def draw_windows(
    rng: np.random.Generator, people: People, events: Events, coupon_shift: float
) -> Windows:
    """What a shop counts about users with these events."""
    rows = len(people.kind)
    month = events.sessions[:2].sum(axis=0)
    quarter = events.sessions[:4].sum(axis=0)
    orders_90 = events.orders[:4].sum(axis=0)
    older = events.orders[4]
    orders = orders_90 + older
    carts = events.carts.sum(axis=0)

    some = np.maximum(orders, 1)
    # Order values: lognormal around the user's own level, and a Pareto tail for one user in twenty.
    value = people.order_value * np.exp(0.55 * rng.standard_normal(rows) / np.sqrt(some))
    value = value * np.where(rng.random(rows) < 0.05, 1.0 + rng.pareto(2.2, rows), 1.0)
    value = np.round(np.clip(value, 1.0, MAX_SPEND_USD / (some + 1)), 2)
    value = np.minimum(value, MAX_ORDER_USD).astype(np.float32).astype(np.float64)
    discount = discount_log_odds(people)
    discounted = rng.binomial(orders_90, sigmoid(discount + coupon_shift))
    coupons = rng.binomial(discounted, sigmoid(coupon_log_odds(people, coupon_shift)))
    discounted = discounted + rng.binomial(older, sigmoid(discount))
    refunds = rng.binomial(
        orders, sigmoid(refund_log_odds(orders) + 0.5 * rng.standard_normal(rows))
    )
    extra_items = rng.poisson(
        orders * EXTRA_ITEMS_PER_ORDER * np.exp(0.5 * rng.standard_normal(rows))
    )

    attention = rng.standard_normal(rows)
    bounces = rng.binomial(month - carts, sigmoid(bounce_log_odds(people, attention)))
    browsing = month - bounces
    more = browsing * PAGES_PER_SESSION * np.exp(0.4 * attention)
    pages = month + browsing + rng.poisson(more)
    products = carts + rng.binomial(pages - carts, sigmoid(0.1 + 0.5 * rng.standard_normal(rows)))
    pace = np.exp(0.45 * rng.standard_normal(rows))
    fond_of_lists = np.exp(0.3 * people.price) * rng.gamma(0.8, 1.0 / 0.8, rows)
    searches = rng.poisson(pages * SEARCHES_PER_PAGE * rng.gamma(1.5, 1.0 / 1.5, rows))
    wishes = rng.poisson(month * WISHES_PER_SESSION * fond_of_lists)

    weekend = sigmoid(WEEKEND_LOG_ODDS + 0.4 * rng.standard_normal(rows))
    evening = sigmoid(-0.5 + 0.5 * rng.standard_normal(rows))
    return Windows(
        sessions_7=events.sessions[0],
        sessions_30=month,
        sessions_30_to_60=events.sessions[2],
        sessions_90=quarter,
        weekend_sessions_90=rng.binomial(quarter, weekend),
        evening_sessions_90=rng.binomial(quarter, evening),
        bounces_30=bounces,
        carts_30=carts,
        checkouts_30=events.checkouts.sum(axis=0),
        pages_30=pages,
        products_30=products,
        searches_30=searches,
        wishes_30=wishes,
        session_seconds=(20.0 + 32.0 * ratio(pages, month)) * pace,
        last_session=events.last_session,
        orders_30=events.orders[:2].sum(axis=0),
        orders_90=orders_90,
        orders_365=orders,
        coupons_90=coupons,
        discounted_365=discounted,
        refunds_365=refunds,
        extra_items_365=extra_items,
        order_value=value,
        spend_365=np.round(orders * value, 2),
        last_order=events.last_order,
        first_order=events.first_order,
    )


def discount_log_odds(people: People) -> FloatArray:
    """That an order has a discount, in ordinary times."""
    return -0.9 + 1.1 * people.price


def coupon_log_odds(people: People, shift: float) -> FloatArray:
    """That the discount of an order is a coupon."""
    return 0.1 + 0.5 * people.response + 0.5 * shift


def refund_log_odds(orders: IntArray) -> FloatArray:
    """That an order is refunded, for a typical user with so many orders a year."""
    return -3.6 + 0.45 * np.log1p(orders)


def bounce_log_odds(people: People, attention: FloatArray) -> FloatArray:
    """That a session without a cart has a single page."""
    return -0.9 - 0.45 * attention - 0.3 * people.response


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
