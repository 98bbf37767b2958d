"""What weekly tests on simulated users teach, where the true effect of every contact is known.

Usage: python -m benchmarks.campaigns
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from benchmarks.contenders import BUNDLE
from engine import load_bundle
from engine.activate.arms import CONTROL
from engine.bundle.manifest import BANDS
from engine.scorer import Scorer
from training.backtest.effects import SIGNIFICANCE, differences, enough_users, holm
from training.backtest.policy import CellEffects, best_choices, cell_effects
from training.backtest.units import Names, Units
from training.simulate import SimulateOptions, simulate
from training.simulate.uplift import contacted_probability

USERS = 60_000
TESTS = 8
SEED = 9  # other users than those of the committed bundle
REPETITIONS = 200

# What an order earns and a contact costs, in the currency of the orders. An offer's discount counts as
# part of its cost.
MARGIN = 0.30
COSTS = {CONTROL: 0.0, "offer": 0.10, "reminder": 0.02}
# Of the users of a test: the playbook's default, the most that it allows, and as many as in each arm.
CONTROL_SHARES = (0.05, 0.10, 1 / 3)

NULL_CELLS = 100
NULL_REPETITIONS = 1_000


@dataclass(frozen=True, slots=True)
class Users:
    """Simulated users, each row a user at a date.

    Attributes:
        names: What weeks, arms and segments are called.
        week: The test, a position in `names.campaigns`, int64 [users].
        cell: Segment and band, int64 [users].
        score: The purchase probability of the bundle, float64 [users].
        value: What an order earns, float64 [users].
        truth: The true probability of an order in each arm of `names`, float64 [arms, users].
    """

    names: Names
    week: np.ndarray
    cell: np.ndarray
    score: np.ndarray
    value: np.ndarray
    truth: np.ndarray

    @property
    def gains(self) -> np.ndarray:
        """The true incremental profit of each arm, float64 [arms, users]."""
        costs = np.array([COSTS[arm] for arm in self.names.arms])[:, np.newaxis]
        return self.value * (self.truth - self.truth[0]) - costs

    @property
    def cells(self) -> int:
        """How many segments and bands there are together."""
        return len(self.names.segments) * len(BANDS)

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of each cell, 0 without users; float64 [cells]."""
        users = np.bincount(self.cell, minlength=self.cells)
        return np.bincount(self.cell, values, self.cells) / np.maximum(users, 1)

    def __getitem__(self, rows: np.ndarray) -> "Users":
        """Some of the users, by a mask."""
        columns = (self.week[rows], self.cell[rows], self.score[rows], self.value[rows])
        return Users(self.names, *columns, self.truth[:, rows])


def users_of(frame: pl.DataFrame, scorer: Scorer) -> Users:
    """Simulated users with their truth, scored."""
    scores = scorer.score(frame)
    weeks = frame["snapshot_date"].unique().sort()
    segments = scores.select("segment_id", "segment_name").unique().sort("segment_id")
    names = Names(tuple(map(str, weeks)), tuple(COSTS), dict(segments.rows()))
    uncontacted = frame["true_probability"].to_numpy()
    arms = [contacted_probability(frame, uncontacted, arm) for arm in names.arms[1:]]
    orders = frame["avg_order_value"].cast(pl.Float64)
    return Users(
        names=names,
        week=_places(frame["snapshot_date"], weeks),
        cell=_places(scores["segment_id"], segments["segment_id"]) * len(BANDS)
        + _places(scores["propensity_band"], pl.Series(BANDS)),
        score=scores["purchase_probability"].cast(pl.Float64).to_numpy(),
        value=MARGIN * orders.fill_null(orders.mean()).to_numpy(),
        truth=np.stack([uncontacted, *arms]),
    )


def _places(values: pl.Series, known: pl.Series) -> np.ndarray:
    return values.replace_strict(known, range(len(known)), return_dtype=pl.Int64).to_numpy()


# Policies: an arm for each user


def policies(users: Users) -> dict[str, np.ndarray]:
    """Policies that learn from no test; an arm for each user, int64 [users]."""
    gains = users.gains
    single = int(gains.mean(axis=1).argmax())
    rank = np.argsort(np.argsort(-users.score, kind="stable"), kind="stable")
    by_cell = np.array([users.means(gain) for gain in gains]).argmax(axis=0)
    return {
        "nobody": np.zeros(len(rank), np.int64),
        "everybody, best single arm": np.full(len(rank), single),
        **{
            f"highest {share:.0%} of scores, best single arm": single * (rank < share * len(rank))
            for share in (0.05, 0.20, 0.50)
        },
        "best arm of each segment and band, by the truth": by_cell[users.cell],
        "best arm of each user, by the truth": gains.argmax(axis=0),
    }


def learned(effects: CellEffects, worth: float) -> np.ndarray:
    """The arm of each cell that tests recommend where an order earns `worth`, int64 [cells]."""
    return chosen(effects.shrunken, worth)


def known(tests: Users, worth: float) -> np.ndarray:
    """The arm of each cell that tests without any chance would recommend, int64 [cells]."""
    return chosen(np.array([tests.means(arm - tests.truth[0]) for arm in tests.truth[1:]]), worth)


def chosen(effects: np.ndarray, worth: float) -> np.ndarray:
    """The most profitable arm of each cell by the effects on purchases, float64 [arms, cells]."""
    costs = np.array(list(COSTS.values()))[1:, np.newaxis]
    return best_choices(worth * effects - costs)


def profit_of(users: Users, arm: np.ndarray) -> float:
    """The true incremental profit of a policy per 1,000 users."""
    return float(np.take_along_axis(users.gains, arm[np.newaxis], axis=0).mean() * 1_000)


# Tests: arms and orders drawn from the truth, again and again


def drawn(rng: np.random.Generator, users: Users, control_share: float) -> Units:
    """One test a week, in which the other arms share equally what the control group leaves."""
    arms, rows = users.truth.shape
    limits = control_share + (1.0 - control_share) / (arms - 1) * np.arange(arms - 1)
    arm = np.searchsorted(limits, rng.random(rows), side="right")
    probability = np.take_along_axis(users.truth, arm[np.newaxis], axis=0)[0]
    return Units(
        users.names,
        campaign=users.week,
        arm=arm,
        cell=users.cell,
        probability=users.score,
        ids=pl.int_range(rows, eager=True),
        outcomes={"purchase": (rng.random(rows) < probability).astype(np.float64)},
    )


def covered(units: Units, users: Users) -> np.ndarray:
    """Which 95 % intervals hold the true effect of their cell, Boolean [intervals]."""
    found = units.moments("purchase")
    inside = []
    for arm in range(1, len(users.truth)):
        enough = enough_users(found[arm], found[0])
        effect = differences(found[arm][enough], found[0][enough])
        true = users.means(users.truth[arm] - users.truth[0])[enough.ravel()]
        inside.append((effect.low <= true) & (true <= effect.high))
    return np.concatenate(inside)


def without_effect(users: Users) -> Users:
    """The same users in `NULL_CELLS` cells at random, with one arm that changes nothing."""
    segments = {number: str(number) for number in range(NULL_CELLS // len(BANDS))}
    names = Names(users.names.campaigns, users.names.arms[:2], segments)
    cell = np.random.default_rng(SEED).integers(0, NULL_CELLS, len(users.cell))
    return replace(users, names=names, cell=cell, truth=users.truth[[0, 0]])


def false_claims(users: Users, control_share: float, repetitions: int) -> tuple[float, float]:
    """Shares of tests without any effect that call one shown.

    Returns:
        With p-values as they are, and corrected for the number of cells.
    """
    rng = np.random.default_rng(SEED)
    least = np.empty((repetitions, 2))
    for n in range(repetitions):
        found = drawn(rng, users, control_share).moments("purchase")
        p_value = differences(found[1], found[0]).p_value
        least[n] = p_value.min(), holm(p_value).min()
    plain, corrected = (least <= SIGNIFICANCE).mean(axis=0)
    return float(plain), float(corrected)


@dataclass(frozen=True, slots=True)
class Study:
    """Tests repeated with one share of control users.

    Attributes:
        profits: Of the policy that each learned, in the week after, float64 [tests].
        coverage: The share of intervals that hold the truth.
    """

    profits: np.ndarray
    coverage: float


def study(tests: Users, later: Users, control_share: float, repetitions: int) -> Study:
    """Repeat the tests, learn a policy from each, and judge it on later users by the truth."""
    rng, worth = np.random.default_rng(SEED), float(tests.value.mean())
    profits, held = [], []
    for _ in range(repetitions):
        units = drawn(rng, tests, control_share)
        effects = cell_effects(units, "purchase")
        profits.append(profit_of(later, learned(effects, worth)[later.cell]))
        held.append(covered(units, tests))
    return Study(np.array(profits), float(np.concatenate(held).mean()))


def populations() -> dict[str, pl.DataFrame]:
    """Users of the weeks of all tests and of the week after, who remember the last week or do not."""
    options = SimulateOptions(rows=USERS, seed=SEED, truth=True)
    panel = replace(options, weeks=TESTS + 1)
    fresh = [frame for day in panel.dates for frame in simulate(replace(options, as_of=day))]
    return {
        "users who live on": pl.concat(simulate(panel)),
        "users with new visits each week": pl.concat(fresh),
    }


def print_study(tests: Users, later: Users) -> None:
    """What each policy earns in the week after, and how many intervals hold the truth."""
    fixed = {name: profit_of(later, arm) for name, arm in policies(later).items()}
    *_, by_cell, by_user = fixed.values()
    print("| policy | per 1,000 users | of the best by cell | 5 % to 95 % | of the best by user |")
    print("|---|---:|---:|---:|---:|")
    worth = float(tests.value.mean())
    fixed["learned from tests without chance"] = profit_of(later, known(tests, worth)[later.cell])
    for name, profit in fixed.items():
        print(f"| {name} | {profit:,.1f} | {profit / by_cell:.0%} | | {profit / by_user:.0%} |")
    studies = {share: study(tests, later, share, REPETITIONS) for share in CONTROL_SHARES}
    for share, found in studies.items():
        mean, (low, high) = found.profits.mean(), np.quantile(found.profits, (0.05, 0.95)) / by_cell
        print(
            f"| learned from the tests, control group {share:.0%} | {mean:,.1f} | {mean / by_cell:.0%} "
            f"| {low:.0%} to {high:.0%} | {mean / by_user:.0%} |"
        )
    print("\n| control group | intervals that hold the truth |\n|---:|---:|")
    for share, found in studies.items():
        print(f"| {share:.0%} | {found.coverage:.1%} |")


def main() -> None:
    """Print what policies earn, and how often intervals and claims are right."""
    scorer = load_bundle(BUNDLE)
    for title, frame in populations().items():
        users = users_of(frame, scorer)
        tests, later = users[users.week < TESTS], users[users.week == TESTS]
        effects = (tests.truth[1:] - tests.truth[0]).mean(axis=1)
        shown = ", ".join(
            f"{arm} {effect:+.2%}"
            for arm, effect in zip(users.names.arms[1:], effects, strict=True)
        )
        print(
            f"\n{TESTS} weekly tests of {USERS:,} {title}, repeated {REPETITIONS} times: {shown}\n"
        )
        print_study(tests, later)
    print(f"\n{NULL_CELLS} cells without effect, {NULL_REPETITIONS:,} tests of {USERS:,} users\n")
    print("| control group | tests that show an effect | without correction |")
    print("|---:|---:|---:|")
    null = without_effect(later)
    for share in CONTROL_SHARES:
        plain, corrected = false_claims(null, share, NULL_REPETITIONS)
        print(f"| {share:.0%} | {corrected:.1%} | {plain:.1%} |")


if __name__ == "__main__":
    main()
