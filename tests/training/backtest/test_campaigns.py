import hashlib
import json
import re
import tomllib
from dataclasses import asdict
from datetime import date, timedelta
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from engine.activate.audience import make_audience
from engine.activate.options import AudienceOptions
from engine.bundle.manifest import BANDS
from engine.bundle.playbook import control_draws
from engine.errors import CannotCreateError, InputError, UsageError
from engine.pages.format import signed
from engine.pages.text import section_lines
from tests.engine.pages.following import few, followed
from tests.fitting import number, schema_of
from tests.helpers import run, write_table
from tests.training.backtest.score_files import DAY, TABLE, scores_of
from training.backtest import figures
from training.backtest.contacted import campaigns_document
from training.backtest.money import Money, read_money
from training.backtest.next_playbook import MARK, check_replaceable, playbook_toml
from training.backtest.tables import read_tables
from training.cli import backtest
from training.playbook.rules import check_features, load_rules
from training.report.charts.effects import effects_chart
from training.report.sections.campaigns import campaign_sections

SCORES = scores_of(6_000)
SENT = DAY + timedelta(days=1)
WEEKLY = TABLE.__class__("tiny", TABLE.features, "customer", "bought", "day", horizon_days=7)


def log_of(
    scores: pl.DataFrame, campaign: str = "spring", seed: int = 0, **columns
) -> pl.DataFrame:
    """A log of two arms and the control group, drawn by chance."""
    arms = np.random.default_rng(seed).choice(["control", "mail", "offer"], scores.height)
    frame = scores.select("customer", date=pl.lit(SENT), campaign=pl.lit(campaign))
    return frame.with_columns(arm=pl.Series(arms)).with_columns(**columns)


def outcomes_of(scores: pl.DataFrame, log: pl.DataFrame, offer: float = 0.1, seed: int = 1):
    """Purchases, which the offer makes more frequent, and what was spent."""
    rng = np.random.default_rng(seed)
    arm = scores.join(log.unique("customer"), on="customer", how="left", maintain_order="left")[
        "arm"
    ]
    chance = (
        0.5 * scores["purchase_probability"].to_numpy() + offer * arm.eq_missing("offer").to_numpy()
    )
    bought = (rng.random(scores.height) < chance).astype(np.int8)
    return scores.select("customer", "day").with_columns(
        bought=bought, spend=bought * rng.lognormal(3, 0.5, scores.height).round(2)
    )


@pytest.fixture
def measure(tmp_path):
    """Write scores, outcomes and logs, and run a backtest of them."""

    def run_backtest(scores=SCORES, outcomes=None, logs=None, schema=WEEKLY, **money):
        logs = [log_of(scores)] if logs is None else logs
        if outcomes is None:
            first = logs[0] if isinstance(logs[0], pl.DataFrame) else pl.read_csv(logs[0])
            outcomes = outcomes_of(scores, first)
        paths = {
            name: str(write_table(frame, tmp_path / f"{name}.parquet"))
            for name, frame in {"scores": scores, "outcomes": outcomes}.items()
        }
        files = [
            str(write_table(log, tmp_path / f"log{n}.csv"))
            if isinstance(log, pl.DataFrame)
            else log
            for n, log in enumerate(logs)
        ]
        money = Money(**money)
        tables = read_tables([paths["scores"]], [paths["outcomes"]], schema, money.value)
        return campaigns_document(files, [paths["scores"]], tables, schema, money)

    return run_backtest


def effect(found, arm: str, outcome: str = "purchase", campaign: int = 0) -> dict:
    arms = found["campaigns"][campaign]["outcomes"][outcome]
    return next(each for each in arms if each["arm"] == arm)


def printed(found) -> str:
    return "\n".join(section_lines(campaign_sections(found)))


def test_each_arm_is_compared_with_its_control_group(measure):
    log = log_of(SCORES)
    outcomes = outcomes_of(SCORES, log)
    found = measure(logs=[log], outcomes=outcomes, value="spend")
    both = outcomes.join(log, on="customer")
    for outcome, column in (("purchase", "bought"), ("value", "spend")):
        means = dict(both.group_by("arm").agg(pl.col(column).mean()).rows())
        for arm in ("mail", "offer"):
            assert effect(found, arm, outcome)["difference"] == pytest.approx(
                means[arm] - means["control"], abs=1e-5
            )
    assert effect(found, "offer")["shown"]
    assert not effect(found, "mail")["shown"]
    low, high = effect(found, "offer")["interval"]
    assert low < 0.1 < high
    assert not found["campaigns"][0]["ratio"]["alarm"]
    assert {cell["arm"] for cell in found["policy"]["cells"]} == {"offer"}
    text = printed(found)
    assert "offer: +" in text


def test_users_count_as_assigned_with_the_score_of_before(measure):
    late = SCORES.with_columns(
        day=pl.lit(DAY + timedelta(days=7)),
        propensity_band=pl.lit("low"),
        segment_id=pl.lit(1, pl.Int8),
    )
    log = log_of(SCORES)
    again = log.with_columns(date=pl.lit(SENT + timedelta(days=7)))
    outcomes = outcomes_of(SCORES, log)
    found = measure(pl.concat([SCORES, late]), outcomes, [pl.concat([again, log])])
    alone = measure(SCORES, outcomes, [log])
    assert found["campaigns"][0]["outcomes"] == alone["campaigns"][0]["outcomes"]


def test_outcomes_count_for_one_window_after_the_contact(measure):
    log = log_of(SCORES)
    weeks = [
        outcomes_of(SCORES, log, offer=offer, seed=n).with_columns(
            day=pl.lit(DAY + timedelta(days=7 * (n - 1)))
        )
        for n, offer in enumerate((0.4, 0.1, 0.0, 0.0))
    ]
    found, alone = (measure(outcomes=known, logs=[log]) for known in (pl.concat(weeks), weeks[1]))
    assert found["campaigns"] == alone["campaigns"]
    assert found["campaigns"][0]["snapshots"] == ["2026-01-04"]
    assert "6,000 users with an outcome; scores and outcomes of 2026-01-04." in printed(found)


def test_users_contacted_in_different_weeks_are_measured_in_their_own(measure):
    weeks = [DAY, DAY + timedelta(days=7)]
    scores = pl.concat([SCORES.with_columns(day=pl.lit(day)) for day in weeks])
    second = pl.int_range(pl.len()) % 2 == 1
    log = log_of(SCORES).with_columns(date=pl.when(second).then(weeks[1]).otherwise(weeks[0]))
    outcomes = pl.concat(
        outcomes_of(SCORES, log, seed=n).with_columns(day=pl.lit(day))
        for n, day in enumerate(weeks)
    )
    found = measure(scores, outcomes, [log])
    own = outcomes.join(log, left_on=["customer", "day"], right_on=["customer", "date"])
    means = dict(own.group_by("arm").agg(pl.col("bought").mean()).rows())
    assert found["campaigns"][0]["users"] == own.height == 6_000
    assert effect(found, "offer")["mean"] == pytest.approx(means["offer"], abs=1e-6)


def test_outcomes_that_ended_before_the_contact_do_not_count(measure):
    log = log_of(SCORES, date=pl.lit(DAY + timedelta(days=7)))
    with pytest.raises(InputError, match="no campaign has 20 users with an outcome"):
        measure(logs=[log])


def test_campaigns_are_measured_one_by_one_and_judged_together(measure):
    spring, summer = log_of(SCORES), log_of(SCORES, "summer", seed=5)
    found = measure(logs=[spring, summer.filter(pl.col("arm") != "mail")])
    assert [c["campaign"] for c in found["campaigns"]] == ["spring", "summer"]
    assert [c["arms"] for c in found["campaigns"]] == [["mail", "offer"], ["offer"]]
    assert found["policy"]["campaigns"] == ["spring", "summer"]


def test_users_without_scores_or_in_two_arms_are_left_out_and_counted(measure):
    log = log_of(SCORES)
    unknown = log.head(30).with_columns(customer=pl.concat_str(pl.lit("x"), "customer"))
    early = log.slice(30, 21).with_columns(date=pl.lit(DAY - timedelta(days=1)))
    twice = log.filter(pl.col("arm") == "mail").tail(40).with_columns(arm=pl.lit("offer"))
    odd = log.slice(60, 1).with_columns(arm=pl.lit(None, pl.String))
    rest = log.join(pl.concat([early, odd]), on="customer", how="anti")
    texts = [
        frame.with_columns(pl.col("date").cast(pl.String))
        for frame in (rest, unknown, early, twice, odd)
    ]
    no_date = log.slice(61, 1).with_columns(date=pl.lit("05/01/2026"), customer=pl.lit("c99999"))
    found = measure(logs=[pl.concat([*texts, no_date])])
    assert found["contacts"]["caught"] == {
        "rows with arm|missing": None,
        "rows with date|not_a_date": None,
        "users in several arms": 40,
        "users never scored": 30,
        "users contacted before their first score": 21,
    }
    assert found["campaigns"][0]["users"] == 6_000 - 40 - 21 - 1
    assert "Users in several arms: 40." in printed(found)
    assert "Rows with arm|missing: fewer than 20." in printed(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"arm": pl.lit("mail")},
            "1 campaign without control users: 'spring'.*'control'.*campaign.json",
        ),
        ({"date": pl.lit("soon")}, r"no user of 0 has a score.*date\|not_a_date 6,000"),
        (
            {"date": pl.lit(date(2025, 1, 1))},
            "no user of 6,000 has a score from before the contact",
        ),
        ({"customer": pl.concat_str(pl.lit("x"), "customer")}, "users never scored 6,000"),
    ],
)
def test_logs_that_cannot_be_used_are_refused(measure, change, words):
    with pytest.raises(InputError, match=words):
        measure(logs=[log_of(SCORES, **change)])


def test_missing_columns_are_named(measure):
    with pytest.raises(InputError, match="1 missing column: 'arm'; a contact log has 'customer'"):
        measure(outcomes=outcomes_of(SCORES, log_of(SCORES)), logs=[log_of(SCORES).drop("arm")])
    with pytest.raises(InputError, match="1 missing column: 'date'.*when, in which arm"):
        measure(logs=[log_of(SCORES).drop("date")])
    with pytest.raises(InputError, match="missing column: 'price'"):
        measure(value="price")
    spent = outcomes_of(SCORES, log_of(SCORES)).with_columns(
        spend=pl.when(pl.col("bought") == 1).then("spend")
    )
    with pytest.raises(InputError, match="rows of 6,000 without 'spend'. Write 0"):
        measure(outcomes=spent, value="spend")


@pytest.mark.parametrize(
    ("name", "what"), [("customer", "id"), ("day", "snapshot date"), ("bought", "label")]
)
def test_the_value_is_neither_label_nor_key(measure, name, what):
    with pytest.raises(UsageError, match=f"--value: '{name}' is the {what}"):
        measure(value=name)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"bought": pl.lit("yes")}, "bought|not_a_number"),
        ({"spend": pl.lit("much")}, "spend|not_a_number"),
        ({"day": pl.lit("soon")}, "day|not_a_date"),
    ],
)
def test_outcomes_that_cannot_be_read_are_told_as_the_cause(tmp_path, change, rule):
    log = log_of(SCORES)
    tables = {"s": SCORES, "o": outcomes_of(SCORES, log).with_columns(**change), "l": log}
    scores, outcomes, logs = (
        [str(write_table(table, tmp_path / f"{name}.csv"))] for name, table in tables.items()
    )
    with pytest.raises(InputError, match=rf"0 rows; left out: {re.escape(rule)} 6,000"):
        figures.backtest(scores, outcomes, WEEKLY, logs, Money("spend"))


def test_scores_of_two_bundles_are_ambiguous(measure):
    other = SCORES.with_columns(bundle_id=pl.lit("tiny/b"))
    with pytest.raises(
        InputError, match="scored more than once for a date, by bundles 'tiny/a', 'tiny/b'"
    ):
        measure(
            pl.concat([SCORES, other]),
            logs=[log_of(SCORES)],
            outcomes=outcomes_of(SCORES, log_of(SCORES)),
        )


def test_scores_without_dates_need_none_in_the_log(measure):
    users = SCORES.drop("day")
    log = log_of(SCORES).drop("date")
    outcomes = outcomes_of(SCORES, log)
    found = measure(users, outcomes.drop("day"), [log])
    assert effect(found, "offer") == effect(
        measure(outcomes=outcomes, logs=[log_of(SCORES)]), "offer"
    )


def test_nothing_is_said_about_fewer_than_20_users(measure):
    few = pl.int_range(pl.len()) < 19
    log = log_of(SCORES).with_columns(arm=pl.when(few).then(pl.lit("tiny")).otherwise("arm"))
    rare = SCORES.with_columns(
        segment_id=pl.when(pl.int_range(pl.len()) > 5_950)
        .then(3)
        .otherwise("segment_id")
        .cast(pl.Int8),
        segment_name=pl.when(pl.int_range(pl.len()) > 5_950)
        .then(pl.lit("Few"))
        .otherwise("segment_name"),
    )
    found = measure(rare, logs=[log])
    (campaign,) = found["campaigns"]
    assert campaign["arms"] == ["mail", "offer"]
    assert campaign["arms_left_out"] == 1
    for arm in campaign["outcomes"]["purchase"]:
        for level in ("bands", "segments", "cells"):
            rows = arm[level]["rows"]
            assert all(min(row["users"], row["control_users"]) >= 20 for row in rows)
        names = {name for row in arm["cells"]["rows"] for name in row["segment_names"]}
        together = [
            row["segment_names"] for row in arm["segments"]["rows"] if "Few" in row["segment_names"]
        ]
        assert names == {"Ones", "Twos", "Few"}
        assert together == [["Twos", "Few"]]
    assert "tiny" not in printed(found)
    assert all((cell["users"] or 20) >= 20 for cell in found["policy"]["cells"])


def test_no_number_of_few_users_follows_from_the_tables_of_a_campaign(measure):
    rare = (pl.col("segment_id") == 1) & (pl.col("propensity_band") == "very_high")
    log = log_of(SCORES)
    rows = log.join(SCORES.select("customer", "segment_id", "propensity_band"), on="customer")
    kept = rows.filter(~rare | (pl.int_range(pl.len()).over(rare) < 45))
    found = measure(SCORES, logs=[kept.select(log.columns)])
    (campaign,) = found["campaigns"]
    arms = campaign["outcomes"]["purchase"]
    cells = kept.group_by("arm", "segment_id", "propensity_band").len()
    counts = {(a, s, b): n for a, s, b, n in cells.rows()}
    for name in ("control", *campaign["arms"]):
        users = np.array([[counts[name, s, b] for b in BANDS] for s in (1, 2)])
        blocks = [
            (
                _range([(1, 2).index(n) for n in row["segment_ids"]]),
                _range([BANDS.index(b) for b in row["bands"]]),
            )
            for row in arms[0]["cells"]["rows"]
        ]
        assert not few(users) & followed(users, blocks)
        assert name != "control" or few(users)
    told = {(c["segment_id"], c["band"]): c["users"] for c in found["policy"]["cells"]}
    assert told[1, "very_high"] is None
    assert told[1, "low"] is not None


def _range(places: list[int]) -> range:
    return range(places[0], places[-1] + 1)


def test_a_campaign_of_few_users_is_left_out_by_name(measure):
    log = log_of(SCORES)
    small = log.filter(arm="mail").head(19).with_columns(campaign=pl.lit("small"))
    control = log.filter(arm="control").with_columns(campaign=pl.lit("small"))
    lacking = outcomes_of(SCORES, log).slice(12)
    found = measure(logs=[log, pl.concat([small, control])], outcomes=lacking)
    assert [each["campaign"] for each in found["campaigns"]] == ["spring"]
    assert found["campaigns_left_out"] == ["small"]
    assert found["campaigns"][0]["without_outcome"] is None
    text = printed(found)
    assert "in each arm or in the control group: small." in text
    assert "5,988 users with an outcome, fewer than 20 without;" in text


def test_mismatched_arms_are_called_so_and_show_no_effect(measure):
    log = log_of(SCORES)
    likely = SCORES["purchase_probability"].to_numpy() > 0.75
    lost = (log["arm"] == "control").to_numpy() & likely & (np.arange(6_000) % 2 == 0)
    found = measure(
        logs=[log.filter(~pl.Series(lost))], outcomes=outcomes_of(SCORES, log, offer=0.3)
    )
    assert found["campaigns"][0]["ratio"]["alarm"]
    assert not effect(found, "offer")["shown"]
    assert not any(row["shown"] for row in effect(found, "offer")["bands"]["rows"])
    assert found["policy"] is None
    assert "Sample-ratio mismatch" in printed(found)
    with pytest.raises(InputError, match="no playbook written"):
        playbook_toml(None, Money(), None)


# Lists that `engine audience` made.


@pytest.fixture
def listed(tmp_path):
    """A list of some of the scores, and its campaign file."""

    def make(scores=SCORES, **options):
        scores = write_table(scores, tmp_path / "scores.parquet")
        out = tmp_path / "list.csv"
        arms = options.pop("arms", {"mail": 0.5, "offer": 0.5})
        settings = AudienceOptions(campaign="spring", arms=arms, if_exists="replace", **options)
        make_audience([str(scores)], out, settings)
        return out

    return make


def test_the_control_group_of_a_list_is_who_was_left_out_of_it(measure, listed):
    path = listed(bands=("high", "very_high"), top=2_000)
    users = pl.read_csv(path)
    assert not users.filter(arm="control").height
    found = measure(logs=[str(path)], outcomes=outcomes_of(SCORES, users))
    cutoff = users["purchase_probability"].min()
    control = SCORES.filter(
        "in_control_group",
        pl.col("propensity_band").is_in(["high", "very_high"]),
        pl.col("purchase_probability") >= pl.lit(cutoff, pl.Float32),
    )
    offer = effect(found, "offer")
    assert offer["control_users"] == control.height
    assert offer["users"] == users.filter(arm="offer").height
    planned = found["campaigns"][0]["ratio"]["tests"][0]
    assert (planned["test"], planned["degrees"]) == ("planned shares", 1)
    assert not found["campaigns"][0]["ratio"]["alarm"]
    # A list with the control group says the same.
    included = measure(
        logs=[str(listed(bands=("high", "very_high"), top=2_000, include_control=True))]
    )
    assert effect(included, "offer")["control_users"] == control.height


def test_users_of_a_list_have_the_scores_that_it_was_made_from(measure, listed):
    path = listed()
    users = pl.read_csv(path, try_parse_dates=True)
    outcomes = outcomes_of(SCORES, users)
    clean = measure(logs=[str(path)], outcomes=outcomes)
    # A week later, when contacts are still being sent, everybody is scored anew.
    later = SCORES.with_columns(day=pl.lit(SENT), propensity_band=pl.lit("low"))
    both = pl.concat([SCORES, later])
    write_table(both, path.with_name("scores.parquet"))
    file = path.with_name("list.csv.campaign.json")
    digest = hashlib.sha256(path.with_name("scores.parquet").read_bytes()).hexdigest()
    scores = [{"file": "scores.parquet", "sha256": digest}]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scores": scores}))
    late = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit(SENT)).otherwise("day")
    users.with_columns(day=late).write_csv(path)
    found = measure(both, outcomes, [str(path)])
    assert found["campaigns"] == clean["campaigns"]


def test_a_list_that_was_sent_after_its_outcomes_is_refused(measure, listed):
    path = listed()
    users = pl.read_csv(path).with_columns(day=pl.lit("2026-01-11"))
    users.write_csv(path)
    with pytest.raises(
        InputError, match=r"contacts are from 2026-01-11 on, .* of 2026-01-04 end before 2026-01-11"
    ):
        measure(logs=[str(path)])


def of_two_shares(likely: float, others: float) -> pl.DataFrame:
    """Scores whose likely buyers have another share of control users."""
    draws = pl.Series(control_draws(SCORES["customer"])) / 2**32
    share = pl.when(pl.col("propensity_band") == "very_high").then(likely).otherwise(others)
    return SCORES.with_columns(in_control_group=draws < share)


@pytest.mark.parametrize("is_listed", [False, True])
def test_cells_of_different_control_shares_are_compared_with_one(measure, listed, is_listed):
    scores = of_two_shares(0.5, 0.1)
    if is_listed:
        path = listed(scores)
        log, logs = pl.read_csv(path), [str(path)]
    else:
        log = log_of(scores).with_columns(
            arm=pl.when(pl.Series(scores["in_control_group"]))
            .then(pl.lit("control"))
            .otherwise(pl.lit("mail"))
        )
        logs = [log]
    outcomes = outcomes_of(scores, log, offer=0.0)
    found = measure(scores, outcomes, logs)
    draws = control_draws(scores["customer"]) / 2**32
    mail = effect(found, "mail")
    assert mail["control_users"] == pytest.approx((draws < 0.1).sum(), abs=1)
    low, high = mail["interval"]
    assert low < 0 < high
    # All users together would differ by what bands differ in.
    both = scores.join(outcomes, on=["customer", "day"])
    rates = dict(both.group_by("in_control_group").agg(pl.col("bought").mean()).rows())
    assert not low < rates[False] - rates[True] < high
    assert not found["campaigns"][0]["ratio"]["alarm"]
    between = found["contacts"]["caught"][
        "users left out because control shares differ between cells"
    ]
    assert between == pytest.approx(((draws >= 0.1) & (draws < 0.5)).sum(), abs=20)


def test_cells_without_control_users_are_left_out(measure):
    scores = of_two_shares(0.0, 0.2)
    arm = pl.when("in_control_group").then(pl.lit("control")).otherwise(pl.lit("mail"))
    log = log_of(scores, arm=scores.select(arm).to_series())
    found = measure(scores, logs=[log])
    kept = scores.filter(pl.col("propensity_band") != "very_high")
    assert found["campaigns"][0]["users"] == kept.height
    assert effect(found, "mail")["control_users"] == kept["in_control_group"].sum()


def test_contacted_users_of_the_control_group_count_as_control_users(measure, listed):
    path = listed()
    users = pl.read_csv(path)
    held = SCORES.filter("in_control_group").head(30)
    extra = held.select("customer", "day", campaign=pl.lit("spring"), arm=pl.lit("offer"))
    columns = ["customer", "day", "campaign", "arm"]
    users = pl.concat([users.select(columns), extra.with_columns(pl.col("day").cast(pl.String))])
    users.write_csv(path)
    found = measure(logs=[str(path)])
    assert effect(found, "offer")["control_users"] == SCORES["in_control_group"].sum()
    assert "contacted users of the control group" in next(iter(found["contacts"]["caught"]))
    assert 30 in found["contacts"]["caught"].values()


def test_only_control_users_who_pass_the_filters_of_a_list_are_compared(measure, listed):
    path = listed(bands=("high", "very_high"))
    users = pl.read_csv(path).select("customer", "day", "campaign", "arm")
    control = SCORES.filter(
        "in_control_group", pl.col("propensity_band").is_in(["high", "very_high"])
    )
    other = SCORES.filter("in_control_group", propensity_band="low").head(30)
    extra = other.select(
        "customer", pl.col("day").cast(pl.String), campaign=pl.lit("spring"), arm=pl.lit("offer")
    )
    pl.concat([users, extra]).write_csv(path)
    found = measure(logs=[str(path)], outcomes=outcomes_of(SCORES, users))
    assert effect(found, "offer")["control_users"] == control.height


def test_control_users_whom_the_campaign_draws_itself_are_found_too(measure, listed):
    path = listed(arms={"mail": 0.4, "offer": 0.4, "control": 0.2})
    users = pl.read_csv(path)
    found = measure(logs=[str(path)], outcomes=outcomes_of(SCORES, users))
    offer = effect(found, "offer")
    assert offer["users"] == users.filter(arm="offer").height
    assert offer["control_users"] == 6_000 - users.height
    assert not found["campaigns"][0]["ratio"]["alarm"]
    # The campaign drew three groups; the control group of the scores is none of them.
    held = SCORES.filter("in_control_group").height
    sizes = [
        *(users.filter(arm=arm).height for arm in ("mail", "offer")),
        6_000 - users.height - held,
    ]
    expected = stats.chisquare(sizes, np.array([0.4, 0.4, 0.2]) * sum(sizes))
    planned = found["campaigns"][0]["ratio"]["tests"][0]
    assert (planned["test"], planned["degrees"]) == ("planned shares", 2)
    assert planned["p_value"] == pytest.approx(expected.pvalue)


def test_one_arm_has_no_planned_shares(measure, listed):
    path = listed(arms={"offer": 1.0})
    found = measure(logs=[str(path)], outcomes=outcomes_of(SCORES, pl.read_csv(path)))
    assert "planned shares" not in [t["test"] for t in found["campaigns"][0]["ratio"]["tests"]]


def test_lost_users_of_the_campaigns_own_control_group_are_a_mismatch(measure, listed):
    path = listed(arms={"offer": 0.8, "control": 0.2}, include_control=True)
    users = pl.read_csv(path)
    assert not measure(logs=[str(path)])["campaigns"][0]["ratio"]["alarm"]
    is_kept = (pl.col("arm") != "control") | (pl.int_range(pl.len()) % 3 > 0)
    users.filter(is_kept).write_csv(path)
    assert measure(logs=[str(path)])["campaigns"][0]["ratio"]["alarm"]


def test_a_log_with_the_control_group_of_the_scores_counts_contacted_ones_as_control(measure):
    held = pl.Series(SCORES["in_control_group"])
    mail = np.random.default_rng(0).random(6_000) < 0.5
    arms = pl.select(
        pl.when(held)
        .then(pl.lit("control"))
        .when(pl.Series(mail))
        .then(pl.lit("mail"))
        .otherwise(pl.lit("offer"))
    ).to_series()
    wrong = held & (held.cum_sum() <= 20)
    log = log_of(SCORES, arm=arms)
    sent = log.with_columns(arm=pl.when(wrong).then(pl.lit("offer")).otherwise("arm"))
    found, clean = (measure(logs=[each], outcomes=outcomes_of(SCORES, log)) for each in (sent, log))
    assert found["campaigns"] == clean["campaigns"]
    assert list(found["contacts"]["caught"].values()) == [20]
    # Another draw of later scores does not matter, nor one of scores before.
    others = [
        SCORES.with_columns(day=pl.lit(DAY + timedelta(days=days)), in_control_group=~held)
        for days in (-7, 7)
    ]
    again = measure(pl.concat([SCORES, *others]), outcomes_of(SCORES, log), [sent])
    assert again["campaigns"] == clean["campaigns"]


def test_a_log_that_lacks_users_of_its_list_is_a_mismatch(measure, listed):
    path = listed()
    pl.read_csv(path).filter(
        (pl.col("arm") == "mail") | (pl.int_range(pl.len()) % 3 > 0)
    ).write_csv(path)
    assert measure(logs=[str(path)])["campaigns"][0]["ratio"]["alarm"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"scores": [{"file": "s.parquet", "sha256": "00"}]},
            "made from 's.parquet', which differs",
        ),
        ({"bundle_id": "tiny/b"}, "scores of bundle 'tiny/b' on 2026-01-04.*'tiny/a'"),
        ({"campaign": "winter"}, "has the campaign 'spring', the file 'winter'"),
        ({"arms": {"push": 1.0}}, "has the arm 'mail', 'offer', the file 'control', 'push'"),
        ({"by": "profit"}, "ranks users by profit.*--include-control"),
        (
            {"control_users": 7, "suppressed": 3},
            "7 control users, the scores .*3 users were suppressed",
        ),
        ({"users": "many"}, "not a campaign file"),
    ],
)
def test_the_campaign_file_must_be_that_of_the_scores(measure, listed, change, words):
    path = listed()
    file = path.with_name("list.csv.campaign.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=words):
        measure(logs=[str(path)])


def test_a_log_without_the_control_rows_of_its_list_is_told_to_add_them(measure, listed):
    path = listed(include_control=True)
    contacts = pl.read_csv(path).filter(pl.col("arm") != "control")
    contacts.write_csv(path)
    words = r"no rows of the arm 'control', which are in the list.*Log the control rows"
    with pytest.raises(InputError, match=words):
        measure(logs=[str(path)])


@pytest.mark.parametrize("name", ["snapshot", "purchase_probability"])
def test_the_id_of_a_list_may_have_any_name(measure, listed, name):
    path = listed()
    before = measure(logs=[str(path)])
    file = path.with_name("list.csv.campaign.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id": name}))
    assert measure(logs=[str(path)]) == before


# The next playbook.


def test_the_next_playbook_loads_and_keeps_the_rules_of_the_current_one(measure, tmp_path):
    current = tmp_path / "current.toml"
    current.write_text('currency = "EUR"\n\n[[rule]]  # ours\nsegment = 1\nowner = "Ada"\n')
    found = measure(value="spend")
    text = playbook_toml(found["policy"], Money("spend"), current)
    new = tmp_path / "new.toml"
    new.write_text(text)
    rules = load_rules(new)
    assert rules.currency == "EUR"
    own = [rule for rule in rules.rules if rule.place]
    assert own[0].owner == "Ada"
    assert "# ours" in text
    cells = {(rule.segment, rule.band): rule for rule in own[1:]}
    assert len(cells) == len(found["policy"]["cells"]) == 8
    rule = cells[1, "high"]
    assert rule.action == "Send “offer” as in spring"
    # Only where the rules before contact nobody must a channel be named.
    assert (rule.offer, rule.channel) == ("offer", None)
    assert cells[1, "low"].channel == "as tested"
    assert "control users: +" in rule.rationale
    # Tables give the interval of a cell; one of another method beside it would contradict it.
    assert "95 %" not in rule.rationale
    # The rules of an earlier run are replaced, not added to.
    assert playbook_toml(found["policy"], Money("spend"), new) == text
    current.write_text('[[rule]]\nband = "low"\nchannel = "push"\n')
    assert "as tested" not in playbook_toml(found["policy"], Money("spend"), current)


def test_the_economics_of_the_playbook_decide_by_profit(measure, tmp_path):
    current = tmp_path / "current.toml"
    current.write_text(
        'currency = "EUR"\n\n[economics]\nmargin = 0.3\norder_value = "spend"\n\n'
        '[economics.cost_per_contact]\napp = 0\n"e-mail" = 0.002\npush = 0.001\npaid = 0.35\nletter = 0.9\n'
    )
    money = read_money(current, "spend", {"offer": 5, "mail": 0.01})
    found = measure(**asdict(money))
    assert found["policy"]["unit"] == "profit"
    # The offer sells, but for less than it costs.
    assert "offer" not in {cell["arm"] for cell in found["policy"]["cells"]}
    assert "profit in EUR per 1,000 users" in printed(found)
    new = tmp_path / "new.toml"
    new.write_text(playbook_toml(found["policy"], money, current))
    rules = load_rules(new)
    assert rules.economics.margin == 0.3
    # The written rules replaced all that used the channel, whose cost stays known.
    check_features(rules, schema_of(number("spend")))
    assert {rule.cost_per_contact for rule in rules.rules if rule.place} <= {0.0, 0.01}
    with pytest.raises(UsageError, match="--value COLUMN"):
        read_money(current, None, {})


def test_nobody_is_contacted_where_every_arm_loses(measure):
    log = log_of(SCORES)
    found = measure(logs=[log], outcomes=outcomes_of(SCORES, log, offer=-0.2))
    text = playbook_toml(found["policy"], Money(), None)
    losing = [r for r in tomllib.loads(text)["rule"] if r["channel"] == "none"]
    assert losing
    assert all("No campaign" in rule["action"] for rule in losing)


def test_names_of_campaigns_cannot_break_the_playbook(measure, tmp_path):
    name = 'a "quoted" {name}\nwith = [everything] ' + "x" * 400
    found = measure(logs=[log_of(SCORES, name)])
    path = tmp_path / "new.toml"
    path.write_text(playbook_toml(found["policy"], Money(), None))
    rules = [rule for rule in load_rules(path).rules if rule.place]
    assert all("{" not in str(rule.action) and len(str(rule.action)) <= 300 for rule in rules)


def test_the_command_prints_the_document_and_writes_page_and_playbook(tmp_path):
    users = SCORES.head(1_500)
    log = log_of(users)
    for name, frame in {"scores": users, "outcomes": outcomes_of(users, log), "log": log}.items():
        write_table(frame, tmp_path / f"{name}.parquet")
    (tmp_path / "schema.toml").write_text(
        'name = "tiny"\nid = "customer"\nlabel = "bought"\nsnapshot = "day"\nhorizon_days = 7\n'
        '[[feature]]\nname = "visits"\nkind = "numeric"\n'
    )
    (tmp_path / "next.toml").write_text(f"{MARK}\n")
    inputs = ["scores.parquet", "--outcomes", "outcomes.parquet", "--contacted", "log.parquet"]
    options = ["--schema", "schema.toml", "--value", "spend", "--json"]
    outputs = ["--playbook-out", "next.toml", "--report", "page.html"]
    done = run("training", "backtest", *inputs, *options, *outputs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["campaigns"][0]["campaign"] == "spring"
    assert document["bundles"][0]["shift"] is None
    page = (tmp_path / "page.html").read_text()
    assert "Campaign spring" in page
    assert "What the next playbook should do" in page
    assert (
        page.count('aria-labelledby="effects-1-') == len(document["campaigns"][0]["outcomes"]) == 2
    )
    assert "Contacted users against the control group" not in page
    assert "no correction of probabilities is given" in page
    assert "[[rule]]" in (tmp_path / "next.toml").read_text()


def test_a_playbook_needs_a_contact_log():
    arguments = ["scores.parquet", "--outcomes", "outcomes.parquet", "--playbook-out", "next.toml"]
    done = CliRunner().invoke(backtest, arguments)
    assert isinstance(done.exception, UsageError)
    assert "--playbook-out: needs a contact log" in str(done.exception)


@pytest.mark.parametrize("outcome", ["purchase", "value"])
def test_a_picture_shows_each_effect_with_its_interval_and_says_it_in_words(measure, outcome):
    known = outcomes_of(SCORES, log_of(SCORES)).with_columns(
        spend=20.0 * pl.col("bought") * (1 + pl.int_range(pl.len()) % 3)
    )
    found = measure(outcomes=known, value="spend")
    arms = found["campaigns"][0]["outcomes"][outcome]
    picture = ElementTree.fromstring(effects_chart(outcome, arms, "x"))
    space = "{http://www.w3.org/2000/svg}"
    assert picture.get("role") == "img"
    assert picture.find(f"{space}title").text.startswith(f"Effect on {outcome} with 95 % intervals")
    told = picture.find(f"{space}desc").text.removesuffix(".").split("; ")
    scale = 100 if outcome == "purchase" else 1
    parts = [(arm, "all users", arm) for arm in arms]
    parts += [
        (arm, row["segment_names"][0], row) for arm in arms for row in arm["segments"]["rows"]
    ]
    due = {
        f"{arm['arm']}, {part}: {signed(scale * effect['difference'], 2)} "
        f"({signed(scale * effect['interval'][0], 2)} to {signed(scale * effect['interval'][1], 2)})"
        for arm, part, effect in parts
    }
    assert len(due) == len(told) == 6
    assert set(told) == due
    drawn = {text.text for text in picture.iter(f"{space}text")}
    assert {line.split(": ")[1] for line in told} <= drawn


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        (["nan"], "cost of 'reminder' must be from 0 to 1,000,000,000"),
        (["-1"], "cost of 'reminder' must be from 0"),
        (["1e300"], "cost of 'reminder' must be from 0"),
        (["1", "2"], "an arm more than once"),
    ],
)
def test_costs_are_amounts_and_given_once(costs, words):
    given = [text for cost in costs for text in ("--cost", "reminder", cost)]
    arguments = ["scores.parquet", "--outcomes", "outcomes.parquet", "--contacted", "log.csv"]
    done = CliRunner().invoke(backtest, [*arguments, *given])
    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)


def test_costs_are_those_of_arms_in_the_logs(measure):
    known = {"margin": 0.3, "order_value": 20.0, "channels": {"push": 0.001}}
    with pytest.raises(
        UsageError, match="no scored user in 1 arm: 'zzz'. There are 'mail', 'offer'"
    ):
        measure(**known, arms={"offer": 1.0, "zzz": 1.0})


def test_a_playbook_of_ones_own_is_not_replaced(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[[rule]]\n")
    with pytest.raises(CannotCreateError, match="was not written by this command"):
        check_replaceable(mine)
    check_replaceable(tmp_path / "new.toml")
