import gzip
import hashlib
import signal
import stat

import numpy as np
import polars as pl
import pytest

from engine.activate.audience import make_audience
from engine.activate.campaign import comparable_control
from engine.activate.options import AudienceOptions
from engine.errors import (
    CannotCreateError,
    InterruptedRunError,
    LockedError,
    UsageError,
)
from engine.interruption import signals_noted
from engine.storage import locked
from tests.engine.activate.lists import contactable, make
from tests.helpers import write_table

ARMS = {"offer": 0.5, "reminder": 0.5}


def test_the_users_of_the_highest_probability_are_listed_in_the_order_of_the_scores(source, scores):
    found, campaign = make(source, top=700)
    free = contactable(scores)
    best = free.sort("purchase_probability", descending=True)["user_id"][:700]
    assert found["user_id"].to_list() == [u for u in scores["user_id"] if u in set(best)]
    assert found.columns == [
        *("user_id", "snapshot_date", "purchase_probability", "propensity_band", "segment_name"),
        *("action", "driver_1", "driver_2", "driver_3", "arm"),
    ]
    kept = scores.select(found.columns[:-1]).filter(pl.col("user_id").is_in(best.implode()))
    assert found.drop("arm").equals(kept)
    assert np.float32(campaign.cutoff) == found["purchase_probability"].min()
    reached = scores.filter("in_control_group", pl.col("purchase_probability") >= campaign.cutoff)
    assert (campaign.users, campaign.control_users) == (700, reached.height)
    assert campaign.expected_buyers == pytest.approx(found["purchase_probability"].sum(), abs=0.01)
    assert campaign.scores[0].file == "scores.parquet"
    assert campaign.scores[0].sha256 == hashlib.sha256(source.read_bytes()).hexdigest()


def test_without_a_limit_everybody_but_the_control_group_is_listed(source, scores):
    found, campaign = make(source)
    assert found["user_id"].equals(contactable(scores)["user_id"])
    assert campaign.cutoff is None
    assert campaign.control_users == scores["in_control_group"].sum()


def test_filters_are_met_by_every_user(source, scores):
    name, number = scores.select("segment_name", pl.col("segment_id").cast(pl.String)).row(0)
    found, campaign = make(source, segments=(name,), bands=("high", "very_high"))
    wanted = contactable(scores).filter(
        pl.col("segment_name") == name, pl.col("propensity_band").is_in(["high", "very_high"])
    )
    assert found["user_id"].equals(wanted["user_id"])
    assert 0 < found.height < scores.height / 4
    assert make(source, out=source.with_name("b.csv"), segments=(number,))[1].users > found.height
    least = float(str(found["purchase_probability"].median()))
    above, _ = make(source, out=source.with_name("c.parquet"), min_probability=least)
    assert above["purchase_probability"].min() >= np.float32(least)
    assert campaign.filters.segments == (name,)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"share": 0.1}, lambda free: free // 10),
        ({"budget": 0.3, "cost": 0.1}, lambda _: 3),
        ({"budget": 10, "cost": 0.02}, lambda _: 500),
        ({"top": 10**9}, lambda free: free),
    ],
)
def test_the_size_follows_from_share_or_budget(source, scores, options, size):
    found, campaign = make(source, **options)
    assert found.height == campaign.users == size(contactable(scores).height)
    if "cost" in options:
        assert campaign.cost == pytest.approx(options["budget"], abs=options["cost"])


def test_ties_go_to_the_smallest_draw_whatever_the_order_of_rows(scores, tmp_path):
    tied = scores.with_columns(purchase_probability=pl.lit(0.25, pl.Float32))
    found, campaign = make(write_table(tied, tmp_path / "a.parquet"), top=300)
    draws = {u: hashlib.sha256(f"tie-v1:{u}".encode()).hexdigest()[:8] for u in tied["user_id"]}
    free = contactable(tied)["user_id"].to_list()
    assert set(found["user_id"]) == set(sorted(free, key=draws.get)[:300])
    assert campaign.cutoff == 0.25
    other = write_table(tied.sample(fraction=1, shuffle=True, seed=1), tmp_path / "b.parquet")
    again, _ = make(other, out=tmp_path / "other.parquet", top=300)
    assert set(again["user_id"]) == set(found["user_id"])


def test_arms_and_control_group_are_one_column(source, scores):
    options = {"campaign": "spring", "arms": ARMS, "top": 1_000}
    found, campaign = make(source, include_control=True, **options)
    counts = dict(found["arm"].value_counts().iter_rows())
    assert counts == {**campaign.users_by_arm, "control": campaign.control_users}
    in_control = scores.filter("in_control_group")["user_id"].implode()
    assert found.filter(arm="control")["user_id"].is_in(in_control).all()
    assert found["campaign"].unique().to_list() == ["spring"]
    alone, _ = make(source, out=source.with_name("alone.parquet"), **options)
    assert alone.equals(found.filter(pl.col("arm") != "control"))
    # Who is in which arm does not depend on who else is listed.
    fewer, _ = make(source, out=source.with_name("fewer.parquet"), **{**options, "top": 200})
    both = fewer.join(found, on="user_id", suffix="_all")
    assert (both.height, (both["arm"] == both["arm_all"]).all()) == (200, True)


def test_a_campaign_may_draw_control_users_of_its_own(source, scores):
    arms = {"offer": 0.4, "reminder": 0.3, "control": 0.3}
    options = {"campaign": "spring", "arms": arms, "top": 1_000}
    found, campaign = make(source, include_control=True, **options)
    counts = dict(found["arm"].value_counts().iter_rows())
    assert counts == {**campaign.users_by_arm, "control": campaign.control_users}
    assert set(campaign.users_by_arm) == {"offer", "reminder"}
    listed = scores.filter(pl.col("user_id").is_in(found["user_id"].implode()))
    of_scores = listed["in_control_group"].sum()
    assert campaign.users + campaign.control_users - of_scores == 1_000
    assert 250 < campaign.control_users - of_scores < 350
    control = comparable_control(scores, campaign)["user_id"]
    assert set(control) == set(found.filter(arm="control")["user_id"])
    alone, same = make(source, out=source.with_name("alone.parquet"), **options)
    assert alone.equals(found.filter(pl.col("arm") != "control"))
    assert same.control_users == campaign.control_users


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".ndjson", ".arrow"])
def test_every_format_of_scores_gives_the_same_bytes(source, scores, tmp_path, ending):
    options = {"campaign": "c", "arms": ARMS, "top": 500, "bands": ("medium", "high")}
    other = write_table(scores, tmp_path / f"other{ending}")
    make_audience([str(source)], tmp_path / "a.csv", AudienceOptions(**options))
    make_audience([str(other)], tmp_path / "b.csv", AudienceOptions(**options))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_every_format_of_lists_holds_the_same_users_for_the_owner_alone(source, tmp_path):
    expected, _ = make(source, top=50)
    for ending in (".csv", ".csv.gz", ".ndjson", ".arrow"):
        out = tmp_path / f"list{ending}"
        found, _ = make(source, out=out, top=50)
        assert found["user_id"].cast(pl.String).equals(expected["user_id"])
        for path in (out, tmp_path / f"{out.name}.campaign.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (
        gzip.decompress((tmp_path / "list.csv.gz").read_bytes())
        == (tmp_path / "list.csv").read_bytes()
    )


def test_several_score_files_are_one_audience(scores, source, tmp_path):
    whole, _ = make(source, top=400)
    parts = [
        write_table(scores[:2_000], tmp_path / "1.parquet"),
        write_table(scores[2_000:], tmp_path / "2.parquet"),
    ]
    found, campaign = make(parts, out=tmp_path / "parts.parquet", top=400)
    assert found.equals(whole)
    assert [each.file for each in campaign.scores] == ["1.parquet", "2.parquet"]


def test_rows_that_lie_in_several_reads_keep_their_ranks(scores, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.activate.score_rows.READ_ROWS", 700)
    source = write_table(scores, tmp_path / "scores.parquet")
    found, _ = make(source, top=333)
    best = contactable(scores).sort("purchase_probability", descending=True)["user_id"][:333]
    assert set(found["user_id"]) == set(best)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 5, "share": 0.1}, "--top and --share: each limits the size"),
        ({"budget": 0, "cost": 1}, "--budget: must be a number above 0, found 0"),
        ({"budget": 5, "cost": 0}, "--cost: must be a number above 0, found 0"),
        ({"budget": 5}, "--budget: needs --cost"),
        ({"top": 0}, "--top: must be a number above 0"),
        ({"share": 1.5}, "--share: must be at most 1, found 1.5"),
        ({"cost": 1e308}, "--cost: must be at most 1,000,000,000, found 1"),
        ({"budget": float("inf"), "cost": 1}, "--budget: must be at most 1,000,000,000, found inf"),
        ({"cost": float("nan")}, "--cost: must be a number above 0, found nan"),
        ({"min_probability": float("nan")}, "--min-probability: must be from 0 to 1"),
        ({"bands": ("highest",)}, "no band 'highest'. The bands are 'low', 'medium', 'high'"),
        ({"arms": ARMS}, "--arms: needs --campaign"),
        ({"arms": {"a": 0.5}, "campaign": "c"}, "sum to 0.5"),
        ({"campaign": "a:b"}, "--campaign: 'a:b' is not a name"),
        ({"template": "braze", "columns": ("id",)}, "Leave out --columns and --rename"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        AudienceOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "hubspot"}, "no 'hubspot'. There are 'braze', 'google-ads', 'klaviyo'"),
        ({"template": "braze"}, "braze takes '.csv', not '.parquet'"),
        ({"renames": {"email": "Email"}}, "--rename: no column 'email' in the list"),
        ({"renames": {"id": "arm"}}, "'arm' more than once in the list"),
        (
            {"columns": ("id",), "campaign": "c", "arms": ARMS},
            "would mix arms without a column 'arm'",
        ),
        ({"columns": ("id",), "include_control": True}, "would mix arms"),
        ({"csv_for_spreadsheets": True}, "not a CSV file"),
    ],
)
def test_lists_that_no_sender_could_use_are_refused(source, options, message):
    with pytest.raises(UsageError, match=message):
        make(source, **options)
    assert [path.name for path in source.parent.iterdir()] == ["scores.parquet"]


def test_a_list_that_exists_is_kept_replaced_or_left_alone(source):
    out = source.with_name("list.csv")
    make(source, out=out, top=5)
    before = out.read_bytes()
    with pytest.raises(CannotCreateError, match="exists already"):
        make(source, out=out, top=6)
    assert make_audience([str(source)], out, AudienceOptions(if_exists="skip")) is None
    assert out.read_bytes() == before
    found, campaign = make(source, out=out, top=6, if_exists="replace")
    assert (found.height, campaign.users) == (6, 6)
    with locked(out.with_name("list.csv.lock"), out), pytest.raises(LockedError):
        make(source, out=out, if_exists="replace")


@pytest.mark.parametrize("if_exists", ["fail", "skip"])
def test_a_campaign_file_whose_list_is_gone_is_replaced_only_if_asked_for(source, if_exists):
    out = source.with_name("list.csv")
    make(source, out=out, top=5)
    out.unlink()
    campaign = out.with_name("list.csv.campaign.json")
    before = campaign.read_bytes()
    with pytest.raises(CannotCreateError, match="campaign.json: exists already, and its list does"):
        make(source, out=out, top=6, if_exists=if_exists)
    assert (campaign.read_bytes(), out.exists()) == (before, False)
    assert make(source, out=out, top=6, if_exists="replace")[1].users == 6


def test_a_campaign_file_that_cannot_be_written_leaves_the_earlier_list(source):
    out = source.with_name("list.csv")
    make(source, out=out, top=5)
    before = out.read_bytes()
    out.with_name("list.csv.campaign.json").unlink()
    out.with_name("list.csv.campaign.json").mkdir()
    with pytest.raises(CannotCreateError, match="campaign.json: is a directory"):
        make(source, out=out, top=6, if_exists="replace")
    assert out.read_bytes() == before


def test_a_signal_ends_the_run_and_leaves_the_earlier_list(source):
    out = source.with_name("list.csv")
    make(source, out=out, top=5)
    before = out.read_bytes()
    with signals_noted():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(InterruptedRunError):
            make(source, out=out, top=6, if_exists="replace")
    assert out.read_bytes() == before
    assert not list(source.parent.glob(".*staging*"))


def test_a_list_is_no_input_of_itself(source):
    with pytest.raises(UsageError, match="is an input and an output"):
        make(source, out=source, if_exists="replace")
    ids = write_table(pl.DataFrame({"user_id": ["U1"]}), source.with_name("ids.csv"))
    with pytest.raises(UsageError, match="is an input and an output"):
        make(source, out=ids, if_exists="replace", suppress=(str(ids),))
