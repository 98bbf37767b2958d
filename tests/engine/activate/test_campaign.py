import json
from dataclasses import replace

import polars as pl
import pytest

from engine.activate.audience import make_audience
from engine.activate.campaign import Campaign, comparable_control, read_campaign
from engine.activate.options import AudienceOptions
from engine.errors import InputError, NoInputError
from tests.helpers import write_table

ARMS = {"reminder": 0.3, "offer": 0.7}


@pytest.fixture(scope="module")
def made(scores, tmp_path_factory):
    """A campaign with filters, cutoff and suppressed users, and the path of its list."""
    folder = tmp_path_factory.mktemp("campaign")
    source = write_table(scores, folder / "scores.parquet")
    none = write_table(scores["user_id"][:500].to_frame(), folder / "none.csv")
    options = AudienceOptions(
        bands=("high", "very_high"),
        top=300,
        campaign="spring",
        arms=ARMS,
        include_control=True,
        suppress=(str(none),),
    )
    return make_audience([str(source)], folder / "list.parquet", options).campaign, folder


def test_a_campaign_file_says_what_the_contract_names(made):
    campaign, folder = made
    document = json.loads((folder / "list.parquet.campaign.json").read_text())
    assert set(document) == {
        *("format", "campaign", "bundle_id", "snapshot_date", "id", "scores", "filters", "by"),
        *("cutoff", "arms", "users", "users_by_arm", "control_users", "control_included"),
        *("suppressed", "expected_buyers", "expected_buyers_means", "expected_profit", "cost"),
        "rules",
    }
    assert document["format"] == 1
    assert document["filters"] == {
        "segments": [],
        "bands": ["high", "very_high"],
        "min_probability": None,
    }
    assert document["rules"] == {"arm_hash": "arm-v1", "control_hash": "control-v1"}
    assert document["expected_buyers_means"].startswith("upper bound")
    assert list(document["arms"].items()) == list(ARMS.items())
    assert read_campaign(folder / "list.parquet.campaign.json") == campaign


def test_the_comparable_control_users_are_those_of_the_list(made, scores):
    campaign, folder = made
    found = comparable_control(scores, campaign)
    listed = pl.read_parquet(folder / "list.parquet").filter(arm="control")
    suppressed = scores["user_id"][:500]
    rest = found.filter(~pl.col("user_id").is_in(suppressed.implode()))
    assert found.height > rest.height == campaign.control_users > 0
    assert rest["user_id"].equals(listed["user_id"])
    texts = scores.with_columns(pl.all().cast(pl.String))
    assert comparable_control(texts, campaign).height == found.height


def test_without_a_cutoff_all_who_pass_the_filters_are_comparable(made, scores):
    campaign, _ = made
    found = comparable_control(scores, replace(campaign, cutoff=None))
    bands = pl.col("propensity_band").is_in(campaign.filters.bands)
    assert found.equals(scores.filter("in_control_group", bands))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("arms"), "it has no 'arms'"),
        (lambda d: d.update(users="many"), "it.users cannot be 'many'"),
        (lambda d: d["filters"].update(bands="high"), "it.filters.bands cannot be 'high'"),
        (
            lambda d: d["arms"].update(contact=0),
            "its arms: the shares of 'contact' must be above 0",
        ),
        (lambda d: d["arms"].update(mail=0.5), "its arms: the shares sum to 1.5, expected 1"),
        (lambda d: d.update(arms={}), "its arms: the shares sum to 0"),
        (lambda d: d.update(cutoff=1e39), "it.cutoff cannot be"),
        (lambda d: d.update(snapshot_date="soon"), "it.snapshot_date cannot be 'soon'"),
        (lambda d: d.update(format=2), "format 2 .* expected 1"),
        (lambda d: d["rules"].update(arm_hash="arm-v2"), "arm-v2.* expected"),
    ],
)
def test_a_file_that_is_no_campaign_file_is_refused(made, change, message):
    document = json.loads(made[0].to_json())
    change(document)
    with pytest.raises(InputError, match=f"^spring.json: .*{message}"):
        Campaign.from_json(json.dumps(document).encode(), "spring.json")


def test_a_campaign_file_that_is_absent_or_no_json_is_named(tmp_path):
    with pytest.raises(NoInputError, match="spring.json: no such file"):
        read_campaign(tmp_path / "spring.json")
    (tmp_path / "spring.json").write_text("{")
    with pytest.raises(InputError, match="not a campaign file"):
        read_campaign(tmp_path / "spring.json")
