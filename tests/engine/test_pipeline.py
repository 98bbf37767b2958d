import fcntl
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.errors import (
    BundleError,
    CannotCreateError,
    InputError,
    LockedError,
    NoInputError,
    UsageError,
)
from engine.model.threads import in_order
from tests.helpers import BUNDLE, read_summary, read_table, write_table

COLUMNS = {
    "user_id": pl.String,
    "snapshot_date": pl.Date,
    "purchase_probability": pl.Float32,
    "will_purchase": pl.Boolean,
    "propensity_decile": pl.Int8,
    "propensity_band": pl.String,
    "segment_id": pl.Int8,
    "segment_name": pl.String,
    "driver_1": pl.String,
    "driver_2": pl.String,
    "driver_3": pl.String,
    "driver_1_impact": pl.Float32,
    "driver_2_impact": pl.Float32,
    "driver_3_impact": pl.Float32,
    "action": pl.String,
    "in_control_group": pl.Boolean,
    "bundle_id": pl.String,
}


def run(source, out, **options):
    return score([str(source)], BUNDLE, out, ScoreOptions(**options))


@pytest.fixture(scope="module")
def expected(users, scorer):
    return scorer.score(users)


def test_score_file_has_the_columns_of_the_contract_in_input_order(users_file, users, tmp_path):
    summary = run(users_file, tmp_path / "s.parquet")
    scores = read_table(tmp_path / "s.parquet")
    assert scores.schema == COLUMNS
    assert scores["user_id"].equals(users["user_id"])
    assert summary.rows_read == summary.rows_scored == users.height
    assert summary.rows_quarantined == 0


def test_columns_agree_with_one_another(expected, scorer):
    manifest = scorer.manifest
    probability = expected["purchase_probability"].to_numpy()
    assert np.array_equal(expected["will_purchase"], probability >= np.float32(manifest.threshold))
    cuts = np.float32(manifest.decile_cuts)
    assert np.array_equal(
        expected["propensity_decile"], 1 + (probability[:, None] >= cuts).sum(axis=1)
    )
    limits = expected.group_by("propensity_band").agg(
        low=pl.min("purchase_probability"), high=pl.max("purchase_probability")
    )
    assert limits.sort("low")["propensity_band"].to_list() == ["low", "medium", "high", "very_high"]
    assert (limits.sort("low")["high"][:-1] < limits.sort("low")["low"][1:]).all()
    names = dict(expected.select("segment_id", "segment_name").unique().iter_rows())
    assert names == {segment.id: segment.name for segment in manifest.segments}


@pytest.mark.parametrize("count", range(4))
def test_as_many_drivers_as_asked_for(users, scorer, expected, count):
    found = scorer.score(users, drivers=count)
    left_out = [f"driver_{n}{tail}" for n in range(count + 1, 4) for tail in ("", "_impact")]
    assert found.equals(expected.drop(left_out))


@pytest.mark.parametrize("name", ["drivers", "reasons"])
def test_more_drivers_than_there_are_is_refused(users, scorer, name):
    with pytest.raises(UsageError, match=f"{name}: 4 given; expected 0 to 3"):
        scorer.score(users, **{name: 4})


@pytest.mark.parametrize("count", [1, 3])
def test_reasons_follow_the_drivers(users, scorer, expected, count):
    found = scorer.score(users, drivers=1, reasons=count)
    names = [f"reason_{n + 1}" for n in range(count)]
    place = found.columns.index("driver_1_impact") + 1
    assert found.columns[place : place + count] == names
    left_out = [f"driver_{n}{tail}" for n in (2, 3) for tail in ("", "_impact")]
    assert found.drop(names).equals(expected.drop(left_out))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", ".ndjson"])
def test_every_output_format_holds_the_same_reasons(users_file, users, scorer, tmp_path, ending):
    run(users_file, tmp_path / f"s{ending}", reasons=3, chunk_rows=999)
    found = read_table(tmp_path / f"s{ending}").select(pl.col("^reason_.$").cast(pl.String))
    assert found.equals(scorer.score(users, reasons=3).select(found.columns))


def test_reasons_are_dictionaries_in_arrow(users_file, tmp_path):
    run(users_file, tmp_path / "s.arrow", reasons=1)
    assert pl.scan_ipc(tmp_path / "s.arrow").collect_schema()["reason_1"] == pl.Categorical


def test_impacts_add_up_to_the_log_odds(users, scorer, expected):
    found = scorer.score(users, impacts=True)
    assert found.select(expected.columns).equals(expected)
    features = [feature.name for feature in scorer.manifest.schema.model_features]
    names = [f"impact_{name}" for name in features]
    assert found.columns[len(expected.columns) :] == ["base_value", *names]
    margin = found.select(pl.sum_horizontal("base_value", *names)).to_series().to_numpy()
    p = found["purchase_probability"].to_numpy().astype(np.float64)
    assert np.allclose(np.log(p / (1 - p)), margin, atol=1e-4)
    impacts = found.select(names).to_numpy()
    order = np.argsort(-np.abs(impacts), axis=1, kind="stable")[:, :3]
    for n in range(3):
        assert found[f"driver_{n + 1}"].to_list() == [features[i] for i in order[:, n]]
        expected_impact = np.take_along_axis(impacts, order, axis=1)[:, n]
        assert np.array_equal(found[f"driver_{n + 1}_impact"], expected_impact)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".arrow", ".ndjson"])
def test_every_input_format_gives_the_bytes_that_parquet_gives(users, users_file, tmp_path, ending):
    other = write_table(users, tmp_path / f"users{ending}")
    run(users_file, tmp_path / "a.csv")
    run(other, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("ending", [".csv", ".arrow", ".ndjson"])
def test_every_output_format_holds_the_same_scores(users_file, expected, tmp_path, ending):
    run(users_file, tmp_path / f"s{ending}")
    found = read_table(tmp_path / f"s{ending}")
    assert found.columns == expected.columns
    columns = ["user_id", "propensity_band", "segment_name", "driver_1", "driver_3"]
    assert found.select(columns).cast(pl.String).equals(expected.select(columns))
    difference = found["purchase_probability"] - expected["purchase_probability"]
    assert difference.abs().max() < 1e-6


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunk_rows", [1, 33, 100_000])
def test_bytes_do_not_depend_on_threads_or_chunks(users, tmp_path, threads, chunk_rows):
    source = write_table(users[:100], tmp_path / "few.parquet")
    run(source, tmp_path / "a.parquet", reasons=3)
    run(source, tmp_path / "b.parquet", reasons=3, threads=threads, chunk_rows=chunk_rows)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_files_give_what_memory_gives(users_file, expected, tmp_path):
    run(users_file, tmp_path / "s.parquet", chunk_rows=999)
    assert read_table(tmp_path / "s.parquet").equals(expected)


def test_column_order_and_further_columns_change_nothing(users, scorer, expected):
    shuffled = users.select(reversed(users.columns)).with_columns(more=pl.lit("x"))
    assert scorer.score(shuffled).equals(expected)


def test_scorer_is_shared_by_threads(users, scorer, expected):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: scorer.score(users), range(8)))
    assert all(result.equals(expected) for result in results)


def test_scoring_leaves_the_callers_frame_alone(users, scorer):
    before = users.clone()
    scorer.score(users)
    assert users.equals(before)


def broken(users, count):
    """Users of whom the first few have an impossible number of sessions."""
    return users.with_columns(
        sessions_last_7d=pl.when(pl.int_range(pl.len()) < count)
        .then(-1)
        .otherwise("sessions_last_7d")
    )


def test_wrong_rows_are_set_aside_and_counted(users, expected, tmp_path):
    first = write_table(users[:100], tmp_path / "a.parquet")
    second = write_table(broken(users[100:], 3), tmp_path / "b.csv")
    out = tmp_path / "s.parquet"
    summary = score([str(first), str(second)], BUNDLE, out, ScoreOptions(chunk_rows=64))
    rejected = read_table(tmp_path / "s.parquet.quarantine.parquet")
    assert rejected["source_file"].to_list() == [str(second)] * 3
    assert rejected["source_row"].to_list() == [1, 2, 3]
    assert rejected["reasons"].to_list() == ["sessions_last_7d|below_min"] * 3
    assert rejected["user_id"].to_list() == users["user_id"][100:103].to_list()
    assert summary.rows_read == summary.rows_scored + summary.rows_quarantined == users.height
    assert summary.reasons == {"sessions_last_7d|below_min": 3}
    assert read_table(out).equals(
        expected.filter(~pl.col("user_id").is_in(rejected["user_id"].implode()))
    )


def test_rows_set_aside_keep_every_column_of_every_input(users, tmp_path):
    wrong = broken(users[:4], 2)
    numbers = wrong.with_columns(note=1, tags=pl.lit(["x"]), blob=pl.lit(b"x"), reasons=pl.lit("y"))
    first = write_table(numbers, tmp_path / "a.parquet")
    words = broken(users[4:8], 1).with_columns(note=pl.lit("late"), more=pl.lit("m"))
    second = write_table(words, tmp_path / "b.csv")
    out = tmp_path / "s.csv"
    score([str(first), str(second)], BUNDLE, out, ScoreOptions(max_reject_share=1))
    rejected = read_table(tmp_path / "s.csv.quarantine.csv")
    added = ["note", "more", "source_file", "source_row", "reasons"]
    assert rejected.columns == [*users.columns, *added]
    reason = "sessions_last_7d|below_min"
    assert rejected.select(added).rows() == [
        ("1", None, str(first), 1, reason),
        ("1", None, str(first), 2, reason),
        ("late", "m", str(second), 1, reason),
    ]


@pytest.mark.parametrize("name", ["*", "^.*$"])
def test_a_further_column_may_have_any_name(users, tmp_path, name):
    further = broken(users[:10], 2).with_columns(pl.lit("kept").alias(name))
    out = tmp_path / "s.parquet"
    run(write_table(further, tmp_path / "users.parquet"), out, max_reject_share=1)
    rejected = read_table(tmp_path / "s.parquet.quarantine.parquet")
    assert rejected.columns[:-3] == further.columns
    assert rejected[name].to_list() == ["kept"] * 2


def test_rows_that_were_set_aside_can_be_mended_and_scored(users, tmp_path):
    run(
        write_table(broken(users[:4], 2), tmp_path / "u.csv"),
        tmp_path / "s.csv",
        max_reject_share=1,
    )
    aside = read_table(tmp_path / "s.csv.quarantine.csv")
    source = write_table(aside.with_columns(sessions_last_7d=0), tmp_path / "mended.csv")
    assert run(source, tmp_path / "again.csv").rows_scored == 2


def test_too_many_wrong_rows_publish_nothing(users, tmp_path):
    source = write_table(broken(users, 51), tmp_path / "users.csv")
    out = tmp_path / "s.csv"
    out.write_text("old")
    with pytest.raises(
        InputError, match=r"51 of 5,000 rows \(1.0%\).*sessions_last_7d.below_min 51"
    ):
        run(source, out, if_exists="replace")
    assert out.read_text() == "old"
    summary = read_summary(out)
    assert (summary["published"], summary["stands"], summary["exit_code"]) == (
        False,
        "earlier run",
        65,
    )
    assert summary["reasons"] == {"sessions_last_7d|below_min": 51}
    run(source, out, if_exists="replace", max_reject_share=0.02)
    assert read_summary(out)["rows_quarantined"] == 51


def test_wrong_rows_are_refused_in_memory(users, scorer):
    with pytest.raises(InputError, match=r"frame: 2 rows of 10 .*: 1, 2 \(from 1\).*below_min 2"):
        scorer.score(broken(users[:10], 2))


def test_a_repeated_key_is_refused_in_memory(users, scorer):
    repeated = pl.concat([users[:9], users[3:4]])
    with pytest.raises(InputError, match=r"1 row of 10 .*: 10 \(from 1\).*user_id.duplicate 1"):
        scorer.score(repeated)


def test_further_columns_of_any_name_do_not_mark_rows(users, expected, tmp_path):
    odd = users.with_columns(pl.lit(True).alias("row|too_short"), pl.lit("x").alias("x|too_short"))
    run(write_table(odd, tmp_path / "u.parquet"), tmp_path / "s.parquet")
    assert read_table(tmp_path / "s.parquet").equals(expected)


def test_unseen_categories_count_as_missing(users, scorer):
    strange = users[:50].with_columns(country=pl.lit("Atlantis"))
    missing = users[:50].with_columns(country=pl.lit(None, pl.String))
    assert scorer.score(strange).equals(scorer.score(missing))


def test_unseen_categories_are_counted_in_the_summary(users, tmp_path):
    source = write_table(users[:50].with_columns(country=pl.lit("Atlantis")), tmp_path / "u.csv")
    assert run(source, tmp_path / "s.csv").unseen_categories == {"country": 50}


def test_summary_is_what_was_published(users_file, tmp_path):
    out = tmp_path / "s.parquet"
    summary = run(users_file, out)
    stated = read_summary(out)
    assert stated == json.loads(summary.to_json())
    scores = read_table(out)
    assert stated["will_purchase_rows"] == scores["will_purchase"].sum()
    assert sum(stated["segments"].values()) == scores.height
    assert sum(stated["deciles"].values()) == scores.height
    assert stated["mean_probability"] == pytest.approx(
        scores["purchase_probability"].mean(), rel=1e-6
    )
    assert stated["outputs"]["scores"]["size_bytes"] == out.stat().st_size


def test_progress_counts_every_row(users_file, users, tmp_path):
    told = []
    score(
        [str(users_file)],
        BUNDLE,
        tmp_path / "s.csv",
        ScoreOptions(chunk_rows=2_000),
        lambda done, total: told.append((done, total)),
    )
    assert told == [(2_000, 5_000), (4_000, 5_000), (5_000, 5_000)]


def test_an_existing_output_is_kept_replaced_or_skipped(users_file, tmp_path):
    out = tmp_path / "s.csv"
    out.write_text("old")
    with pytest.raises(CannotCreateError, match="exists already"):
        run(users_file, out)
    assert run(users_file, out, if_exists="skip").status == "skipped"
    assert out.read_text() == "old"
    run(users_file, out, if_exists="replace")
    assert read_table(out).height == 5_000


@pytest.mark.parametrize("place", ["out", "quarantine", "summary"])
def test_an_input_is_never_an_output(users_file, tmp_path, place):
    before = users_file.read_bytes()
    with pytest.raises(UsageError, match="is an input and an output"):
        run(users_file, **{"out": tmp_path / "s.csv", place: users_file}, if_exists="replace")
    assert users_file.read_bytes() == before


def test_a_bug_leaves_a_summary_of_the_failure(users_file, tmp_path, monkeypatch):
    def fail(*_args):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("engine.rows.prepare.to_features", fail)
    with pytest.raises(ZeroDivisionError):
        run(users_file, tmp_path / "s.csv")
    summary = read_summary(tmp_path / "s.csv")
    assert (summary["published"], summary["exit_code"]) == (False, 1)
    # The message may quote a value of the input.
    assert re.fullmatch(r"a bug: ZeroDivisionError at \w+.py:\d+", summary["error"])


def test_a_refused_run_leaves_the_summary_of_the_run_that_holds_the_output(users_file, tmp_path):
    out = tmp_path / "s.csv"
    run(users_file, out)
    before = read_summary(out)
    with (tmp_path / "s.csv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            run("absent.csv", out, if_exists="replace")
    assert read_summary(out) == before


def test_an_output_never_lies_in_a_directory_that_is_an_input(users_file):
    with pytest.raises(UsageError, match="lies in a directory that is an input"):
        run(users_file.parent, users_file.parent / "s.csv")
    assert not (users_file.parent / "s.csv").exists()


def test_an_input_without_rows_is_refused(users, tmp_path):
    with pytest.raises(InputError, match="no rows"):
        run(write_table(users.clear(), tmp_path / "u.csv"), tmp_path / "s.csv")
    assert read_summary(tmp_path / "s.csv")["stands"] == "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda u: u.with_columns(user_id=pl.int_range(pl.len())),
            "'user_id' differs .*: String in .*users.parquet, Int64 in .*other.parquet",
        ),
        (
            lambda u: u.drop("snapshot_date"),
            "'snapshot_date' differs .*: present in .*users.parquet, absent in .*other.parquet",
        ),
        (lambda u: u.drop("country"), "other.parquet: 1 missing column: 'country'"),
    ],
)
def test_a_second_file_that_is_not_like_the_first_is_named(
    users, users_file, tmp_path, change, message
):
    other = write_table(change(users), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=message):
        score([str(users_file), str(other)], BUNDLE, tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("source", "bundle", "kind"),
    [("absent.parquet", BUNDLE, NoInputError), (None, "absent", BundleError)],
)
def test_what_is_missing_is_named(users_file, tmp_path, source, bundle, kind):
    with pytest.raises(kind, match="absent"):
        score([source or str(users_file)], bundle, tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


def test_results_come_in_the_order_of_the_items():
    assert list(in_order(lambda n: n * n, range(50), 3)) == [n * n for n in range(50)]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // n, [1, 0, 1], 2))


def test_items_are_taken_only_a_little_ahead():
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield n

    results = in_order(lambda n: n, items(), 2)
    next(results)
    assert len(taken) <= 5
