import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from engine.activate.audience import make_audience
from engine.activate.options import AudienceOptions
from engine.activate.profit import open_contact_profits
from engine.bundle.manifest import CHANCE
from engine.bundle.open import PLAYBOOK, open_bundle
from engine.errors import (
    BundleError,
    InputError,
    UsageError,
)
from tests.bundles import replace_file
from tests.engine.activate.lists import contactable, make
from tests.helpers import BUNDLE, read_table, write_table


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
        open_contact_profits(chance, None)
