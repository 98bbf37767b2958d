"""The simulated users: seven overlapping types and the hidden traits behind every feature.

Nothing here is written to a file. A type only shifts the means of widely spread traits, so that types
overlap in every feature.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HISTORY_DAYS = 365
MAX_ACCOUNT_DAYS = 7_300


@dataclass(frozen=True, slots=True)
class UserType:
    """The typical user of one type.

    `sessions` are per 30 days while active; `cart`, `checkout` and `pay` are shares of sessions, carts
    and checkouts; `lapse_days` is the mean time since a lapsed user went quiet; `price` and `response`
    (price sensitivity, response to marketing) are in standard deviations.
    """

    name: str
    share: float
    sessions: float
    cart: float
    checkout: float
    pay: float
    lapsed: float
    lapse_days: float
    price: float
    response: float
    order_value: float
    account_days: float
    refusal: float
    guest: float


# Chosen for plausibility: at the default date the share of users who ordered within the last seven
# days comes out close to the 18 % who order within the next seven. `refusal` and `guest` average to
# 10 % and 4 % over the shares.
USER_TYPES = (
    UserType("dormant", 0.26, 2.0, 0.12, 0.40, 0.72, 0.80, 170, 0.0, -0.9, 42, 1100, 0.115, 0.030),
    UserType(
        "window shopper", 0.16, 10.0, 0.08, 0.30, 0.65, 0.10, 40, 0.2, 0.0, 48, 700, 0.115, 0.040
    ),
    UserType("deal seeker", 0.14, 9.0, 0.28, 0.52, 0.80, 0.10, 45, 1.3, 0.8, 34, 800, 0.065, 0.020),
    UserType("occasional", 0.19, 5.0, 0.18, 0.52, 0.82, 0.20, 60, 0.0, -0.2, 55, 900, 0.100, 0.060),
    UserType("loyal", 0.13, 16.0, 0.27, 0.60, 0.86, 0.03, 30, -0.1, 0.6, 52, 1600, 0.065, 0.010),
    UserType(
        "big spender", 0.05, 8.0, 0.24, 0.62, 0.88, 0.06, 40, -0.8, 0.2, 190, 1200, 0.110, 0.030
    ),
    UserType("newcomer", 0.07, 7.0, 0.20, 0.42, 0.78, 0.15, 25, 0.3, 0.3, 44, 40, 0.110, 0.130),
)
NEWCOMER = 6


@dataclass(frozen=True, slots=True)
class People:
    """Hidden traits, one array [rows] each; days count back from the snapshot."""

    kind: IntArray
    sessions: FloatArray  # expected per 30 days while active
    cart: FloatArray  # log-odds of a cart in a session
    checkout: FloatArray  # log-odds of a checkout for a cart
    pay: FloatArray  # log-odds of an order for a checkout
    price: FloatArray  # price sensitivity
    response: FloatArray  # answers to marketing
    order_value: FloatArray  # typical order, USD
    momentum: FloatArray  # slow rise or fall of activity, log ratio per month
    in_market: BoolArray  # shopping for something right now
    account_days: IntArray
    quiet_days: IntArray  # no session was later than this many days ago
    refuses: BoolArray  # not to be tracked in marketing channels
    guest: BoolArray  # no profile


def sigmoid(x: FloatArray) -> FloatArray:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def log_odds(share: FloatArray) -> FloatArray:
    """The inverse of the logistic function."""
    return np.log(share) - np.log1p(-share)


def draw_kinds(rng: np.random.Generator, rows: int) -> IntArray:
    """The types of `rows` users, as indices into `USER_TYPES`."""
    shares = np.array([kind.share for kind in USER_TYPES])
    kind = np.searchsorted(np.cumsum(shares)[:-1], rng.random(rows), side="right")
    return kind.astype(np.int64)


def typical(field: str, kind: IntArray) -> FloatArray:
    """A number of `USER_TYPES` for users of these types, float64 [rows]."""
    return np.array([getattr(entry, field) for entry in USER_TYPES], dtype=np.float64)[kind]


def draw_people(rng: np.random.Generator, kind: IntArray) -> People:
    """The hidden traits of users of these types."""
    rows = len(kind)

    def of(field: str) -> FloatArray:
        return typical(field, kind)

    active, intent, price, response, spend = rng.standard_normal((5, rows))
    account_days = _account_days(rng, kind, of("account_days"))
    lapsed = rng.random(rows) < of("lapsed")
    quiet = np.where(lapsed, 5.0 + rng.exponential(of("lapse_days")), 0.0)
    quiet = np.where(quiet < account_days, quiet, rng.random(rows) * account_days)
    return People(
        kind=kind,
        sessions=of("sessions") * np.exp(0.6 * active),
        cart=log_odds(of("cart")) + 0.4 * intent + 0.1 * active,
        checkout=log_odds(of("checkout")) + 0.3 * intent,
        pay=log_odds(of("pay")) + 0.4 * rng.standard_normal(rows),
        price=of("price") + 0.8 * price,
        response=of("response") + 0.25 * active + 0.75 * response,
        order_value=of("order_value") * np.exp(0.65 * spend - 0.1 * price),
        momentum=0.35 * rng.standard_normal(rows),
        in_market=rng.random(rows) < 0.18,
        account_days=account_days,
        quiet_days=np.where(lapsed, quiet, 0.0).astype(np.int64),
        refuses=rng.random(rows) < of("refusal"),
        guest=rng.random(rows) < of("guest"),
    )


def _account_days(rng: np.random.Generator, kind: IntArray, typical: FloatArray) -> IntArray:
    rows = len(kind)
    settled = 45.0 + typical * np.exp(0.7 * rng.standard_normal(rows))
    fresh = rng.exponential(typical)
    days = np.where(kind == NEWCOMER, np.minimum(fresh, 180.0), settled)
    return np.minimum(days, MAX_ACCOUNT_DAYS).astype(np.int64)
