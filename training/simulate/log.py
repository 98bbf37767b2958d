"""Logs of sessions and orders, a row for each event, and the counts over windows that they give.

A window is a sum over the events of its days, so the windows of successive weeks overlap as those of a
real shop do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.simulate.history import MAX_SPEND_USD
from training.simulate.people import HISTORY_DAYS, BoolArray, FloatArray, IntArray
from training.simulate.windows import Windows, ratio

Int32Array = npt.NDArray[np.int32]

SESSION_DAYS = 90
"""No feature looks further back at sessions, but for the day of the last one."""


@dataclass(frozen=True, slots=True)
class Log:
    """Events in the order of their days.

    Attributes:
        user: Whose, as the row of the user; the row after the last is nobody's.
        day: When, as the ordinal of the date.
        adds: What each adds to the counts of the user.
    """

    user: Int32Array
    day: Int32Array
    adds: Mapping[str, Int32Array]

    @classmethod
    def empty(cls, counts: Iterable[str]) -> "Log":
        """No events, of which these are counted."""
        nothing = np.zeros(0, np.int32)
        return cls(nothing, nothing, dict.fromkeys(counts, nothing))

    def after(self, day: int) -> "Log":
        """The events later than a day."""
        first = np.searchsorted(self.day, day, side="right")
        adds = {name: values[first:] for name, values in self.adds.items()}
        return Log(self.user[first:], self.day[first:], adds)

    def then(self, later: "Log") -> "Log":
        """These events and, after them, later ones."""
        adds = {name: np.concatenate([self.adds[name], later.adds[name]]) for name in self.adds}
        user = np.concatenate([self.user, later.user])
        return Log(user, np.concatenate([self.day, later.day]), adds)

    def count(self, rows: int, name: str | None = None) -> IntArray:
        """How many events each user has, or the sum of what they add; int64 [rows]."""
        weights = None if name is None else self.adds[name]
        return np.bincount(self.user, weights, minlength=rows)[:rows].astype(np.int64)

    def last_day(self, rows: int) -> IntArray:
        """The day of each user's last event, 0 without events; int64 [rows]."""
        return _written(rows, self.user, self.day)

    def first_day(self, rows: int) -> IntArray:
        """The day of each user's first event, 0 without events; int64 [rows]."""
        return _written(rows, self.user[::-1], self.day[::-1])

    def without(self, users: IntArray, rows: int) -> "Log":
        """The log in which the events of some users are nobody's; `rows` is the number of rows."""
        row = np.arange(rows + 1, dtype=np.int32)
        row[users] = rows
        return replace(self, user=row[self.user])


def log_of(user: IntArray, day: IntArray, adds: Mapping[str, IntArray | BoolArray]) -> Log:
    """A log of events in any order."""
    order = np.argsort(day, kind="stable")
    kept = {name: values[order].astype(np.int32) for name, values in adds.items()}
    return Log(user[order].astype(np.int32), day[order].astype(np.int32), kept)


def count_windows(
    sessions: Log, orders: Log, last_session: IntArray, pace: FloatArray, today: int
) -> Windows:
    """What a shop counts about its users at the end of a day.

    Args:
        sessions: Those of the last `SESSION_DAYS`.
        orders: Those of the last `HISTORY_DAYS`.
        last_session: The day of each user's last session [rows].
        pace: How much longer each user stays on a page than others [rows].
        today: The last day that counts.
    """
    rows = len(pace)
    month = sessions.after(today - 30)
    quarter = orders.after(today - 90)
    month_sessions, pages = month.count(rows), month.count(rows, "pages")
    year_orders = orders.count(rows)
    spend = np.minimum(orders.count(rows, "cents") / 100.0, MAX_SPEND_USD)
    last, first = orders.last_day(rows), orders.first_day(rows)
    return Windows(
        sessions_7=month.after(today - 7).count(rows),
        sessions_30=month_sessions,
        sessions_30_to_60=sessions.after(today - 60).count(rows) - month_sessions,
        sessions_90=sessions.count(rows),
        weekend_sessions_90=sessions.count(rows, "weekend"),
        evening_sessions_90=sessions.count(rows, "evening"),
        bounces_30=month.count(rows, "bounces"),
        carts_30=month.count(rows, "carts"),
        checkouts_30=month.count(rows, "checkouts"),
        pages_30=pages,
        products_30=month.count(rows, "products"),
        searches_30=month.count(rows, "searches"),
        wishes_30=month.count(rows, "wishes"),
        session_seconds=(20.0 + 32.0 * ratio(pages, month_sessions)) * pace,
        last_session=np.minimum(today - last_session, HISTORY_DAYS).astype(np.float64),
        orders_30=quarter.after(today - 30).count(rows),
        orders_90=quarter.count(rows),
        orders_365=year_orders,
        coupons_90=quarter.count(rows, "coupons"),
        discounted_365=orders.count(rows, "discounts"),
        refunds_365=orders.count(rows, "refunds"),
        extra_items_365=orders.count(rows, "extra_items"),
        order_value=ratio(spend, year_orders),
        spend_365=spend,
        last_order=np.where(year_orders > 0, today - last, np.nan),
        first_order=np.where(year_orders > 0, today - first, np.nan),
    )


def _written(rows: int, user: Int32Array, day: Int32Array) -> IntArray:
    days = np.zeros(rows + 1, np.int64)
    # NOTE: of several values for a row, NumPy keeps the last one.
    days[user] = day
    return days[:rows]
