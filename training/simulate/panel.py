"""A panel: the same users at weekly snapshots, with a history that goes on.

Each week runs in a circle: the log of sessions and orders gives the 38 features, they give the true
probability, it gives the label, and the label decides who orders in the following week. Users lapse,
come back, or leave; whoever leaves makes room for a new account of the same type. So the number of
users is constant.

`truth` is that of one snapshot; the constants below are calibrated so that the population stays close
to it. That needs damping, because in `truth` an order makes further orders likely: more users pause
after an order, and fewer carts come to nothing, than among users of one snapshot.

240,000 users, 8 weeks, seed 7, beside one snapshot of the same date (60,000 users):

| | 2026-10-04 | one snapshot | 2026-11-22 | one snapshot |
|---|---|---|---|---|
| mean true probability | 0.164 | 0.159 | 0.173 | 0.180 |
| ROC-AUC of the truth | 0.861 | 0.852 | 0.864 | 0.860 |
| best F1 of the truth | 0.599 | 0.562 | 0.612 | 0.593 |
| no session in 30 days | 0.287 | 0.279 | 0.280 | 0.269 |
| no session in 90 days | 0.124 | 0.162 | 0.122 | 0.160 |
| no order in 365 days | 0.235 | 0.277 | 0.225 | 0.259 |
| fewer than two orders | 0.357 | 0.418 | 0.342 | 0.393 |
| no cart in 30 days | 0.553 | 0.536 | 0.527 | 0.491 |
| marketing, profile missing | 0.101, 0.040 | 0.102, 0.039 | 0.100, 0.040 | 0.102, 0.039 |
| sessions in 30 days, orders in 365 | 6.7, 6.8 | 7.4, 9.0 | 7.6, 7.4 | 8.6, 10.0 |

99.2 % of the users of a week are those of the week before. The population has not quite settled at the
first date: over a year of weeks the mean probability rises by 0.025 and the ROC-AUC by 0.016, over a
second year by half as much.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from training.simulate.campaign import ContactLists
from training.simulate.climate import Climate, climate
from training.simulate.columns import feature_frame
from training.simulate.label import labelled
from training.simulate.log import SESSION_DAYS, Log, count_windows
from training.simulate.people import (
    HISTORY_DAYS,
    MAX_ACCOUNT_DAYS,
    NEWCOMER,
    BoolArray,
    FloatArray,
    IntArray,
    People,
    draw_kinds,
    draw_people,
    typical,
)
from training.simulate.profile import (
    Profile,
    draw_answers,
    draw_profile,
    missing_values,
    profile_columns,
)
from training.simulate.week import (
    DAYS,
    MESSAGE_COUNTS,
    ORDER_COUNTS,
    SESSION_COUNTS,
    Habits,
    Plans,
    draw_habits,
    draw_messages,
    draw_week,
)
from training.simulate.windows import window_columns

# Part of "same arguments, same bytes": random streams are keyed by (seed, block, week).
BLOCK_USERS = 10_000

# Before the first snapshot: weeks in which sessions alone decide who orders, to have a history to
# start from, and a year in which labels do, so that no feature remembers the start.
STARTING_WEEKS = 13
SETTLING_WEEKS = 52

ACTIVITY_STAYS = 0.9  # of the logarithm of a user's activity, from week to week
ACTIVITY_SPREAD = 0.35  # standard deviation of that logarithm
MARKET_STAYS = 0.5  # of users who shop for something right now, unless they find it
MARKET_STARTS = 0.11
PAUSE_AFTER_ORDER = 0.5
CART_SHIFT = -1.1  # log-odds

# A lapse ends at a rate that follows from `lapse_days` of the type. Besides the orders of lapsed users,
# it ends with their return, or, if it has lasted, with the end of the account: in these shares of it.
RETURN_SHARE = 0.45
LEAVING_SHARE = 0.5
LEAVING_DAYS = 60  # without a session; newcomers leave sooner

# No feature is counted over more weeks. 90 days are 12 weeks and 6 days, and no message is sent on the
# first day of a week.
MESSAGE_WEEKS = 13
# The number of a new account is that of the account before it and this, more than there can be rows.
NEXT_ACCOUNT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Users:
    """The users of a block, one entry [rows] each; days are ordinals of dates."""

    people: People
    habits: Habits
    profile: Profile
    answers: FloatArray  # [rows, 4], as `draw_answers` returns them
    number: IntArray  # of the account
    opened: IntArray  # day
    last_session: IntArray  # day
    activity: FloatArray  # log of the rate of sessions, 0 in ordinary weeks
    in_market: BoolArray  # shopping for something right now
    lapsed: BoolArray
    bought: BoolArray  # in the last week
    messages: IntArray  # [rows, weeks, counts], the newest week first


def draw_panel(
    rows: int, weeks: int, seed: int, as_of: date, drift: float, campaign: ContactLists
) -> Iterator[pl.DataFrame]:
    """Yield the users of a panel: for each block of users, a frame for each week.

    Args:
        rows: Users at each date. The first N are the same for any number of rows.
        weeks: Snapshots, the last one at `as_of`.
        seed: Of all draws.
        as_of: The last date.
        drift: The strength of the shift at the last date, from which the others rise in equal steps.
        campaign: Who is contacted when; the next week follows from what contacted users then do.
    """
    for block, start in enumerate(range(0, rows, BLOCK_USERS)):
        for frame in _Block(block, weeks, seed, as_of, drift, campaign).snapshots():
            yield frame.head(rows - start)


class _Block:
    """Users on their way through the weeks; week 0 ends at the first snapshot."""

    def __init__(
        self, block: int, weeks: int, seed: int, as_of: date, drift: float, campaign: ContactLists
    ) -> None:
        self._key = (seed, block)
        self._weeks = weeks
        self._first = as_of - timedelta(days=DAYS * (weeks - 1))
        self._drift = drift
        self._campaign = campaign
        start = -SETTLING_WEEKS - STARTING_WEEKS
        rng = self._stream(start, 0)
        number = 1 + block * BLOCK_USERS + np.arange(BLOCK_USERS)
        self._users = draw_users(rng, draw_kinds(rng, BLOCK_USERS), number, self._day(start))
        self._sessions, self._orders = Log.empty(SESSION_COUNTS), Log.empty(ORDER_COUNTS)

    def snapshots(self) -> Iterator[pl.DataFrame]:
        """The users at each date."""
        for week in range(-SETTLING_WEEKS - STARTING_WEEKS, -SETTLING_WEEKS):
            self._advance(week, None)
        for week in range(-SETTLING_WEEKS, 0):
            self._snapshot(week)
        for week in range(self._weeks):
            yield self._snapshot(week)

    def _snapshot(self, week: int) -> pl.DataFrame:
        """The users at the end of a week, with labels; their next week follows from these."""
        luck = self._stream(week, 1).random(BLOCK_USERS)
        day = date.fromordinal(self._day(week))
        frame = labelled(self._features(week), self._users.number, day, luck, self._campaign)
        self._advance(week, frame["purchased_next_7d"].to_numpy() > 0)
        return frame

    def _features(self, week: int) -> pl.DataFrame:
        users, today = self._users, self._day(week)
        windows = count_windows(
            self._sessions, self._orders, users.last_session, users.habits.pace, today
        )
        account_days = np.minimum(today - users.opened, MAX_ACCOUNT_DAYS)
        ads = self._sessions.after(today - 30).count(BLOCK_USERS, "ads")
        columns: dict[str, FloatArray | IntArray | pl.Series] = {
            **window_columns(windows),
            **_marketing_columns(users.messages),
            "ad_clicks_last_30d": ads,
            **profile_columns(
                users.profile, account_days, windows.spend_365, self._climate(week).app
            ),
        }
        return feature_frame(columns, missing_values(self._stream(week, 2), users.people))

    def _advance(self, week: int, buys: BoolArray | None) -> None:
        """Live through the week after `week`, in which these users order and no others."""
        rng, start = self._stream(week, 3), self._day(week)
        self._move(rng, start, np.zeros(BLOCK_USERS, np.bool_) if buys is None else buys)
        users, shifts = self._users, self._climate(week + 1)
        plans = Plans(
            comes=(users.opened <= start) & ~users.lapsed,
            registers=users.opened > start,
            opened=users.opened,
            rate=users.people.sessions * np.exp(users.activity),
            in_market=users.in_market,
            buys=buys,
            orders=self._orders.count(BLOCK_USERS),
        )
        shifts = replace(shifts, cart=shifts.cart + CART_SHIFT)
        sessions, orders = draw_week(rng, users.people, users.habits, plans, shifts, start)
        messages = draw_messages(rng, users.answers, 1.0 / MESSAGE_WEEKS)
        messages[plans.registers] = 0
        self._users = replace(
            users,
            last_session=np.maximum(users.last_session, sessions.last_day(BLOCK_USERS)),
            bought=orders.count(BLOCK_USERS) > 0,
            messages=np.concatenate([messages[:, np.newaxis], users.messages[:, :-1]], axis=1),
        )
        end = start + DAYS
        self._sessions = self._sessions.after(end - SESSION_DAYS).then(sessions)
        self._orders = self._orders.after(end - HISTORY_DAYS).then(orders)

    def _move(self, rng: np.random.Generator, start: int, buys: BoolArray) -> None:
        """Who lapses, returns, leaves and arrives, and how active users are in the coming week."""
        users, kind = self._users, self._users.people.kind
        lapsed_share = typical("lapsed", kind)
        ends = 1.0 - np.exp(-DAYS / typical("lapse_days", kind))
        starts = ends * lapsed_share / (1.0 - lapsed_share) + PAUSE_AFTER_ORDER * users.bought
        luck = rng.random(BLOCK_USERS)
        away = users.lapsed & ~buys
        returns = away & (luck < ends * RETURN_SHARE)
        tires = away & ~returns & (luck < ends * (RETURN_SHARE + LEAVING_SHARE))
        leaves = tires & ((start - users.last_session >= LEAVING_DAYS) | (kind == NEWCOMER))
        lapses = ~users.lapsed & ~buys & (luck < starts)

        news = np.sqrt(1.0 - ACTIVITY_STAYS**2) * ACTIVITY_SPREAD * rng.standard_normal(BLOCK_USERS)
        shops_on = np.where(users.in_market & ~users.bought, MARKET_STAYS, MARKET_STARTS)
        self._users = replace(
            users,
            activity=ACTIVITY_STAYS * users.activity + news,
            in_market=rng.random(BLOCK_USERS) < shops_on,
            lapsed=(away & ~returns) | lapses,
        )
        self._replace(rng, np.flatnonzero(leaves), start)

    def _replace(self, rng: np.random.Generator, rows: IntArray, start: int) -> None:
        """New accounts in the place of those who leave."""
        kind, number = self._users.people.kind[rows], self._users.number[rows] + NEXT_ACCOUNT
        opened = start + 1 + rng.integers(0, DAYS, len(rows))
        here = np.zeros(len(rows), np.bool_)
        new = draw_users(rng, kind, number, start)
        _put(self._users, rows, replace(new, opened=opened, lapsed=here))
        self._sessions = self._sessions.without(rows, BLOCK_USERS)
        self._orders = self._orders.without(rows, BLOCK_USERS)

    def _day(self, week: int) -> int:
        return self._first.toordinal() + DAYS * week

    def _climate(self, week: int) -> Climate:
        drift = self._drift * max(week + 1, 0) / self._weeks
        return climate(date.fromordinal(self._day(week)), drift, ((0, DAYS),))

    def _stream(self, week: int, purpose: int) -> np.random.Generator:
        seed, block = self._key
        key = (block, week + SETTLING_WEEKS + STARTING_WEEKS, purpose)
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_users(rng: np.random.Generator, kind: IntArray, number: IntArray, day: int) -> Users:
    """Users of these types as they are on a day, with no sessions, orders and messages to count."""
    rows = len(kind)
    people = draw_people(rng, kind)
    return Users(
        people=people,
        habits=draw_habits(rng, people),
        profile=draw_profile(rng, people),
        answers=draw_answers(rng, people),
        number=number,
        opened=day - people.account_days,
        last_session=day - people.quiet_days,
        activity=ACTIVITY_SPREAD * rng.standard_normal(rows),
        in_market=people.in_market,
        lapsed=people.quiet_days > 0,
        bought=np.zeros(rows, np.bool_),
        messages=np.zeros((rows, MESSAGE_WEEKS, len(MESSAGE_COUNTS)), np.int64),
    )


def _marketing_columns(messages: IntArray) -> dict[str, FloatArray]:
    """The marketing features that are shares of messages, 0 without messages."""
    total = dict(zip(MESSAGE_COUNTS, messages.sum(axis=1).T, strict=True))
    emails, pushes, texts = (np.maximum(total[name], 1) for name in ("emails", "pushes", "texts"))
    return {
        "email_open_rate": total["emails_opened"] / emails,
        "email_click_rate": total["emails_clicked"] / emails,
        "push_click_rate": total["pushes_clicked"] / pushes,
        "sms_click_rate": total["texts_clicked"] / texts,
    }


def _put(old: Any, rows: IntArray, new: Any) -> None:  # noqa: ANN401 - any of the dataclasses
    """Write the entries of `new` into these rows of `old`, in place."""
    for field in fields(old):
        value = getattr(old, field.name)
        if is_dataclass(value):
            _put(value, rows, getattr(new, field.name))
        else:
            value[rows] = getattr(new, field.name)
