import dataclasses
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.bundle.manifest import BANDS
from engine.errors import BundleError, InputError, NoInputError
from engine.pages.text import section_lines
from tests.helpers import write_table
from tests.training.backtest.score_files import TABLE, scores_of
from training.backtest.effects import rate_differences
from training.backtest.figures import backtest, shift_to
from training.backtest.tables import read_tables
from training.backtest.without_log import control_effect
from training.report.sections.backtest import backtest_sections

OTHER_NAMES = dataclasses.replace(TABLE, id="user", snapshot="id", label="snapshot")


def outcomes_of(scores: pl.DataFrame, lift: float = 0.0, seed: int = 1) -> pl.DataFrame:
    """What came of them: as often as was said, and more often where they were contacted."""
    luck = np.random.default_rng(seed).random(scores.height)
    chance = scores["purchase_probability"].to_numpy() * 0.8
    chance = chance + lift * ~scores["in_control_group"].to_numpy()
    bought = pl.Series("bought", (luck < chance).astype(np.int8))
    return scores.select("customer", "day").with_columns(bought)


def printed(found) -> str:
    """What `training backtest` prints."""
    return "\n".join(section_lines(backtest_sections(found)))


@pytest.fixture
def report(tmp_path):
    def make(scores, outcomes, schema=TABLE, ending=".parquet"):
        files = [
            str(write_table(frame, tmp_path / f"{name}{ending}"))
            for name, frame in (("scores", scores), ("outcomes", outcomes))
        ]
        return backtest(files[:1], files[1:], schema)

    return make


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_scores_without_segments_are_those_of_one_group(report, ending):
    scores = scores_of(4_000)
    columns = {"segment_id": pl.lit(None, pl.Int8), "segment_name": pl.lit(None, pl.String)}
    found = report(scores.with_columns(**columns), outcomes_of(scores), ending=ending)
    (segment,) = found["bundles"][0]["segments"]
    assert (segment["name"], segment["rows"]) == ("all users", 4_000)
    assert "all users" in printed(found)


def test_what_was_said_stands_beside_what_came(report):
    scores = scores_of(4_000)
    outcomes = outcomes_of(scores)
    found = report(scores, outcomes)
    assert (found["scored"], found["with_outcome"], found["snapshots"]) == (
        4_000,
        4_000,
        ["2026-01-04"],
    )
    (bundle,) = found["bundles"]
    both = scores.join(outcomes, on=["customer", "day"])
    assert bundle["purchase_rate"] == pytest.approx(both["bought"].mean(), abs=1e-6)
    assert [d["values"] for d in bundle["deciles"]] == [[n] for n in range(10, 0, -1)]
    for name, figures in (
        ("propensity_decile", bundle["deciles"]),
        ("propensity_band", bundle["bands"]),
        ("segment_id", bundle["segments"]),
    ):
        expected = both.group_by(name).agg(
            pl.len(), pl.col("bought").mean(), pl.col("purchase_probability").mean()
        )
        measured = {
            f["segment_ids" if name == "segment_id" else "values"][0]: (
                *(f["rows"], f["purchase_rate"], f["mean_probability"]),
            )
            for f in figures
        }
        assert measured == {
            value: (rows, pytest.approx(rate, abs=1e-6), pytest.approx(said, abs=1e-6))
            for value, rows, rate, said in expected.rows()
        }
    assert [s["name"] for s in bundle["segments"]] == ["Ones", "Twos"]
    assert bundle["deciles"][-1]["cumulative_share_of_buyers"] == pytest.approx(1)
    assert bundle["deciles"][0]["lift"] > 1.5
    assert bundle["metrics"]["roc_auc"]["value"] > 0.7
    # The threshold is that of the score file.
    said, came = both["will_purchase"], both["bought"] == 1
    precision = float((said & came).sum() / said.sum())
    assert bundle["metrics"]["precision"]["value"] == pytest.approx(precision, abs=1e-6)


def test_columns_of_users_may_have_any_names(report):
    scores = scores_of(300)
    outcomes = outcomes_of(scores)
    other = {"customer": "user", "day": "id", "bought": "snapshot"}
    found = report(scores.rename(other, strict=False), outcomes.rename(other), OTHER_NAMES)
    assert found == report(scores, outcomes)


def test_every_format_gives_the_same_figures(report):
    scores = scores_of(600)
    outcomes = outcomes_of(scores)
    found = [report(scores, outcomes, ending=ending) for ending in (".parquet", ".csv", ".ndjson")]
    assert found[1:] == found[:-1]


def test_scores_and_outcomes_without_a_partner_are_counted(report):
    scores = scores_of(500)
    outcomes = outcomes_of(scores_of(600)).tail(550)
    late = pl.col("customer").is_in(["c00100", "c00101"])
    outcomes = outcomes.with_columns(bought=pl.when(~late).then("bought"))
    found = report(scores, outcomes)
    assert (found["scored"], found["with_outcome"]) == (500, 448)
    assert (found["without_outcome"], found["without_score"]) == (52, 100)


def test_another_date_is_another_outcome(report):
    scores = scores_of(500)
    next_week = scores.with_columns(day=pl.lit(date(2026, 1, 11)))
    outcomes = pl.concat([outcomes_of(scores), outcomes_of(next_week, seed=5)])
    found = report(scores, outcomes)
    assert (found["with_outcome"], found["without_score"]) == (500, 500)
    with pytest.raises(InputError, match="no row of 500 has an outcome"):
        report(scores, outcomes_of(next_week))


def test_labels_in_words_are_told_as_the_cause(report):
    scores = scores_of(500)
    words = outcomes_of(scores).with_columns(bought=pl.lit("yes"))
    with pytest.raises(InputError, match=r"\(0 rows; left out: bought\|\w+ 500\), joined by"):
        report(scores, words)


def test_two_bundles_are_told_apart(report):
    one, other = scores_of(500), scores_of(500, seed=3, bundle_id=pl.lit("tiny/b"))
    found = report(pl.concat([one, other]), outcomes_of(one))
    assert [b["bundle_id"] for b in found["bundles"]] == ["tiny/a", "tiny/b"]
    assert [b["users"] for b in found["bundles"]] == [500, 500]
    first, second = (b["metrics"]["roc_auc"]["value"] for b in found["bundles"])
    assert first > 0.65 > second


def test_a_bundle_with_few_users_is_only_counted(report):
    one, other = scores_of(500), scores_of(19, bundle_id=pl.lit("tiny/b"))
    found = report(pl.concat([one, other]), outcomes_of(one))
    assert [b["bundle_id"] for b in found["bundles"]] == ["tiny/a"]
    assert "because their bundle scored fewer than 20 users: 19." in printed(found)


def test_keys_that_come_twice_are_refused(report):
    scores = scores_of(100)
    outcomes = outcomes_of(scores)
    with pytest.raises(InputError, match=r"scores.*1 row of 101 whose 'customer', 'day', 'bundle"):
        report(pl.concat([scores, scores.head(1)]), outcomes)
    with pytest.raises(InputError, match=r"outcomes.*2 rows of 102 whose 'customer', 'day' came"):
        report(scores, pl.concat([outcomes, outcomes.head(2)]))


@pytest.mark.parametrize(
    ("scores", "outcomes", "words"),
    [
        ({"purchase_probability": pl.lit(1.5)}, {}, "purchase_probability|above_max 100"),
        ({"bundle_id": pl.lit(None, pl.String)}, {}, "bundle_id|missing 100"),
        (
            {"propensity_band": pl.lit("X")},
            {},
            "100 rows of 100 where 'propensity_band' is none of",
        ),
        ({"propensity_band": pl.lit(2)}, {}, "100 rows of 100 where 'propensity_band' is none of"),
        ({"propensity_decile": pl.lit(2.5)}, {}, "where 'propensity_decile' is none of 1, 2"),
        ({"segment_id": pl.lit(1e30)}, {}, r"segment_id\|above_max 100"),
        ({}, {"bought": pl.lit(2)}, "100 rows of 100 where 'bought' is not 0, 1"),
    ],
)
def test_what_is_no_score_or_no_outcome_is_refused(report, scores, outcomes, words):
    users = scores_of(100)
    with pytest.raises(InputError, match=words):
        report(users.with_columns(**scores), outcomes_of(users).with_columns(**outcomes))


def test_missing_columns_are_named(report):
    users = scores_of(100)
    with pytest.raises(InputError, match="2 missing columns: 'action', 'bundle_id'"):
        report(users.drop("bundle_id", "action"), outcomes_of(users))
    with pytest.raises(InputError, match="1 missing column: 'bought'"):
        report(users, outcomes_of(users).drop("bought"))
    with pytest.raises(InputError, match="column 'day': only the scores have it"):
        report(users, outcomes_of(users).drop("day"))


def test_users_without_dates_are_joined_by_their_ids(report):
    users = scores_of(100).drop("day")
    found = report(users, outcomes_of(scores_of(100)).drop("day"))
    assert (found["with_outcome"], found["snapshots"]) == (100, [])


@pytest.mark.parametrize("name", ["id", "label"])
def test_a_schema_must_name_what_is_joined(name, tmp_path):
    with pytest.raises(BundleError, match=f"names no {name}"):
        read_tables(["scores"], ["outcomes"], dataclasses.replace(TABLE, **{name: None}))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"customer": "user"}, "scores have the id column 'user'"),
        ({"day": "night"}, "scores have the snapshot date 'night'"),
    ],
)
def test_keys_of_another_schema_are_refused(report, names, words):
    scores = scores_of(100)
    with pytest.raises(InputError, match=words):
        report(scores.rename(names), outcomes_of(scores))


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(NoInputError, match="no such file"):
        backtest([str(tmp_path / "no.parquet")], [], TABLE)


def test_nothing_is_published_about_fewer_than_20_users(report):
    few = pl.int_range(pl.len()) < 19
    scores = scores_of(400).with_columns(
        segment_id=pl.when(few).then(3).otherwise("segment_id").cast(pl.Int8),
        segment_name=pl.when(few).then(pl.lit("Few")).otherwise("segment_name"),
        propensity_decile=pl.when(few).then(10).otherwise(2).cast(pl.Int8),
        propensity_band=pl.when(few).then(pl.lit("very_high")).otherwise(pl.lit("low")),
    )
    found = report(scores, outcomes_of(scores))
    (bundle,) = found["bundles"]
    assert [s["name"] for s in bundle["segments"]] == ["Ones", "Twos or Few"]
    filled = [(d["values"], d["rows"]) for d in bundle["deciles"] if d["rows"]]
    assert filled == [(list(range(2, 11)), 400)]
    assert [(b["values"], b["rows"]) for b in bundle["bands"]] == [(list(BANDS), 400)]
    assert all(c["segment_name"] != "Few" for c in bundle["control"]["cells"])
    assert bundle["control"]["cells_left_out"] == 2
    text = printed(found)
    assert "2 cells with fewer than 20 users in either group" in text
    assert "All bands" in text
    assert "2–10" in text
    with pytest.raises(
        InputError, match="19 users with a score and an outcome; at least 20 of one"
    ):
        report(scores.head(19), outcomes_of(scores))


def test_an_empty_decile_tells_of_nobody(report):
    scores = scores_of(400).with_columns(
        propensity_decile=pl.col("propensity_decile").replace(7, 8).cast(pl.Int8)
    )
    (bundle,) = report(scores, outcomes_of(scores))["bundles"]
    eighth, seventh = bundle["deciles"][2:4]
    assert (seventh["rows"], seventh["purchase_rate"]) == (0, None)
    assert seventh["cumulative_share_of_buyers"] == eighth["cumulative_share_of_buyers"] > 0


def test_outcomes_of_one_kind_have_no_ranking(report):
    scores = scores_of(100)
    found = report(scores, outcomes_of(scores).with_columns(bought=pl.lit(0)))
    assert found["bundles"][0]["metrics"] == {}
    assert found["bundles"][0]["segments"][0]["lift"] is None
    assert "the ranking cannot be measured" in printed(found)


def test_an_effect_of_contacts_is_found_where_there_is_one(report):
    scores = scores_of(20_000)
    (bundle,) = report(scores, outcomes_of(scores, lift=0.1))["bundles"]
    pooled = bundle["control"]["all_cells"]
    assert pooled["shown"]
    assert pooled["interval"][0] < 0.1 < pooled["interval"][1]
    cell = bundle["control"]["cells"][0]
    assert (cell["segment_id"], cell["band"]) == (1, "low")
    assert cell["contacted_rows"] > cell["control_rows"] > 0


def test_no_effect_is_claimed_where_there_is_none(report):
    scores = scores_of(20_000)
    found = report(scores, outcomes_of(scores))
    control = found["bundles"][0]["control"]
    assert not control["all_cells"]["shown"]
    text = printed(found)
    assert "no effect is shown" in text
    assert "which is not proof of none" in text


def test_unequal_shares_of_the_control_group_are_no_effect():
    # Likely buyers are contacted three times as often as left out, the others the other way round.
    rows = [("very_high", 0, 300, 0.8), ("very_high", 1, 100, 0.8)]
    rows += [("low", 0, 100, 0.1), ("low", 1, 300, 0.1)]
    frame = pl.concat(
        pl.DataFrame(
            {
                "segment_id": 1,
                "propensity_band": band,
                "in_control_group": control,
                "bought": np.arange(count) < round(rate * count),
            }
        )
        for band, control, count, rate in rows
    ).with_columns(user=pl.int_range(pl.len()), bought=pl.col("bought").cast(pl.Int8))
    pooled = control_effect(frame, {1: "All"})["all_cells"]
    assert pooled["difference"] == pytest.approx(0)
    assert not pooled["shown"]


def test_the_interval_of_a_difference_is_newcombes():
    # Newcombe (1998), Statistics in Medicine 17, p. 875, example (a), method 10: 56/70 and 48/80.
    low, high = rate_differences(np.array([[56 / 70], [48 / 80]]), np.array([[70], [80]]))
    assert (float(low[0]), float(high[0])) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_shift_moves_the_mean_probability_to_the_rate():
    rng = np.random.default_rng(0)
    said = rng.beta(1, 9, 20_000).astype(np.float32)
    odds = 1.5 * said / (1 - said.astype(np.float64))
    bought = (rng.random(20_000) < odds / (1 + odds)).astype(np.int8)
    shift = shift_to(said, bought, np.arange(20_000))
    low, high = shift["interval"]
    assert low < np.log(1.5) < high
    assert high - low < 0.12
    moved = said / (said + (1 - said) * np.exp(-shift["log_odds"]))
    assert moved.mean() == pytest.approx(bought.mean(), abs=1e-6)


def test_rates_as_predicted_need_no_shift_and_none_reaches_everybody():
    rng = np.random.default_rng(3)
    said = rng.beta(1, 9, 5_000).astype(np.float32)
    users = np.arange(5_000)
    low, high = shift_to(said, (rng.random(5_000) < said).astype(np.int8), users)["interval"]
    assert low < 0 < high
    assert shift_to(said, np.ones(5_000, np.int8), users) is None
    assert shift_to(np.zeros(5_000, np.float32), np.zeros(5_000, np.int8), users) is None


def test_rows_of_one_user_widen_the_interval_of_the_shift():
    said = np.full(4_000, 0.2, np.float32)
    bought = np.repeat(np.random.default_rng(2).random(400) < 0.2, 10).astype(np.int8)
    alone, joint = (
        shift_to(said, bought, users) for users in (np.arange(4_000), np.arange(4_000) // 10)
    )
    assert joint["log_odds"] == alone["log_odds"]
    widths = [np.diff(found["interval"])[0] for found in (alone, joint)]
    assert widths[1] > 2.5 * widths[0]
