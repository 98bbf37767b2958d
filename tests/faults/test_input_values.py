"""Values that are missing, odd or out of range: faults.md, part C."""

import re

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from engine import load_bundle
from engine.bundle.open import open_bundle
from engine.errors import InputError
from engine.explain.explanation import explain
from engine.inputs.open import open_inputs
from engine.pipeline import input_drift
from engine.rows.typed import to_features
from tests.faults.inputs import SESSIONS, case, outcome, validated
from tests.helpers import BUNDLE, write_table

CASES = {
    "C01": "null where the schema forbids it: quarantined",
    "C02": "null where the schema allows it: scored as missing",
    "C03": "NaN and null: the same scores",
    "C04": "infinity: quarantined",
    "C05": "1e400: quarantined",
    "C06": "a negative count: quarantined",
    "C07": "out of range: quarantined",
    "C08": "an unseen category: scored as missing, counted",
    "C09": "a category in another spelling: scored as missing, counted; the similar value is named",
    "C10": "an empty text and null: the same scores",
    "C11": "a snapshot before 2000 or from 2100 on: quarantined; another date in the future is scored, because no clock is read",
    "C12": "cannot arise: no clock is read and no age limit is set; the scores carry the snapshot date",
    "C13": "a column with one value: drift alarm, 65 with --strict",
    "C14": "another unit: outside the bounds quarantined and 65 naming the unit; inside them a drift alarm",
    "C15": "half the rows of the previous run: drift alarm, 65 with --strict; without a previous summary the log says that nothing was compared",
    "C16": "values at a threshold and one step on either side: the same leaf as the native model",
    "C17": "denormals, -0.0, 2^24 + 1: the same scores in every format",
    "C18": "a text of 1 MB: passes through",
    "C19": "emoji, right-to-left marks, control characters: passes through",
    "C20": "all rows equal: scored",
    "C21": "one row: scored",
    "C22": "a row at a chunk boundary: the same scores for every chunk size and thread count",
}


SET_ASIDE = [
    case("B07", {"avg_order_value": "12,5"}, "avg_order_value|not_a_number"),
    case("B10-word", {SESSIONS: "Y"}, f"{SESSIONS}|not_a_number"),
    case("B11", {"snapshot_date": "22.11.2026"}, "snapshot_date|not_a_date"),
    case("B12-text", {"snapshot_date": "2026-11-22T00:00:00Z"}, "snapshot_date|not_a_date"),
    case("C01", {SESSIONS: None}, f"{SESSIONS}|missing"),
    case("C01-nan", {SESSIONS: "NaN"}, f"{SESSIONS}|missing"),
    case("C04", {SESSIONS: "inf"}, f"{SESSIONS}|not_finite"),
    case("C04-minus", {SESSIONS: "-inf"}, f"{SESSIONS}|not_finite"),
    case("C05", {SESSIONS: "1e400"}, f"{SESSIONS}|not_finite"),
    case("C05-float32", {SESSIONS: "1e39"}, f"{SESSIONS}|not_finite"),
    case("C06", {SESSIONS: "-1"}, f"{SESSIONS}|below_min"),
    case("C07", {SESSIONS: "501"}, f"{SESSIONS}|above_max"),
    case("C11-epoch", {"snapshot_date": "1970-01-01"}, "snapshot_date|before_2000"),
    case("C11-century", {"snapshot_date": "1926-11-22"}, "snapshot_date|before_2000"),
    case("C11-none", {"snapshot_date": "9999-12-31"}, "snapshot_date|after_2099"),
    case("C11-2100", {"snapshot_date": "2100-01-01"}, "snapshot_date|after_2099"),
    case("C11-far", {"snapshot_date": "+10000-01-01"}, "snapshot_date|after_2099"),
    case("D03", {"user_id": None}, "user_id|missing"),
    case("D03-empty", {"user_id": ""}, "user_id|missing"),
]


def test_dates_that_python_does_not_have_are_set_aside_c11(few, tmp_path):
    far = pl.lit(4_000_000, pl.Int32).cast(pl.Date)
    is_first = pl.int_range(pl.len()) < 1
    path = write_table(
        few.with_columns(
            pl.when(is_first).then(far).otherwise("snapshot_date").alias("snapshot_date")
        ),
        tmp_path / "u.parquet",
    )
    found = outcome(path)
    assert found.rejected["reasons"].to_list() == ["snapshot_date|after_2099"]
    assert validated(path).reasons == {"snapshot_date|after_2099": 1}
    assert input_drift([str(path)], BUNDLE)["rows_scored"] == few.height - 1
    with (
        open_inputs([str(path)]) as tables,
        pytest.raises(InputError, match=r"caught by: snapshot_date\|after_2099"),
    ):
        explain(tables, load_bundle(BUNDLE), few["user_id"][0])


@pytest.mark.parametrize(("wrong", "reason"), SET_ASIDE)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_wrong_row_is_set_aside_with_its_place_and_reason(
    few, expected, tmp_path, wrong, reason, ending
):
    texts = few.with_columns(pl.all().cast(pl.String))
    is_fifth = pl.int_range(pl.len()) == 4
    changed = texts.with_columns(
        pl.when(is_fifth).then(pl.lit(value, pl.String)).otherwise(name).alias(name)
        for name, value in wrong.items()
    )
    path = write_table(changed, tmp_path / f"u{ending}")
    found = outcome(path)
    assert found.rejected.select("source_file", "source_row", "reasons").rows() == [
        (str(path), 5, reason)
    ]
    assert found.summary["reasons"] == {reason: 1}
    assert found.scores.equals(expected.filter(~is_fifth))


def test_missing_values_that_are_allowed_are_scored_c02(few, scorer, tmp_path):
    empty = few.with_columns(avg_order_value=pl.lit(None, pl.Float32))
    found = outcome(write_table(empty, tmp_path / "u.csv"))
    assert found.scores.equals(scorer.score(empty))
    assert found.summary["rows_scored"] == few.height


def test_a_changed_unit_is_named_c14(users, tmp_path):
    cents = users.with_columns(pl.col("account_age_days", "avg_order_value") * 100)
    found = outcome(write_table(cents, tmp_path / "u.parquet"), max_reject_share=0.01)
    assert found.code == 65
    assert "values are about 100 times those of training" in found.message


def test_unseen_values_are_counted_and_near_ones_told_c08_c09(few, scorer, tmp_path):
    spelled = few.with_columns(country=pl.lit("de "), device_type=pl.lit("toaster"))
    path = write_table(spelled, tmp_path / "u.csv")
    found = outcome(path)
    assert found.summary["unseen_categories"] == {"country": 30, "device_type": 30}
    missing = few.with_columns(country=pl.lit(None, pl.String), device_type=pl.lit(None, pl.String))
    assert found.scores.equals(scorer.score(missing))
    report = validated(path)
    assert report.near_categories == {"country": {"DE": 30}}
    assert "30 in country (30 near 'DE')" in "\n".join(report.to_lines())


def test_odd_numbers_score_alike_in_every_format_c17(few, tmp_path):
    odd = pl.Series([-0.0, 1e-40, 1e-45, 2.0**24 + 1, 0.1], dtype=pl.Float64)
    some = few[:5].with_columns(
        total_spend_last_365d=odd.clip(upper_bound=50_000), avg_order_value=odd
    )
    first = outcome(write_table(some, tmp_path / "u.parquet")).scores
    assert first.height + 0 == outcome(write_table(some, tmp_path / "u.csv")).scores.height
    assert first.equals(outcome(write_table(some, tmp_path / "u.ndjson")).scores)


def test_an_odd_category_changes_nothing_but_itself_c18_c19(few, scorer, tmp_path):
    odd = few.with_columns(country=pl.lit("\0<script>\u202e" + "x" * 100_000))
    found = outcome(write_table(odd, tmp_path / "u.csv"))
    assert found.scores.equals(scorer.score(few.with_columns(country=pl.lit(None, pl.String))))


@pytest.mark.parametrize("rows", [case("C21", 1), case("C20", 2_000)])
def test_one_row_and_rows_all_alike_are_scored(few, scorer, tmp_path, rows):
    alike = pl.concat([few[:1]] * rows).with_columns(user_id=pl.int_range(rows).cast(pl.String))
    found = outcome(write_table(alike, tmp_path / "u.parquet"))
    assert found.scores["purchase_probability"].n_unique() == 1
    assert found.scores.height == rows


def test_one_value_for_all_is_an_alarm_that_stops_a_strict_run_c13(users, tmp_path):
    path = write_table(users[:1_000].with_columns(avg_session_duration=5.0), tmp_path / "u.parquet")
    alarm = "avg_session_duration: has one value for every user"
    assert any(words.startswith(alarm) for words in outcome(path).summary["drift"]["alarms"])
    found = outcome(path, strict=True)
    assert (found.code, alarm in found.message) == (65, True)


def test_half_the_rows_are_an_alarm_that_stops_a_strict_run_c15(users, tmp_path):
    path = write_table(users[:1_000], tmp_path / "u.parquet")
    first = outcome(path, strict=True)
    assert (first.code, first.summary["before"]) == (0, None)
    found = outcome(write_table(users[:500], path), strict=True)
    assert (found.code, "50% fewer than the 1,000 of the run before" in found.message) == (65, True)


def test_values_at_a_threshold_score_as_the_native_model_does_c16(few, scorer):
    native = (open_bundle(BUNDLE).path / "native" / "classifier.txt").read_text()
    names = [feature.name for feature in scorer.manifest.schema.model_features]
    place = names.index("avg_order_value")
    trees = re.findall(r"^split_feature=(.*)\n(?:.*\n)*?threshold=(.*)$", native, re.MULTILINE)
    edges = np.array(
        [
            edge
            for features, thresholds in trees
            for feature, edge in zip(features.split(), thresholds.split(), strict=True)
            if int(feature) == place
        ],
        np.float32,
    )
    assert len(edges) > 0
    values = np.concatenate([np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)])
    values = np.concatenate([edges, values])
    frame = pl.concat([few[:1]] * len(values)).with_columns(
        user_id=pl.int_range(len(values)).cast(pl.String), avg_order_value=pl.Series(values)
    )
    fit = (frame["avg_order_value"] >= 0) & (frame["avg_order_value"] <= 50_000)
    frame = frame.filter(fit)
    features = to_features(frame, scorer.manifest.schema.model_features, scorer.manifest.categories)
    raw = lgb.Booster(model_str=native).predict(features, raw_score=True)
    calibration = scorer.manifest.calibration
    margin = calibration.slope * raw + calibration.intercept
    found = scorer.score(frame)["purchase_probability"].to_numpy()
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-margin)), atol=1e-6)
