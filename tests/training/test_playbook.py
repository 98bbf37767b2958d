import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from engine.bundle.manifest import BANDS, Segment
from engine.errors import BundleError
from tests.fitting import SHOP
from training.playbook.document import (
    detectable_lift,
    playbook_document,
    playbook_to_json,
    sample_size,
)
from training.playbook.rules import PlaybookRules, check_features, load_rules

DEFAULT = load_rules()
SEGMENTS = (
    Segment(1, "Loyal", 0.25),
    Segment(4, "New", 0.75),
)
PROFILES = {
    1: {"spend": 90.0, "over": [{"feature": "push_click_rate"}]},
    4: {"spend": 10.0, "over": []},
}
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
    metrics = {"rows": 1_000 * len(cells), "cells": cells}
    fit = SimpleNamespace(profiles=profiles)
    return SimpleNamespace(metrics=metrics, fit=fit, segments={"usable": usable})


def rows_of(
    rules: PlaybookRules,
    segments=SEGMENTS,
    cells=CELLS,
    population=80_000,
    profiles=PROFILES,
    usable=True,
):
    found = playbook_document(rules, segments, measured(cells, profiles, usable), population)
    return {(row["segment_id"], row["band"]): row for row in found["rows"]}


def own(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_rules(path)


def test_there_is_one_complete_row_for_each_segment_and_band():
    rows = rows_of(DEFAULT)
    assert list(rows) == [(s.id, band) for s in SEGMENTS for band in BANDS]
    assert all(None not in row.values() for (_, band), row in rows.items() if band != "low")


def test_the_file_holds_the_document():
    document = playbook_document(DEFAULT, SEGMENTS, measured(CELLS), 80_000)
    assert json.loads(playbook_to_json(document)) == document


def test_only_segments_that_spent_are_won_back():
    rows = rows_of(DEFAULT)
    assert "win-back" in rows[1, "low"]["action"]
    assert rows[4, "low"]["action"].startswith("No campaign")


def test_without_known_spend_nobody_is_won_back():
    profiles = {segment.id: {"over": []} for segment in SEGMENTS}
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
    assert after[1, "high"] == before[1, "high"] | {"offer": "free shipping"}
    assert all(after[cell] == before[cell] for cell in before if cell != (1, "high"))


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


def test_a_sample_of_that_size_finds_the_lift_as_often_as_promised():
    # A simulation of the test itself: two proportions, two-sided 5 %, power 80 %.
    rate, lift, share = 0.2, 0.1, 0.25
    users = sample_size(rate, lift, share)
    control = round(users * share)
    rng = np.random.default_rng(3)
    a = rng.binomial(control, rate, 20_000) / control
    b = rng.binomial(users - control, rate * (1 + lift), 20_000) / (users - control)
    pooled = (a * control + b * (users - control)) / users
    error = np.sqrt(pooled * (1 - pooled) * (1 / control + 1 / (users - control)))
    # Four standard deviations of a share of 0.8 in 20,000 trials, and the test's own approximation.
    assert (np.abs(b - a) / error > 1.959964).mean() == pytest.approx(0.80, abs=0.015)


def test_equal_groups_need_what_the_published_formula_gives():
    # Fleiss, Levin & Paik, chapter 4: n per group for 0.60 against 0.70, two-sided 5 %, power 80 %.
    assert sample_size(0.60, 1 / 6, 0.5) == pytest.approx(2 * 356, abs=2)


def test_the_detectable_lift_is_the_one_that_its_users_suffice_for():
    lift = detectable_lift(0.2, 20_000, 0.05)
    assert sample_size(0.2, lift, 0.05) <= 20_000 < sample_size(0.2, lift - 0.002, 0.05)


@pytest.mark.parametrize(
    ("rate", "users", "share"), [(0.0, 10**6, 0.05), (0.2, 10, 0.05), (0.2, 10**6, 0.0)]
)
def test_what_no_sample_can_show_is_none(rate, users, share):
    assert detectable_lift(rate, users, share) is None


def test_a_playbook_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(BundleError, match=r"pipe\.toml: not a regular file"):
        load_rules(tmp_path / "pipe.toml")
