"""Tables of other people: small invented ones, each with what is special about it, and a real one."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.online_shoppers import TABLE
from tests.fitting import category, number

FEATURES = (number("x"), number("z"), category("c"))
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A table, the keys of its schema, its features, and the ending of its file."""

    frame: pl.DataFrame
    keys: Mapping[str, Any]
    features: tuple[Mapping[str, Any], ...] = FEATURES
    ending: str = ".parquet"

    @property
    def toml(self) -> str:
        """The schema file. A JSON value of these kinds is a TOML value too."""
        lines = ['name = "foreign"', *_pairs(self.keys)]
        for feature in self.features:
            lines += ["[[feature]]", *_pairs(feature)]
        return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def members(rows: int, seed: int = 0, rate: float = 0.4) -> pl.DataFrame:
    """Members with a number, a count and a category; `rate` of them join, the likeliest first."""
    rng = np.random.default_rng(seed)
    x, z, c = rng.normal(size=rows), rng.poisson(3, rows), rng.integers(0, 4, rows)
    wish = x + 0.3 * z + (c == 2) + rng.logistic(size=rows)
    return pl.DataFrame(
        {
            "member": [f"m{n}" for n in range(rows)],
            "x": x,
            "z": z,
            "c": [f"c{n}" for n in c],
            "joined": wish > np.quantile(wish, 1 - rate),
        }
    )


def weekly(users: int, weeks: int, *, alike: bool = False) -> pl.DataFrame:
    """Members week by week; `alike` ones look and mostly act as they did the week before."""
    frames = []
    for week in range(weeks):
        frame = members(users, 0 if alike else week)
        if alike:
            changed = pl.Series(np.random.default_rng(week).random(users) < 0.1)
            frame = frame.with_columns(joined=pl.col("joined") ^ changed)
        frames.append(frame.with_columns(day=pl.lit(date(2026, 1, 1) + week * WEEK)))
    return pl.concat(frames)


ID = {"id": "member", "label": "joined"}
NO_ID = {"label": "joined"}
PANEL = {**ID, "snapshot": "day", "horizon_days": 7}

NAMES = {"x": "Größe (cm)", "z": "a/b:c.d; e", "c": "<b>город</b> 🛒", "joined": "Kauf?"}
INNER = ("input", "score", "x_0", "features_0", "Cast", "variable", "value", "batch", "label")


def _numbers(rows: int, columns: int) -> pl.DataFrame:
    values = np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)
    frame = pl.DataFrame({f"f{n}": values[:, n] for n in range(columns)})
    noise = np.random.default_rng(2).normal(size=rows)
    return frame.with_columns(joined=pl.Series(values[:, 0] - values[:, 1] > noise))


def _described(frame: pl.DataFrame, *more: Mapping[str, Any], **keys: Any) -> Foreign:
    return Foreign(frame, keys or ID, (*FEATURES, *more))


def _scorable() -> dict[str, Foreign]:
    some, many = members(600), members(2_000)
    row = pl.int_range(pl.len())
    yes_no = pl.col(pl.Boolean).cast(pl.String).str.to_uppercase()
    booleans = some.select(a=pl.col("x") > 0, b=pl.col("z") > 3, joined="joined")
    rare = pl.Series(np.random.default_rng(3).zipf(1.6, 2_000)).cast(pl.String)
    known = {"values": ["c0", "c1", "never", "ever"]}
    return {
        "one number, no key": Foreign(some.select("x", "joined"), NO_ID, (number("x"),), ".csv"),
        "Booleans": Foreign(
            booleans.with_columns(pl.when(row % 9 > 0).then("b")),
            NO_ID,
            (number("a"), category("b")),
        ),
        "TRUE and FALSE": Foreign(
            booleans.select(yes_no), NO_ID, (number("a"), category("b")), ".csv"
        ),
        "whole numbers as categories": Foreign(
            some.with_columns(pl.col("member").str.slice(1).cast(pl.Int64)),
            ID,
            (number("x"), category("z")),
        ),
        "numbers as text": _described(some.with_columns(pl.col("x", "z").cast(pl.String))),
        "rare categories": _described(many.with_columns(c=rare)),
        "absent and unlisted categories": Foreign(
            some, ID, (number("x"), category("c", **known)), ".csv"
        ),
        "columns that say nothing": _described(
            some.with_columns(k=pl.lit(5), n=pl.lit(None), t=pl.lit("same"), e=pl.lit("")),
            *(number("k"), number("n"), category("t"), category("e")),
        ),
        "nothing but nulls": Foreign(
            some.with_columns(n=pl.lit(None, pl.Float64)), ID, (number("n"),)
        ),
        "few joined": _described(members(5_000, rate=0.01)),
        "most joined": _described(members(1_500, rate=0.9)),
        "weekly": Foreign(weekly(300, 6), PANEL, ending=".csv"),
        "weekly, a column that came and one that went": Foreign(
            weekly(300, 6).with_columns(
                x=pl.when(pl.col("day") > date(2026, 1, 20)).then("x"),
                z=pl.when(pl.col("day") < date(2026, 1, 20)).then("z"),
            ),
            PANEL,
        ),
        "weekly, the same members": Foreign(weekly(300, 6, alike=True), PANEL),
        "weekly, the same members without id": Foreign(
            weekly(300, 6, alike=True).drop("member"),
            {**NO_ID, "snapshot": "day", "horizon_days": 7},
        ),
        "names in any script": Foreign(
            some.rename(NAMES).with_columns(
                pl.col(NAMES["c"]).replace({"c1": "a,b|c\n", "c2": "<script>1</script>"})
            ),
            {"id": "member", "label": NAMES["joined"]},
            (number(NAMES["x"], group="<i>"), number(NAMES["z"]), category(NAMES["c"])),
        ),
        "names used inside graphs": _described(
            some.with_columns(
                (pl.col("x") * pl.col("z") + n).alias(i) for n, i in enumerate(INNER)
            ),
            *map(number, INNER),
        ),
        "500 numbers": Foreign(
            _numbers(600, 500), NO_ID, tuple(number(f"f{n}") for n in range(500))
        ),
        "many types": _described(
            some.with_columns(
                pl.col("z").cast(pl.UInt8),
                pl.col("c").cast(pl.Enum(["c0", "c1", "c2", "c3"])),
                pl.col("member").cast(pl.Categorical),
                d=pl.col("x").cast(pl.Decimal(20, 4)),
                u=pl.col("z").cast(pl.UInt64),
                joined=pl.col("joined").cast(pl.Int64).cast(pl.Decimal(3, 1)),
            ),
            *(number("d"), category("u")),
        ),
        "huge and tiny numbers": _described(
            some.with_columns(big=pl.col("x") * 8e37, small=pl.col("x") * 1e-42),
            *(number("big"), number("small")),
        ),
        "one column ten times": Foreign(
            some.with_columns(pl.col("x").alias(f"x{n}") for n in range(10)),
            NO_ID,
            tuple(number(f"x{n}") for n in range(10)),
        ),
    }


SCORABLE = _scorable()


@dataclass(frozen=True, slots=True)
class Refused:
    """A table that cannot be fitted, the exit code, and what the message says."""

    table: Foreign
    code: int
    words: str


def _refused() -> dict[str, Refused]:
    some, x = members(600), number("x")

    def with_x(value: object, ending: str = ".parquet") -> Foreign:
        return Foreign(some.with_columns(x=value), NO_ID, ending=ending)

    def with_label(value: object) -> Foreign:
        return Foreign(some.with_columns(joined=value), NO_ID)

    day = pl.col("day").cast(pl.Datetime)
    words = pl.when("joined").then(pl.lit("yes")).otherwise(pl.lit("no"))
    return {
        "too few": Refused(Foreign(members(20), ID), 65, "Give more rows"),
        "three rows": Refused(Foreign(members(3), ID), 65, "Give more rows"),
        "no row": Refused(Foreign(members(20).clear(), ID), 65, "no row can be used. Fix"),
        "none joined in a part": Refused(Foreign(members(500, rate=0.002), ID), 65, "0 purchases"),
        "yes and no": Refused(with_label(words), 65, "600 rows of 600 where 'joined' is not 0, 1"),
        "a date as label": Refused(with_label(date(2026, 1, 1)), 65, "'joined' expected 0, 1"),
        "labels to come": Refused(
            with_label(pl.when(pl.col("z") > 0).then("joined")),
            65,
            "Leave these rows out until their outcome is known",
        ),
        "thousands set apart": Refused(
            with_x(pl.lit("1,234.5"), ".csv"), 65, "caught by: x|not_a_number 600"
        ),
        "a sign in a number": Refused(with_x(pl.lit("5 %")), 65, "caught by: x|not_a_number 600"),
        "beyond float32": Refused(with_x(pl.col("x") * 1e300), 65, "caught by: x|not_finite 600"),
        "a list": Refused(with_x(pl.lit([1.0])), 65, "'x' expected a number, found List"),
        "a time of day": Refused(
            Foreign(weekly(200, 6).with_columns(day), PANEL), 65, "expected a date without a time"
        ),
        "a time of day as text": Refused(
            Foreign(weekly(200, 6).with_columns(day), PANEL, ending=".csv"),
            65,
            "caught by: day|not_a_date 1,200",
        ),
        "two weeks": Refused(Foreign(weekly(300, 2), PANEL), 65, "at least 3 that lie 7 days"),
        "a horizon too long": Refused(
            Foreign(weekly(100, 6), {**PANEL, "horizon_days": 30}), 65, "3 that lie 30 days or more"
        ),
        "fractions as categories": Refused(
            Foreign(some, ID, (category("x"),)), 65, "'x' expected a text or a whole number"
        ),
        "fractions as ids": Refused(
            Foreign(some, {"id": "x", "label": "joined"}, (number("z"),)),
            65,
            "'x' expected a text or a whole number",
        ),
        "one id for all": Refused(
            Foreign(some.with_columns(member=pl.lit("m")), ID), 65, "left out: member|repeated 599"
        ),
        "an absent column": Refused(
            Foreign(some, ID, (x, number("y"))), 65, "1 missing column: 'y'"
        ),
        "the label as a feature": Refused(
            Foreign(some, ID, (x, number("joined"))), 78, "named more than once: 'joined'"
        ),
        "no label": Refused(Foreign(some, {"id": "member"}), 78, "names no label"),
        "a name of the engine's": Refused(
            Foreign(some.rename({"x": "row"}), ID, (number("row"),)), 78, "the engine adds: 'row'"
        ),
    }


REFUSED = _refused()


def real_table(name: str) -> Path:
    """A real table, or a skip in words where it is not there; none is part of the project."""
    path = Path(os.environ.get("REAL_DATA", "")) / name
    if "REAL_DATA" not in os.environ or not path.exists():
        pytest.skip(f"REAL_DATA names no folder with {name}")
    return path


def online_shoppers() -> Path:
    """Sessions of an online shop."""
    return real_table(TABLE)
