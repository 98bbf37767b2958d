"""One week of sessions, orders and messages, and the habits that they follow.

Sessions come at random, and each may lead to a cart, a checkout and an order. Of such sessions, those
with an order and the others are independent (thinning of a Poisson process). So a week with an order,
or one without, differs from any other week in its orders alone.
"""

from dataclasses import dataclass

import numpy as np

from training.simulate.climate import Climate
from training.simulate.history import (
    EXTRA_ITEMS_PER_ORDER,
    MAX_ORDER_USD,
    MAX_SESSIONS_PER_30_DAYS,
    PAGES_PER_SESSION,
    SEARCHES_PER_PAGE,
    SURGE,
    WEEKEND_LOG_ODDS,
    WISHES_PER_SESSION,
    bounce_log_odds,
    coupon_log_odds,
    discount_log_odds,
    refund_log_odds,
)
from training.simulate.log import Log, log_of
from training.simulate.people import BoolArray, FloatArray, IntArray, People, sigmoid

DAYS = 7
MESSAGES = {"emails": 25.0, "pushes": 19.0, "texts": 5.0}  # in 90 days, as at one snapshot
SESSION_COUNTS = (
    *("bounces", "carts", "checkouts", "pages", "products"),
    *("searches", "wishes", "ads", "weekend", "evening"),
)
MESSAGE_COUNTS = (
    *("emails", "emails_opened", "emails_clicked"),
    *("pushes", "pushes_clicked", "texts", "texts_clicked"),
)
ORDER_COUNTS = ("cents", "discounts", "coupons", "refunds", "extra_items")


@dataclass(frozen=True, slots=True)
class Habits:
    """What users keep doing in the same way, one array [rows] each."""

    attention: FloatArray  # more pages, fewer bounces
    products: FloatArray  # share of pages that show a product
    searches: FloatArray  # times what is usual
    wishes: FloatArray  # times what is usual
    pace: FloatArray  # time on a page, times what is usual
    luxury: FloatArray  # order value, times what is usual
    extra_items: FloatArray  # per order
    refunds: FloatArray  # log-odds
    weekend: FloatArray  # share of sessions
    evening: FloatArray  # share of sessions
    ads: FloatArray  # share of sessions that a paid ad led to


@dataclass(frozen=True, slots=True)
class Plans:
    """Who may come in a week, one array [rows] each.

    Attributes:
        comes: Users who have an account at the start of the week and have not lapsed.
        registers: Users who open their account during the week.
        opened: The day of the account.
        rate: Expected sessions in 30 days.
        in_market: Users who shop for something right now.
        buys: Users who order during the week, no others; None if the sessions decide.
        orders: Of the last year.
    """

    comes: BoolArray
    registers: BoolArray
    opened: IntArray
    rate: FloatArray
    in_market: BoolArray
    buys: BoolArray | None
    orders: IntArray


def draw_habits(rng: np.random.Generator, people: People) -> Habits:
    """The habits of people."""
    rows = len(people.kind)
    ads = 0.5 * np.exp(0.35 * people.response) * rng.gamma(0.7, 1.0 / 0.7, rows)
    return Habits(
        attention=rng.standard_normal(rows),
        products=sigmoid(0.1 + 0.5 * rng.standard_normal(rows)),
        searches=rng.gamma(1.5, 1.0 / 1.5, rows),
        wishes=np.exp(0.3 * people.price) * rng.gamma(0.8, 1.0 / 0.8, rows),
        pace=np.exp(0.45 * rng.standard_normal(rows)),
        luxury=np.where(rng.random(rows) < 0.05, 1.0 + rng.pareto(2.2, rows), 1.0),
        extra_items=EXTRA_ITEMS_PER_ORDER * np.exp(0.5 * rng.standard_normal(rows)),
        refunds=0.5 * rng.standard_normal(rows),
        weekend=sigmoid(WEEKEND_LOG_ODDS + 0.4 * rng.standard_normal(rows)),
        evening=sigmoid(-0.5 + 0.5 * rng.standard_normal(rows)),
        ads=np.minimum(ads / np.sqrt(people.sessions), 1.0),
    )


def draw_week(
    rng: np.random.Generator,
    people: People,
    habits: Habits,
    plans: Plans,
    shifts: Climate,
    start: int,
) -> tuple[Log, Log]:
    """The sessions and the orders of the seven days after day `start`."""
    intent = 0.6 * plans.in_market + shifts.cart
    cart = sigmoid(people.cart + intent)
    checkout, pay = sigmoid(people.checkout), sigmoid(people.pay)
    order = cart * checkout * pay
    orders, others = _draw_sessions(rng, plans, shifts.sessions[0], order)

    user = np.repeat(np.arange(len(order)), orders + others)
    events = len(user)
    first = np.cumsum(orders + others) - (orders + others)
    ordered = np.arange(events) - first[user] < orders[user]
    in_cart = ordered | (rng.random(events) < (cart * (1.0 - checkout * pay) / (1.0 - order))[user])
    at_checkout = ordered | (
        in_cart & (rng.random(events) < (checkout * (1.0 - pay) / (1.0 - checkout * pay))[user])
    )
    weekend, day = _draw_days(rng, habits.weekend[user], start)
    day = np.where(plans.registers[user], plans.opened[user], day)
    weekend = np.where(plans.registers[user], _is_weekend(day), weekend)

    bounce = sigmoid(bounce_log_odds(people, habits.attention))
    bounces = ~in_cart & (rng.random(events) < bounce[user])
    more = PAGES_PER_SESSION * np.exp(0.4 * habits.attention)
    pages = np.where(bounces, 1, 2 + rng.poisson(more[user]))
    counts = {
        "bounces": bounces,
        "carts": in_cart,
        "checkouts": at_checkout,
        "pages": pages,
        "products": in_cart + rng.binomial(pages - in_cart, habits.products[user]),
        "searches": rng.poisson(pages * SEARCHES_PER_PAGE * habits.searches[user]),
        "wishes": rng.poisson(WISHES_PER_SESSION * habits.wishes[user]),
        "ads": rng.random(events) < habits.ads[user],
        "weekend": weekend,
        "evening": rng.random(events) < habits.evening[user],
    }
    basket = _draw_orders(rng, people, habits, plans, shifts.coupon, user[ordered])
    return log_of(user, day, counts), log_of(user[ordered], day[ordered], basket)


def _draw_sessions(
    rng: np.random.Generator, plans: Plans, shift: float, order: FloatArray
) -> tuple[IntArray, IntArray]:
    """How many sessions with and without an order each user has."""
    rows = len(order)
    rate = plans.rate * np.exp(SURGE[0] * plans.in_market + shift) * rng.gamma(4.0, 0.25, rows)
    rate = np.minimum(rate, MAX_SESSIONS_PER_30_DAYS) * DAYS / 30.0
    if plans.buys is None:
        orders = rng.poisson(np.where(plans.comes, rate * order, 0.0))
    else:
        # The first order is known to come within the week; its time then has this distribution.
        wanted = np.maximum(rate * order, 1e-9)
        waited = -np.log1p(rng.random(rows) * np.expm1(-wanted))
        more = rng.poisson(np.maximum(wanted - waited, 0.0))
        orders = np.where(plans.buys, 1 + more, 0)
    others = rng.poisson(np.where(plans.comes, rate * (1.0 - order), 0.0))
    at_once = rng.random(rows) < order
    orders = np.where(plans.registers, at_once, orders)
    others = np.where(plans.registers, ~at_once, others)
    return orders, others


def _draw_days(
    rng: np.random.Generator, weekend_share: FloatArray, start: int
) -> tuple[BoolArray, IntArray]:
    """Whether each session is at a weekend, and its day."""
    events = len(weekend_share)
    days = start + 1 + np.arange(DAYS)
    free, other = days[_is_weekend(days)], days[~_is_weekend(days)]
    weekend = rng.random(events) < weekend_share
    at = rng.random(events)
    return weekend, np.where(
        weekend,
        free[(at * len(free)).astype(np.int64)],
        other[(at * len(other)).astype(np.int64)],
    )


def _is_weekend(day: IntArray) -> BoolArray:
    return (day - 1) % DAYS >= 5  # day 1 is a Monday


def _draw_orders(
    rng: np.random.Generator,
    people: People,
    habits: Habits,
    plans: Plans,
    coupon_shift: float,
    user: IntArray,
) -> dict[str, IntArray | BoolArray]:
    events = len(user)
    value = (people.order_value * habits.luxury)[user]
    value = value * np.exp(0.55 * rng.standard_normal(events) - 0.15)
    discount = sigmoid(discount_log_odds(people) + coupon_shift)
    discounts = rng.random(events) < discount[user]
    coupon = sigmoid(coupon_log_odds(people, coupon_shift))
    refund = sigmoid(refund_log_odds(plans.orders) + habits.refunds)
    return {
        "cents": np.round(100.0 * np.clip(value, 1.0, MAX_ORDER_USD)).astype(np.int64),
        "discounts": discounts,
        "coupons": discounts & (rng.random(events) < coupon[user]),
        "refunds": rng.random(events) < refund[user],
        "extra_items": rng.poisson(habits.extra_items[user]),
    }


def draw_messages(rng: np.random.Generator, answers: FloatArray, share: float) -> IntArray:
    """What is sent and answered in a share of 90 days, as `MESSAGE_COUNTS`; int64 [rows, counts].

    Args:
        rng: Where the draws come from.
        answers: As `draw_answers` returns them, float64 [rows, 4].
        share: Of the 90 days.
    """
    rows = len(answers)
    emails, pushes, texts = (rng.poisson(sent * share, rows) for sent in MESSAGES.values())
    opened = rng.binomial(emails, answers[:, 0])
    clicked = rng.binomial(opened, answers[:, 1])
    pushed = rng.binomial(pushes, answers[:, 2])
    texted = rng.binomial(texts, answers[:, 3])
    return np.stack([emails, opened, clicked, pushes, pushed, texts, texted], axis=1)
