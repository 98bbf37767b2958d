import gzip
import hashlib
import json
import logging
import shutil
import signal
import stat
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from engine.activate.audience import make_audience
from engine.activate.campaign import comparable_control, read_campaign
from engine.activate.columns import load_template, repeated_headers
from engine.activate.options import AudienceOptions
from engine.activate.profit import open_economics
from engine.bundle.manifest import CHANCE
from engine.bundle.open import PLAYBOOK, open_bundle
from engine.errors import (
    BundleError,
    CannotCreateError,
    EngineError,
    InputError,
    InterruptedRunError,
    LockedError,
    NoInputError,
    UsageError,
)
from engine.interruption import signals_noted
from engine.storage import locked
from tests.bundles import replace_file
from tests.helpers import BUNDLE, read_table, write_table

ARMS = {"offer": 0.5, "reminder": 0.5}


@pytest.fixture(scope="module")
def scores(users, scorer):
    return scorer.score(users)


@pytest.fixture
def source(scores, tmp_path):
    return write_table(scores, tmp_path / "scores.parquet")


def make(source, out=None, **options):
    """The list and its campaign file."""
    sources = [source] if not isinstance(source, list) else source
    out = out or sources[0].parent / "list.parquet"
    made = make_audience([str(path) for path in sources], out, AudienceOptions(**options))
    campaign = read_campaign(out.with_name(f"{out.name}.campaign.json"))
    assert campaign == made.campaign
    return read_table(out), campaign


def contactable(scores):
    return scores.filter(~pl.col("in_control_group"))


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


def test_suppressed_users_are_left_out_and_counted(source, scores, tmp_path, caplog):
    ids = scores["user_id"]
    complaints = write_table(ids[:100].to_frame("anything"), tmp_path / "complaints.csv")
    opted_out = write_table(scores[50:200], tmp_path / "opted_out.ndjson")
    other = write_table(pl.DataFrame({"id": ["nobody", "nothing"]}), tmp_path / "other.csv")
    files = tuple(map(str, (complaints, opted_out, other)))
    with caplog.at_level(logging.WARNING):
        found, campaign = make(source, suppress=files)
    assert found["user_id"].equals(contactable(scores[200:])["user_id"])
    assert campaign.suppressed == 200
    assert campaign.control_users == scores[200:]["in_control_group"].sum()
    (warning,) = caplog.messages
    assert f"warning: {other}: none of its 3 values is in the scores" in warning


@pytest.mark.parametrize("lines", [3, 1])
def test_a_csv_of_ids_needs_no_header(source, scores, tmp_path, lines):
    ids = scores["user_id"][:lines].to_list()
    plain = tmp_path / "plain.csv"
    plain.write_text("".join(f"{each}\n" for each in ids))
    found, campaign = make(source, suppress=(str(plain),))
    assert campaign.suppressed == lines
    assert found["user_id"].equals(contactable(scores[lines:])["user_id"])


def test_ids_of_suppression_files_are_compared_as_text(scores, tmp_path):
    numbers = pl.Series("user_id", range(1, scores.height + 1), pl.Int64)
    source = write_table(scores.with_columns(numbers), tmp_path / "scores.parquet")
    files = [
        write_table(pl.DataFrame({"user_id": [1, 2, 3]}), tmp_path / "numbers.parquet"),
        write_table(pl.DataFrame({"user_id": ["4", "05"]}), tmp_path / "texts.csv"),
    ]
    _, campaign = make(source, suppress=tuple(map(str, files)))
    assert campaign.suppressed == 4


def test_suppressed_ids_of_a_type_that_no_id_has_are_named(source, tmp_path):
    ids = write_table(pl.DataFrame({"user_id": [1.0]}), tmp_path / "ids.parquet")
    with pytest.raises(InputError, match="'user_id' expected a text or a whole number, found Flo"):
        make(source, suppress=(str(ids),))
    write_table(pl.DataFrame({"user_id": [["a"]]}), ids)
    with pytest.raises(InputError, match="'user_id' expected a text or a whole number, found Lis"):
        make(source, suppress=(str(ids),))
    write_table(pl.DataFrame({"user_id": [None]}), ids)
    assert make(source, suppress=(str(ids),), top=5)[1].users == 5


def test_columns_of_few_texts_are_dictionaries_under_any_name(scores, tmp_path):
    reasons = scores.with_columns(reason_1=pl.lit("2 checkouts"))
    source = write_table(reasons, tmp_path / "scores.parquet")
    columns = ("id", "propensity_band", "segment_name", "reason_1")
    renames = {"id": "action", "propensity_band": "Level", "reason_1": "Why"}
    make(source, out=tmp_path / "list.arrow", top=5, columns=columns, renames=renames)
    types = pl.read_ipc_schema(tmp_path / "list.arrow")
    assert {name for name, kind in types.items() if kind == pl.Categorical} == {
        *("Level", "segment_name", "Why")
    }
    braze = load_template("braze")
    assert {braze.columns[name] for name in repeated_headers(AudienceOptions(), braze)} >= {
        *("propensity_band", "segment_name")
    }


def test_columns_are_chosen_and_renamed(scores, tmp_path):
    joined = scores.with_columns(email=pl.col("user_id").str.to_lowercase() + "@example.com")
    source = write_table(joined, tmp_path / "scores.parquet")
    found, _ = make(
        source,
        top=5,
        columns=("id", "email", "arm"),
        renames={"id": "external_id", "arm": "variant"},
    )
    assert found.columns == ["external_id", "email", "variant"]
    assert (found["external_id"].str.to_lowercase() + "@example.com").equals(
        found["email"], check_names=False
    )
    headers = {
        "braze": ["external_id", "purchase_probability", "propensity_band"],
        "klaviyo": ["Email", "user_id", "purchase_probability"],
        "google-ads": ["Email"],
    }
    for template, first in headers.items():
        found, _ = make(source, out=tmp_path / f"{template}.csv", top=5, template=template)
        assert found.columns[:3] == first
        assert found.null_count().select(first).sum_horizontal().item() == 0


def test_a_list_that_is_too_large_for_its_sender_is_named(scores, tmp_path, caplog):
    large = scores.with_columns(action=pl.lit("offer " * 2_000), email=pl.lit("a@example.com"))
    source = write_table(large, tmp_path / "scores.parquet")
    make(source, out=tmp_path / "list.csv", template="klaviyo")
    (warning,) = caplog.messages
    assert warning.endswith(
        "MB, and the sender takes at most 50 MB. Split the file before uploading it."
    )


def test_reasons_take_the_place_of_drivers(scores, tmp_path):
    reasons = scores.with_columns(reason_1=pl.lit("2 checkouts"), reason_2=pl.lit("9 visits"))
    found, _ = make(write_table(reasons, tmp_path / "scores.parquet"), top=5)
    assert [name for name in found.columns if "_1" in name or "_2" in name] == [
        *("reason_1", "reason_2")
    ]


@pytest.fixture(scope="module")
def economic(tmp_path_factory):
    """The committed bundle, whose playbook knows margins: orders of the first segment are worth most."""
    folder = tmp_path_factory.mktemp("economic") / "bundle"
    shutil.copytree(open_bundle(BUNDLE).path, folder)
    document = json.loads((folder / PLAYBOOK).read_text())
    document["economics"] = {
        "currency": "EUR",
        "margin": 0.3,
        "order_value": 40.0,
        "order_value_feature": None,
        "cost_per_contact": {"e-mail": 2.0},
    }
    first = min(row["segment_id"] for row in document["rows"])
    for row in document["rows"]:
        row["order_value"] = 100.0 if row["segment_id"] == first else None
        row |= {"cost_per_contact": 2.0, "channel": "e-mail"}
    replace_file(folder, PLAYBOOK, json.dumps(document).encode())
    return folder


def profits(scores):
    first = pl.col("segment_id") == scores["segment_id"].min()
    gain = pl.when(first).then(0.3 * 100).otherwise(0.3 * 40)
    profit = pl.col("purchase_probability").cast(pl.Float64) * gain - 2
    return scores.with_columns(profit=profit.cast(pl.Float32))


def test_users_are_ranked_by_expected_profit(source, scores, economic):
    found, campaign = make(source, top=300, by="profit", bundle=economic)
    best = contactable(profits(scores)).sort("profit", descending=True)[:300]
    assert set(found["user_id"]) == set(best["user_id"])
    assert np.float32(campaign.cutoff) == best["profit"].min()
    assert campaign.expected_profit == pytest.approx(best["profit"].sum(), abs=0.1)
    assert campaign.cost == 600
    reached = (pl.col("profit") >= np.float32(campaign.cutoff)) & (pl.col("profit") > 0)
    control = profits(scores).filter("in_control_group", reached)
    assert control.height == campaign.control_users > 0


def test_nobody_is_contacted_at_an_expected_loss(source, scores, economic):
    found, campaign = make(source, by="profit", bundle=economic)
    worth = contactable(profits(scores)).filter(pl.col("profit") > 0)
    assert found["user_id"].equals(worth["user_id"])
    assert 0 < found.height < contactable(scores).height
    assert campaign.cutoff is None
    dearer, _ = make(source, out=source.with_name("b.csv"), by="profit", bundle=economic, cost=5)
    assert dearer.height < found.height


def test_ranking_by_profit_needs_the_economics_of_the_bundle_that_made_the_scores(
    source, scores, economic, tmp_path
):
    with pytest.raises(UsageError, match="--by profit: .* Add --bundle"):
        AudienceOptions(by="profit")
    with pytest.raises(BundleError, match="has no economics. Add \\[economics\\]"):
        make(source, by="profit", bundle=BUNDLE)
    other = scores.with_columns(bundle_id=pl.lit("shop/other"))
    with pytest.raises(InputError, match="another bundle: shop/other, expected shopnow/"):
        make(write_table(other, tmp_path / "o.parquet"), by="profit", bundle=economic)
    unnamed = scores.with_columns(segment_id=pl.lit(None, pl.Int8))
    with pytest.raises(InputError, match="5,000 rows without a segment and band that the bundle"):
        make(write_table(unnamed, tmp_path / "u.parquet"), by="profit", bundle=economic)


def test_a_list_by_probability_needs_no_bundle_whatever_engine_bundle_names(scores, tmp_path):
    other = scores.with_columns(bundle_id=pl.lit("shop/other"))
    source = write_table(other, tmp_path / "scores.parquet")
    for bundle in (BUNDLE, tmp_path / "none"):
        assert make(source, top=5, bundle=bundle, if_exists="replace")[1].users == 5


@pytest.fixture
def changed(economic, tmp_path):
    """A copy of that bundle with a change of its playbook's rows."""

    def made(change):
        folder = shutil.copytree(economic, tmp_path / "changed")
        document = json.loads((folder / PLAYBOOK).read_text())
        for row in document["rows"]:
            change(row)
        replace_file(folder, PLAYBOOK, json.dumps(document).encode())
        return folder

    return made


def test_cells_that_the_playbook_does_not_contact_are_not_listed_by_profit(source, scores, changed):
    def spare(row):
        if row["band"] == "very_high":
            row.update(channel="none", cost_per_contact=0.0, order_value=None)

    bundle = changed(spare)
    made = make_audience(
        [str(source)], source.with_name("a.csv"), AudienceOptions(by="profit", bundle=bundle)
    )
    spared = scores.filter(propensity_band="very_high")
    assert made.left_out["whom the playbook does not contact"] == spared.height > 0
    found = read_table(source.with_name("a.csv"))
    assert found.filter(propensity_band="very_high").is_empty()
    others = scores.filter("in_control_group", pl.col("propensity_band") != "very_high")
    assert 0 < made.campaign.control_users <= others.height


def test_a_contacted_cell_without_a_cost_is_named(source, changed):
    def forget(row):
        if row["band"] == "low":
            row["cost_per_contact"] = None

    with pytest.raises(BundleError, match=r"cells without cost_per_contact: '1\|low'"):
        make(source, by="profit", bundle=changed(forget))


def test_segments_that_are_not_used_give_no_list_by_profit(economic):
    bundle = open_bundle(economic)
    chance = replace(bundle, manifest=replace(bundle.manifest, segments_verdict=CHANCE))
    with pytest.raises(UsageError, match="segments are not used. Rank by probability."):
        open_economics(chance, None)


def without(name):
    return lambda scores: scores.drop(name)


def replaced(**columns):
    return lambda scores: scores.with_columns(**columns)


FIRST = pl.int_range(pl.len()) < 3
BAD_SCORES = {
    "no probability": (without("purchase_probability"), {}, "missing column: 'purchase_proba"),
    "no control group": (without("in_control_group"), {}, "'in_control_group', for every list"),
    "no band": (without("propensity_band"), {"bands": ("high",)}, "'propensity_band', for --band"),
    "no segment": (
        *(without("segment_name"), {"segments": ("1",)}),
        "'segment_name', for --segment",
    ),
    "no e-mail": (lambda s: s, {"template": "klaviyo"}, "'email', for --template klaviyo"),
    "no such column": (lambda s: s, {"columns": ("id", "city")}, "'city', for --columns"),
    "no order": (lambda s: s.select(sorted(s.columns)), {}, "columns before 'purchase_prob"),
    "repeated id": (
        lambda s: pl.concat([s, s[7:8]]),
        {},
        "1 id more than once in column 'user_id', one of them in row 8 of .*, row 5,001 of",
    ),
    "null id": (
        replaced(user_id=pl.when(FIRST).then(None).otherwise("user_id")),
        {},
        "3 rows without a value in the id column 'user_id'",
    ),
    "two dates": (
        lambda s: pl.concat([s, s.with_columns(pl.col("snapshot_date") + pl.duration(days=1))]),
        *({}, "2 snapshot dates: '2026-11-22', '2026-11-23'; a list is made from one"),
    ),
    "two bundles": (
        replaced(bundle_id=pl.when(FIRST).then(pl.lit("other/1")).otherwise("bundle_id")),
        *({}, "2 bundles: 'other/1', 'shopnow/"),
    ),
    "no bundle": (
        replaced(bundle_id=pl.lit(None, pl.String)),
        *({}, "rows without a bundle in column 'bundle_id'"),
    ),
    "no date": (
        replaced(snapshot_date=pl.lit("gestern")),
        *({}, "rows without a snapshot date in column 'snapshot_date'"),
    ),
    "some dates": (
        replaced(snapshot_date=pl.when(FIRST).then("snapshot_date")),
        *({}, "rows without a snapshot date"),
    ),
    "date with time": (
        replaced(snapshot_date=pl.col("snapshot_date").cast(pl.Datetime)),
        *({}, "'snapshot_date' expected a date without a time, as 2026-11-22, found Datetime"),
    ),
    "list of probabilities": (
        replaced(purchase_probability=pl.concat_list("purchase_probability")),
        *({}, "'purchase_probability' expected a number, found List"),
    ),
    "list of ids": (
        replaced(user_id=pl.concat_list("user_id")),
        *({}, "'user_id' expected a text or a whole number, found List"),
    ),
    "numbers as bands": (
        replaced(propensity_band=pl.lit(1)),
        {"bands": ("low",)},
        "outside --band",
    ),
    "truth as segments": (
        replaced(segment_name=pl.lit(value=True)),
        *({"segments": ("Loyal",)}, "no segment 'Loyal', .* There are true \\(1\\), true"),
    ),
    "list of actions": (
        replaced(action=pl.concat_list("action")),
        *({}, "'action' expected one value a row, found List"),
    ),
    "no number": (
        replaced(purchase_probability=pl.when(FIRST).then(None).otherwise("purchase_probability")),
        *({}, "3 rows without a number from 0 to 1 in 'purchase_probability'"),
    ),
    "unknown control": (
        replaced(in_control_group=pl.when(FIRST).then(None).otherwise("in_control_group")),
        *({}, "3 rows without true or false in 'in_control_group'"),
    ),
    "unused segments": (
        replaced(segment_id=pl.lit(None, pl.Int8), segment_name=pl.lit(None, pl.String)),
        *({"segments": ("Loyal big spenders",)}, "rows without a segment"),
    ),
    "unknown segment": (
        lambda s: s,
        {"segments": ("Loyal",)},
        "no segment 'Loyal', as --segment asks for. There are Cart abandoners \\(1\\)",
    ),
    "nobody": (
        lambda s: s,
        {"bands": ("low",), "min_probability": 0.99},
        "nobody to contact: of 5,000 users, .* outside --band, .* outside --min-probability",
    ),
    "nothing to spend": (lambda s: s, {"budget": 1, "cost": 2}, "nobody to contact"),
}


@pytest.mark.parametrize("case", BAD_SCORES)
def test_scores_that_give_no_list_leave_the_earlier_one(scores, tmp_path, case):
    change, options, message = BAD_SCORES[case]
    good = write_table(scores, tmp_path / "good.parquet")
    out = tmp_path / "list.csv"
    make(good, out=out, top=5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    source = write_table(change(scores), tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=message):
        make(source, out=out, if_exists="replace", **options)
    source.unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


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


def test_empty_and_absent_files_are_no_input(scores, tmp_path):
    with pytest.raises(NoInputError, match="no rows. Score users first"):
        make(write_table(scores.clear(), tmp_path / "none.parquet"))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(EngineError, match="empty.csv"):
        make(tmp_path / "empty.csv")
    with pytest.raises(NoInputError, match="absent.parquet"):
        make(tmp_path / "absent.parquet")


def test_formulas_are_made_harmless_for_spreadsheets(scores, tmp_path):
    ids = pl.concat([pl.Series(["=1+1"]), scores["user_id"][1:]])
    free = scores.with_columns(user_id=ids, in_control_group=pl.lit(value=False))
    source = write_table(free, tmp_path / "scores.parquet")
    out = tmp_path / "list.csv"
    make(source, out=out, csv_for_spreadsheets=True)
    assert out.read_text().splitlines()[1].startswith("'=1+1,")


def test_arrow_lists_hold_repeated_texts_as_dictionaries(source, tmp_path):
    found, _ = make(source, out=tmp_path / "list.arrow", top=20, campaign="c", arms=ARMS)
    assert {found.schema[name].base_type() for name in ("arm", "action", "propensity_band")} == {
        pl.Categorical
    }
