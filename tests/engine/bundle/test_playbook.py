import hashlib
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from engine.bundle.manifest import BANDS
from engine.bundle.open import PLAYBOOK, open_bundle
from engine.bundle.playbook import (
    MAX_CONTROL_SHARE,
    control_draws,
    open_playbook,
    playbook_from_rows,
    playbook_rows,
    read_playbook,
)
from engine.errors import BundleError
from engine.explain.inspect import playbook_lines
from engine.scorer import load_bundle
from tests.helpers import BUNDLE
from training.simulate import SimulateOptions, simulate

ECONOMICS = {
    "currency": "USD",
    "margin": 0.3,
    "order_value": None,
    "order_value_feature": "avg_order_value",
    "cost_per_contact": {"e-mail": 0.002, "push": 0},
}


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def rows(bundle):
    return playbook_rows(bundle)


def users(seed):
    return pl.concat(simulate(SimulateOptions(rows=20_000, seed=seed)))


@pytest.fixture(scope="module")
def scores():
    return load_bundle(BUNDLE).score(users(seed=31))


def test_the_draw_is_the_first_eight_hex_digits_of_the_salted_hash():
    ids = ["U00000001", "", "Zoë 🛒", "control-v1:"]
    expected = [int(hashlib.sha256(f"control-v1:{i}".encode()).hexdigest()[:8], 16) for i in ids]
    assert control_draws(pl.Series(ids)).tolist() == expected


def test_a_number_draws_as_its_decimal_text():
    numbers = [7, 2**62, -1]
    texts = pl.Series([str(n) for n in numbers])
    assert (control_draws(pl.Series(numbers)) == control_draws(texts)).all()


def test_every_user_has_the_action_of_the_cell(scores, rows):
    cells = pl.DataFrame(rows).select("segment_id", "band", "action")
    joined = scores.join(
        cells.with_columns(pl.col("segment_id").cast(pl.Int8)),
        left_on=["segment_id", "propensity_band"],
        right_on=["segment_id", "band"],
        how="left",
        maintain_order="left",
    )
    assert joined["action"].to_list() == joined["action_right"].to_list()
    assert scores["action"].n_unique() > 3


def test_the_control_group_is_the_share_of_the_playbook(scores, rows):
    assert {row["control_share"] for row in rows} == {0.05}
    draws = control_draws(scores["user_id"])
    assert (scores["in_control_group"].to_numpy() == (draws < 0.05 * 2**32)).all()
    # Five standard deviations of a share of 5 % among 20,000 users.
    assert scores["in_control_group"].mean() == pytest.approx(0.05, abs=0.008)


def test_the_control_group_does_not_depend_on_the_night_or_the_score(scores):
    again = load_bundle(BUNDLE).score(users(seed=32))
    assert again["user_id"].equals(scores["user_id"])
    assert again["in_control_group"].equals(scores["in_control_group"])
    assert not again["purchase_probability"].equals(scores["purchase_probability"])


def test_shares_differ_by_cell(bundle, rows):
    shared = [row | {"control_share": 0.1 if row["band"] == "low" else 0.0} for row in rows]
    playbook = playbook_from_rows(shared, bundle.manifest)
    ids = pl.Series([f"u{i}" for i in range(4_000)])
    band = np.arange(4_000) % len(BANDS)
    cells = playbook.cells(np.full(4_000, bundle.manifest.segments[0].id), band)
    chosen = playbook.control_column(cells, ids).to_numpy()
    assert not chosen[band > 0].any()
    assert chosen[band == 0].mean() == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], r"23 rows, expected 24.*missing \[\(1, 'low'\)\]"),
        (lambda rows: [*rows, rows[0]], "25 rows, expected 24"),
        (lambda rows: [*rows[1:], rows[0] | {"control_share": 0.2}], r"not valid \[\(1, 'low'\)\]"),
        (lambda rows: [*rows[1:], rows[0] | {"action": None}], r"not valid \[\(1, 'low'\)\]"),
        (lambda rows: [*rows[1:], {"segment_id": 1}], "a row without 'band'"),
    ],
)
def test_a_playbook_that_does_not_fit_is_refused(bundle, rows, change, message):
    names = sorted(segment.id for segment in bundle.manifest.segments)
    assert names == list(range(1, 7)), "the cases name the cells of six segments"
    with pytest.raises(BundleError, match=message) as caught:
        playbook_from_rows(change(rows), bundle.manifest)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b'{"rows": 3}'])
def test_a_file_that_is_no_playbook_is_refused(bundle, content):
    broken = replace(bundle, contents={**bundle.contents, PLAYBOOK: content})
    with pytest.raises(BundleError, match=r"playbook\.json: not a playbook"):
        open_playbook(broken)


def with_money(bundle, **changes):
    """A bundle with economics, and something else in them or in the first row."""
    document = json.loads(bundle.contents[PLAYBOOK])
    own = {
        "order_value": 80.0,
        "tested_with": ["low"],
        "campaigns": 2,
        "test": "Run 2.",
        "message": "a",
    }
    first = document["rows"][0] | own | changes.pop("row", {})
    document |= {"economics": ECONOMICS | changes, "rows": [first, *document["rows"][1:]]}
    content = json.dumps(document).encode()
    return replace(bundle, contents={**bundle.contents, PLAYBOOK: content})


def test_a_playbook_may_know_what_an_order_brings(bundle):
    document = read_playbook(with_money(bundle))
    assert document["economics"] == ECONOMICS
    assert document["rows"][0]["order_value"] == 80
    assert "economics" not in read_playbook(bundle)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"margin": 1.5}, "it.economics.margin"),
        ({"order_value": "80"}, "it.economics.order_value"),
        ({"cost_per_contact": {"push": None}}, "it.economics.cost_per_contact.push"),
        ({"currency": 3}, "it.economics.currency"),
        ({"row": {"order_value": True}}, r"it.rows\[0\].order_value"),
        ({"row": {"tested_with": ["huge"]}}, r"it.rows\[0\].tested_with\[0\]"),
        ({"row": {"campaigns": -1}}, r"it.rows\[0\].campaigns"),
        ({"row": {"test": None}}, r"it.rows\[0\].test"),
    ],
)
def test_economics_of_another_structure_are_refused(bundle, changes, place):
    with pytest.raises(BundleError, match=rf"not a playbook: {place} cannot be"):
        open_playbook(with_money(bundle, **changes))


def test_no_control_share_is_above_the_limit(rows):
    assert all(0 <= row["control_share"] <= MAX_CONTROL_SHARE for row in rows)


def test_inspect_lists_every_cell_under_its_action(bundle, rows):
    lines = list(playbook_lines(rows, bundle.manifest))
    assert lines[:2] == ["", "playbook"]
    assert sum(" / " in line for line in lines) >= len(rows)
    assert all(any(row["action"] in line for line in lines) for row in rows)


def test_the_playbook_says_that_expected_buyers_are_an_upper_bound(bundle):
    assert "upper bound" in json.loads(bundle.contents[PLAYBOOK])["expected_buyers"]
