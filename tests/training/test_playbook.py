import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.manifest import BANDS, Segment
from engine.bundle.open import open_bundle
from engine.bundle.schema import Rfm
from engine.errors import BundleError
from tests.fitting import SHOP
from tests.helpers import BUNDLE
from training.playbook.document import playbook_document, playbook_to_json
from training.playbook.rules import PlaybookRules, check_features, load_rules

DEFAULT = load_rules()
SEGMENTS = (
    Segment(1, "Loyal", 0.25),
    Segment(4, "New", 0.75),
)
PROFILES = {
    1: {"spend": 90.0, "over": [{"feature": "push_click_rate"}], "under": [{"feature": "age"}]},
    4: {"spend": 10.0, "over": [{"feature": "age"}], "under": []},
}
WITH_ROLES = replace(SHOP, rfm=Rfm(recency="age", frequency="visits", monetary="spend"))
ECONOMICS = """
[economics]
margin = 0.25
order_value = 80
[economics.cost_per_contact]
app = 0
"e-mail" = 0.002
push = 0.001
paid = 0.3
"""
CELLS = [
    {
        "segment_id": segment.id,
        "bands": [band],
        "rows": 1_000,
        "purchase_rate": rate,
        "mean_probability": rate,
    }
    for segment in SEGMENTS
    for band, rate in zip(BANDS, (0.02, 0.15, 0.4, 0.8), strict=True)
]


def measured(cells, profiles=PROFILES, usable=True):
    bands = [{**cell, "rows": 2_000} for cell in CELLS[:4]]
    metrics = {"rows": 1_000 * len(cells), "cells": cells, "bands": bands}
    fit = SimpleNamespace(profiles=profiles)
    return SimpleNamespace(metrics=metrics, fit=fit, segments={"usable": usable})


def rows_of(
    rules: PlaybookRules,
    segments=SEGMENTS,
    cells=CELLS,
    population=80_000,
    profiles=PROFILES,
    usable=True,
    schema=SHOP,
):
    manifest = SimpleNamespace(segments=segments, schema=schema)
    found = playbook_document(rules, manifest, measured(cells, profiles, usable), population)
    return {(row["segment_id"], row["band"]): row for row in found["rows"]}


def own(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_rules(path)


def test_there_is_one_complete_row_for_each_segment_and_band():
    rows = rows_of(DEFAULT)
    assert list(rows) == [(s.id, band) for s in SEGMENTS for band in BANDS]
    texts = ("action", "message", "offer", "channel", "rationale", "owner", "measure", "test")
    assert all(row[name] for row in rows.values() for name in texts)
    assert "economics" not in rows[1, "low"]
    assert "order_value" not in rows[1, "low"]


def test_the_file_holds_the_document():
    manifest = SimpleNamespace(segments=SEGMENTS, schema=SHOP)
    document = playbook_document(DEFAULT, manifest, measured(CELLS), 80_000)
    assert json.loads(playbook_to_json(document)) == document


def test_only_segments_that_spent_are_won_back():
    rows = rows_of(DEFAULT)
    assert rows[1, "low"]["action"].startswith("At most one low-cost message a week")
    assert rows[4, "low"]["action"].startswith("No campaign")


def test_without_known_spend_nobody_is_won_back():
    profiles = {segment.id: {"over": [], "under": []} for segment in SEGMENTS}
    rows = rows_of(DEFAULT, profiles=profiles)
    assert all(rows[s.id, "low"]["action"].startswith("No campaign") for s in SEGMENTS)


def test_own_rules_for_spenders_hold_where_segments_are_chance(tmp_path):
    text = '[[rule]]\nspender = true\naction = "Call"\n[[rule]]\nspender = false\noffer = "none at all"\n'
    for usable in (True, False):
        rows = rows_of(own(tmp_path, text), usable=usable)
        assert {rows[1, band]["action"] for band in BANDS} == {"Call"}
        assert {rows[4, band]["offer"] for band in BANDS} == {"none at all"}
    rows = rows_of(DEFAULT, usable=False)
    for band in BANDS:
        assert rows[1, band]["action"] == rows[4, band]["action"]


def test_the_channel_follows_what_a_segment_has_more_of():
    rows = rows_of(DEFAULT)
    assert rows[1, "high"]["channel"] == "push"
    assert rows[4, "high"]["channel"] == "e-mail, push"


def test_users_and_buyers_are_those_of_a_night():
    row = rows_of(DEFAULT)[4, "high"]
    assert (row["users"], row["expected_buyers"]) == (10_000, 4_000)


def test_a_cell_without_contacts_needs_no_sample():
    row = rows_of(DEFAULT)[4, "low"]
    assert (row["channel"], row["users"]) == ("none", 10_000)
    assert row["sample_size"] is row["detectable_lift"] is None
    assert row["test"] == "Nobody is contacted here, so there is nothing to test."
    assert rows_of(DEFAULT)[1, "low"]["sample_size"] > 0


def test_a_segment_that_was_not_measured_has_actions_without_figures():
    rows = rows_of(DEFAULT, cells=[cell for cell in CELLS if cell["segment_id"] != 1])
    row = rows[1, "low"]
    assert row["users"] is row["expected_buyers"] is row["figures_of"] is None
    assert row["action"]
    assert rows[4, "high"]["users"] > 0


def test_bands_measured_together_share_their_figures():
    merged = {**CELLS[2], "bands": ["high", "very_high"]}
    assert CELLS[2]["bands"] == ["high"]
    rows = rows_of(DEFAULT, cells=[*CELLS[:2], merged, *CELLS[4:]])
    high, very_high = rows[1, "high"], rows[1, "very_high"]
    assert high["figures_of"] == very_high["figures_of"] == ["high", "very_high"]
    assert high["users"] == very_high["users"] > 0
    assert high["action"] != very_high["action"]


def test_a_rule_of_the_user_overrides_only_what_it_says(tmp_path):
    rules = own(tmp_path, '[[rule]]\nsegment = "Loyal"\nband = "high"\noffer = "free shipping"\n')
    before, after = rows_of(DEFAULT), rows_of(rules)
    action = before[1, "high"]["action"].replace("a small offer", "free shipping")
    assert after[1, "high"] == before[1, "high"] | {"offer": "free shipping", "action": action}
    assert all(after[cell] == before[cell] for cell in before if cell != (1, "high"))


def test_every_cell_of_the_committed_bundle_has_an_action_of_its_own():
    bundle = open_bundle(BUNDLE)
    found = playbook_document(DEFAULT, bundle.manifest, read_evaluation(bundle), 240_000)
    rows = {(row["segment_name"], row["band"]): row for row in found["rows"]}
    assert len({row["action"] for row in rows.values()}) == len(rows) == 24
    assert not any("{" in str(value) for row in rows.values() for value in row.values())
    said = {name: rows[name, "medium"]["message"] for name, _ in rows}
    assert "cart" in said["Cart abandoners"]
    assert "cross-sell" not in said["Frequent coupon lovers"]
    assert "without coupons" in said["Frequent coupon lovers"]
    assert "win-back" in said["Quiet lapsed shoppers"]
    assert "first order" in said["New infrequent shoppers"]
    for band in BANDS:
        assert "paid" not in rows["Dormant low spenders", band]["channel"]
        assert "discount" not in rows["Loyal big spenders", band]["offer"].removesuffix(
            "instead of a discount"
        )
        assert rows["Frequent coupon lovers", band]["offer"].split()[-1] in ("none", "coupon")
        assert rows["Frequent coupon lovers", band]["offer"] != "a coupon"


def test_segments_of_a_foreign_table_differ_by_their_names():
    profiles = {segment.id: {"over": [], "under": []} for segment in SEGMENTS}
    rows = rows_of(DEFAULT, profiles=profiles)
    for band in BANDS:
        assert "“Loyal”" in rows[1, band]["action"]
        assert "“New”" in rows[4, band]["action"]
    assert len({row["action"] for row in rows.values()}) == len(rows)


def test_segments_that_are_chance_are_not_named():
    rows = rows_of(DEFAULT, usable=False, schema=WITH_ROLES)
    assert not any("“" in row["action"] for row in rows.values())
    assert len({row["action"] for row in rows.values()}) == len(BANDS)
    # A test has the users of the band, whatever their segment.
    assert rows[1, "high"]["test"] == rows[4, "high"]["test"] != rows_of(DEFAULT)[1, "high"]["test"]
    assert "the cell has 20,000" in rows[1, "high"]["test"]


def test_rules_can_ask_for_more_and_for_less_of_a_feature_and_of_a_role(tmp_path):
    text = """
[[rule]]
over = "age"
owner = "more"
[[rule]]
under = "age"
owner = "less"
[[rule]]
under = "rfm.recency"
measure = "less"
"""
    rules = own(tmp_path, text)
    check_features(rules, WITH_ROLES)
    rows = rows_of(rules, schema=WITH_ROLES)
    assert (rows[4, "low"]["owner"], rows[1, "low"]["owner"]) == ("more", "less")
    assert rows[1, "low"]["measure"] == "less" != rows[4, "low"]["measure"]
    with pytest.raises(BundleError, match=r"rule 3: no feature 'rfm\.recency' in schema 'tiny'"):
        check_features(rules, SHOP)


def test_texts_hold_the_name_the_message_and_the_offer(tmp_path):
    text = """
[[rule]]
message = "hello {segment} {offer}"
offer = "tea for {segment}"
action = "{offer}, {message}, {unknown}"
"""
    odd = (Segment(1, "{offer} & {message}", 0.25), SEGMENTS[1])
    rows = rows_of(own(tmp_path, text), segments=odd)
    assert rows[4, "low"]["message"] == "hello New {offer}"
    assert rows[4, "low"]["action"] == "tea for New, hello New {offer}, {unknown}"
    assert rows[1, "low"]["offer"] == "tea for {offer} & {message}"


def test_economics_are_the_playbooks_own(tmp_path):
    rules = own(tmp_path, ECONOMICS)
    check_features(rules, SHOP)
    manifest = SimpleNamespace(segments=SEGMENTS, schema=SHOP)
    document = playbook_document(rules, manifest, measured(CELLS), 80_000)
    assert document["economics"] == {
        "currency": "USD",
        "margin": 0.25,
        "order_value": 80,
        "order_value_feature": None,
        "cost_per_contact": {"app": 0, "e-mail": 0.002, "push": 0.001, "paid": 0.3},
    }
    rows = rows_of(rules)
    assert {row["order_value"] for row in rows.values()} == {80}
    assert rows[4, "medium"]["channel"] == "e-mail, push, paid"
    assert rows[4, "medium"]["cost_per_contact"] == 0.303
    assert rows[4, "low"]["cost_per_contact"] == 0


def test_the_cost_of_a_rule_overrides_that_of_its_channels(tmp_path):
    rule = '[[rule]]\nband = "high"\nchannel = "telephone"\ncost_per_contact = 2\n'
    rules = own(tmp_path, ECONOMICS + rule)
    check_features(rules, SHOP)
    rows = rows_of(rules)
    assert rows[1, "high"]["cost_per_contact"] == 2
    assert rows[1, "very_high"]["cost_per_contact"] == 0.002


def test_the_value_of_an_order_is_that_of_the_cell_or_of_all(tmp_path):
    rules = own(tmp_path, ECONOMICS.replace("80", '"spend"'))
    check_features(rules, SHOP)
    cells = [
        {**cell, "order_value": value, "order_value_rows": known}
        for cell, value, known in zip(
            CELLS, (None, 10.0, 20.0, 30.0), (None, 500, 100, 400), strict=False
        )
    ]
    rows = rows_of(rules, cells=cells)
    assert rows[1, "high"]["order_value"] == 20
    assert rows[1, "very_high"]["order_value"] == 30
    # Elsewhere the mean of the 1,000 users with a known value, not of the 3,000 in their cells.
    assert rows[1, "low"]["order_value"] == rows[4, "high"]["order_value"] == 19
    unknown = [{**cell, "order_value": None} for cell in CELLS]
    assert {row["order_value"] for row in rows_of(rules, cells=unknown).values()} == {None}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("80", '"spent"', r"order_value: no numeric feature 'spent'.*did you mean 'spend'"),
        ("80", '"city"', "order_value: no numeric feature 'city'"),
        ("push =", "psuh =", "no cost_per_contact of 1 channel that rules use: 'push'"),
        ("push = 0.001", "", "no cost_per_contact of 1 channel that rules use: 'push'"),
    ],
)
def test_economics_that_do_not_fit_the_table_or_the_rules_are_refused(tmp_path, old, new, message):
    rules = own(tmp_path, ECONOMICS.replace(old, new))
    with pytest.raises(BundleError, match=rf"\[economics\].*{message}") as caught:
        check_features(rules, SHOP)
    assert caught.value.exit_code == 78


def test_segments_can_be_named_by_id_and_later_rules_win(tmp_path):
    rules = own(
        tmp_path,
        '[[rule]]\nsegment = 4\nowner = "A"\n[[rule]]\nsegment = 4\nband = "low"\nowner = "B"\n',
    )
    rows = rows_of(rules)
    assert [rows[4, band]["owner"] for band in BANDS] == ["B", "A", "A", "A"]


def test_bands_and_currency_can_be_set(tmp_path):
    rules = own(tmp_path, 'currency = "EUR"\n[bands]\nshares = [0.3, 0.6, 0.9]\n')
    assert rules.band_shares == (0.3, 0.6, 0.9)
    assert rules.currency == "EUR"
    assert rules.rules == DEFAULT.rules


def test_a_rule_for_no_segment_tells_which_there_are(tmp_path):
    rules = own(tmp_path, '[[rule]]\nowner = "A"\n[[rule]]\nsegment = "Loyl"\nowner = "A"\n')
    with pytest.raises(
        BundleError, match=r"mine\.toml: rule 2: no segment 'Loyl'; there are 1 'Lo"
    ):
        rows_of(rules)


def test_a_rule_for_no_feature_tells_the_nearest(tmp_path):
    rules = own(tmp_path, '[[rule]]\nover = "visit"\nowner = "A"\n')
    with pytest.raises(BundleError, match="rule 1: no feature 'visit'.*did you mean 'visits'"):
        check_features(rules, SHOP)
    check_features(DEFAULT, SHOP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]]\nband = 'huge'", "rule 1: band must be one of"),
        ("[[rule]]\nofer = 'x'", "rule 1: unknown keys 'ofer'"),
        ("[[rule]]\ncontrol_share = 0.2", "rule 1: control_share must be from 0 to 0.1, found 0.2"),
        (
            "[[rule]]\ncost_per_contact = -1",
            "cost_per_contact must be from 0 to 1,000,000,000, found -1",
        ),
        (
            "[[rule]]\ncost_per_contact = nan",
            "cost_per_contact must be from 0 to 1,000,000,000, found nan",
        ),
        ("[[rule]]\nwindow_days = 1.5", "window_days must be a whole number"),
        ("[[rule]]\naction = ''", "action must be a text of 1 to 300"),
        (f"[[rule]]\naction = '{'x' * 301}'", r"found 'x+… \(303 characters\)"),
        ("[[rule]]\nplace = 'x'", "unknown keys 'place'"),
        ("[[rule]]\nspender = 1", "spender must be true or false"),
        ("[[rule]]\nsegment = 1.5", "segment must be an id or a name"),
        ("rule = 3", r"rules must be written as \[\[rule\]\]"),
        ("rule = [3]", r"rules must be written as \[\[rule\]\]"),
        ("[bands]\nshares = [0.5, 0.8]", "3 rising numbers between 0 and 1"),
        ("[bands]\nshares = [0.8, 0.5, 0.9]", "3 rising numbers between 0 and 1"),
        ("bands = 3", "3 rising numbers between 0 and 1"),
        ("[[rule]]\nunder = 3", "under must be a text"),
        ("economics = 3", r"\[economics\]: it must be a table, found 3"),
        ("[economics]\nmargin = 0.3", r"\[economics\]: 'order_value', 'cost_per_contact' must be"),
        (ECONOMICS.replace("0.25", "1.2"), "margin must be a share from 0 to 1, found 1.2"),
        (ECONOMICS.replace("0.25", "true"), "margin must be a share from 0 to 1, found True"),
        (ECONOMICS.replace("80", "-80"), "order_value must be a value from 0 .*, found -80"),
        (ECONOMICS.replace("80", "nan"), "order_value must be a value from 0 .*, found nan"),
        (ECONOMICS.replace("push = 0.001", "push = -1"), "cost_per_contact of 'push' must be from"),
        (ECONOMICS.replace("margin", "marge"), "unknown keys 'marge'; .*'margin' must be given"),
        (
            "[economics]\nmargin = 0.2\norder_value = 3\ncost_per_contact = 3",
            "cost_per_contact must be a table of channels, found 3",
        ),
        ("colour = 'red'", "unknown keys 'colour'"),
        ("currency = 3", "'currency' must be a text"),
        ("not toml", "not a readable TOML file"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(BundleError, match=message) as caught:
        own(tmp_path, text)
    assert caught.value.exit_code == 78
    assert "mine.toml" in str(caught.value)


def test_a_missing_playbook_is_told(tmp_path):
    with pytest.raises(BundleError, match="no such playbook"):
        load_rules(tmp_path / "none.toml")


def test_a_playbook_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(BundleError, match=r"pipe\.toml: not a regular file"):
        load_rules(tmp_path / "pipe.toml")
