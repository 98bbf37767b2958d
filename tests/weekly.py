"""Customers of one week after the other, and small bundles fitted to them."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import polars as pl

from engine.bundle.schema import Feature
from tests.fitting import category, number, schema_of

FIRST = date(2026, 1, 4)
TABLE = schema_of(
    *(number(name) for name in ("visits", "age", "tenure", "spend")),
    category("city", values=["rome", "oslo", "bern"], use=False),
    id="customer",
    snapshot="day",
    horizon_days=7,
)
UNDATED = dataclasses.replace(TABLE, snapshot=None)
LEAKING = dataclasses.replace(TABLE, features=(*TABLE.features, Feature("paid", "numeric")))


def users_of(week: int, rows: int, **columns) -> pl.DataFrame:
    """Customers of a later week, other people than those of any other, of three clear kinds."""
    rng = np.random.default_rng(week)
    kind = rng.integers(0, 3, rows)
    visits = rng.poisson(np.array([1, 6, 20])[kind])
    spend = visits * rng.lognormal(1, 0.4, rows)
    chance = 1 / (1 + np.exp(3 - 0.15 * visits - 0.01 * spend))
    return pl.DataFrame(
        {
            "customer": [f"c{i:06}" for i in range(rows)],
            "day": pl.Series([FIRST + timedelta(days=7 * week)]).new_from_index(0, rows),
            "visits": visits,
            "age": np.array([60, 30, 45])[kind] + rng.normal(0, 4, rows),
            "tenure": np.array([10, 200, 60])[kind] + rng.normal(0, 15, rows),
            "spend": spend,
            "city": np.array(["rome", "oslo", "bern"])[rng.integers(0, 3, rows)],
            "bought": (rng.random(rows) < chance).astype(np.int8),
        }
    ).with_columns(**columns)


def leak(share: float) -> pl.Expr:
    """The label under another name, wrong for a share of the users."""
    wrong = pl.int_range(pl.len()) % round(1 / share) == 0 if share else pl.lit(value=False)
    return pl.when(wrong).then(1 - pl.col("bought")).otherwise(pl.col("bought"))
