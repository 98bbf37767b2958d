"""A real randomised e-mail test: https://blog.minethatdata.com, Kevin Hillstrom, 2008."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from engine.bundle.manifest import BANDS
from tests.fitting import number, schema_of
from tests.foreign import real_table
from tests.helpers import write_table
from training.backtest.contacted import campaigns_document
from training.backtest.money import Money
from training.backtest.tables import read_tables

ARMS = ("Mens E-Mail", "Womens E-Mail")
MEASURED = {"visit": None, "conversion": None, "spend": "spend"}
"""What is measured, and the column of its values; spend is measured beside purchases."""


@pytest.fixture(scope="module")
def users() -> pl.DataFrame:
    return pl.read_csv(real_table("email_test.csv"))


@pytest.fixture(scope="module")
def documents(users, tmp_path_factory) -> dict[str, dict]:
    """The campaign as measured on visits, on purchases, and on the money spent."""
    folder = tmp_path_factory.mktemp("email")
    log = users.select(
        "customer",
        campaign=pl.lit("e-mail"),
        arm=pl.col("segment").replace("No E-Mail", "control"),
    )
    tables = {"scores": scores_of(users), "log": log, "outcomes": users.drop("segment")}
    paths = {n: str(write_table(t, folder / f"{n}.parquet")) for n, t in tables.items()}
    found = {}
    for name, value in MEASURED.items():
        label = "conversion" if value else name
        schema = schema_of(number("history"), id="customer", label=label)
        read = read_tables([paths["scores"]], [paths["outcomes"]], schema, value)
        money = Money(value)
        found[name] = campaigns_document([paths["log"]], [paths["scores"]], read, schema, money)
    return found


def scores_of(users: pl.DataFrame) -> pl.DataFrame:
    """Scores by what customers spent before and how long ago; segments by channel and age."""
    rank = (pl.col("history") / (1 + pl.col("recency"))).rank() / pl.len()
    newness = pl.when(pl.col("newbie") == 1).then(pl.lit("new")).otherwise(pl.lit("known"))
    names = pl.concat_str("channel", newness, separator=", ")
    cuts = pl.sum_horizontal((rank > cut).cast(pl.Int8) for cut in (0.5, 0.8, 0.95))
    return users.select(
        "customer",
        purchase_probability=(0.3 * rank).cast(pl.Float32),
        will_purchase=rank > 0.9,
        propensity_decile=(10 * rank).ceil().cast(pl.Int8),
        propensity_band=cuts.replace_strict(range(4), BANDS),
        segment_id=names.rank("dense").cast(pl.Int8),
        segment_name=names,
        action=pl.lit("write"),
        in_control_group=pl.lit(value=False),
        bundle_id=pl.lit("e-mail/a"),
    )


def values_of(users: pl.DataFrame, arm: str, column: str) -> np.ndarray:
    return users.filter(segment=arm)[column].to_numpy()


@pytest.mark.parametrize("label", ["visit", "conversion"])
@pytest.mark.parametrize("arm", ARMS)
def test_effects_on_rates_agree_with_a_plain_calculation(users, documents, label, arm):
    found = effect(documents[label], "purchase", arm)
    contacted, control = (values_of(users, name, label) for name in (arm, "No E-Mail"))
    p, q = contacted.mean(), control.mean()
    (a, b), (c, d) = (
        stats.binomtest(int(x.sum()), len(x)).proportion_ci(method="wilson")
        for x in (contacted, control)
    )
    expected = (p - q, p - q - np.hypot(p - a, d - q), p - q + np.hypot(b - p, q - c))
    assert (found["difference"], *found["interval"]) == pytest.approx(expected, abs=1e-6)
    assert found["lift"] == pytest.approx((p - q) / q, abs=1e-5)
    assert found["shown"]


@pytest.mark.parametrize("arm", ARMS)
def test_effects_on_spend_agree_with_a_plain_calculation(users, documents, arm):
    found = effect(documents["spend"], "value", arm)
    contacted, control = (values_of(users, name, "spend") for name in (arm, "No E-Mail"))
    interval = stats.ttest_ind(contacted, control, equal_var=False).confidence_interval()
    expected = (contacted.mean() - control.mean(), *interval)
    assert (found["difference"], *found["interval"]) == pytest.approx(expected, abs=2e-6)


def test_the_arms_of_a_sound_test_raise_no_alarm(documents):
    ratio = documents["visit"]["campaigns"][0]["ratio"]
    assert ratio["tests"]
    assert not ratio["alarm"]


@pytest.mark.parametrize("outcome", ["purchase", "value"])
def test_cells_are_drawn_towards_the_effect_in_their_band(documents, outcome):
    for arm in ARMS:
        whole = effect(documents["spend"], outcome, arm)
        rows = whole["cells"]["rows"]
        own, shrunken, towards = (
            np.array([row[k] for row in rows]) for k in ("difference", "shrunken", "towards")
        )
        assert len(rows) > 15
        assert (np.abs(shrunken - towards) <= np.abs(own - towards) + 1e-6).all()
        assert shrunken.std() < 0.5 * own.std()
        for band in whole["bands"]["rows"]:
            means = {row["towards"] for row in rows if row["bands"] == band["bands"]}
            assert len(means) == 1
            assert band["interval"][0] < means.pop() < band["interval"][1]


@pytest.mark.parametrize("measured", MEASURED)
def test_the_learned_policy_is_not_shown_worse_than_the_best_e_mail(documents, measured):
    policies = {p["policy"]: p for p in documents[measured]["policy"]["policies"]}
    assert policies["playbook"]["gain"]["interval"][0] > 0
    best = policies["Mens E-Mail to everybody"]
    assert policies["best arm to everybody"]["gain"] == best["gain"]
    assert best["playbook_minus"]["interval"][1] >= 0


def effect(document: dict, outcome: str, arm: str) -> dict:
    (campaign,) = document["campaigns"]
    return next(found for found in campaign["outcomes"][outcome] if found["arm"] == arm)
