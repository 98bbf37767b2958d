import numpy as np
import pytest

from engine.bundle.manifest import BANDS
from training.metrics.money import FIGURES, audience, best_size, bin_bands, priced_bins

CUTS = (0.1, 0.3, 0.6)
COUNTS = {1: [400, 300, 0, 200, 100], 2: [40, 30, 0, 20, 20]}
HISTOGRAM = {
    "width": 0.2,
    "segments": [
        {
            "segment_id": number,
            "rows": rows,
            "expected_buyers": [
                p * count for p, count in zip((0.05, 0.2, 0.0, 0.4, 0.8), rows, strict=True)
            ],
        }
        for number, rows in COUNTS.items()
    ],
}


def playbook(**changes):
    row = {"channel": "e-mail", "cost_per_contact": 5.0, "order_value": 100.0}
    return {
        "economics": {"margin": 0.2},
        "rows": [
            {"segment_id": number, "band": band, **row, **changes.get(f"{band}_{number}", {})}
            for number in (1, 2)
            for band in BANDS
        ],
    }


def priced(scale=10.0, **changes):
    return priced_bins(HISTOGRAM, playbook(**changes), CUTS, scale)


def test_an_audience_adds_up_what_its_users_bring_and_cost():
    bins = priced()
    found = audience(bins, bins.likeliest_first, 1_200)
    assert found == {
        "users": pytest.approx(1_200),
        "orders": pytest.approx(960),
        "revenue": pytest.approx(96_000),
        "cost": pytest.approx(6_000),
        "profit": pytest.approx(0.2 * 96_000 - 6_000),
    }
    half = audience(bins, bins.likeliest_first, 600)
    assert half == {name: pytest.approx(found[name] / 2) for name in FIGURES}
    everybody = audience(bins, bins.best_first, 1e9)
    assert everybody["users"] == 11_100


def test_the_best_size_stops_where_the_margin_is_less_than_the_contact():
    # 0.4 x 100 x 0.2 = 8 pays for a contact of 5; 0.2 x 100 x 0.2 = 4 does not.
    bins = priced()
    assert best_size(bins, bins.likeliest_first) == best_size(bins, bins.best_first) == 3_400
    assert best_size(bins.of_segment(2), bins.of_segment(2).best_first) == 400


def test_profit_ranks_users_by_what_their_orders_are_worth():
    bins = priced(medium_2={"order_value": 1_000.0}, very_high_1={"cost_per_contact": 30.0})
    assert bins.segment[bins.best_first[0]] == 2
    assert bins.probability[bins.best_first[0]] == pytest.approx(0.2)
    assert best_size(bins, bins.best_first) == 10 * (200 + 30 + 20 + 20)
    assert best_size(bins, bins.best_first) != best_size(bins, bins.likeliest_first)


def test_cells_that_nobody_contacts_are_no_audience():
    bins = priced(low_1={"channel": "none", "cost_per_contact": 0.0}, low_2={"order_value": None})
    assert bins.figures[:, 0].sum() == 6_700


def test_a_bin_belongs_to_the_band_of_its_average_user():
    # From 0.2 to 0.4 the middle is high; users at 0.25 are medium. A bin without users has no average.
    part = {"rows": [40, 40, 0], "expected_buyers": [2.0, 10.0, 0.0]}
    assert [BANDS[n] for n in bin_bands(part, CUTS)] == ["low", "medium", "low"]


def test_where_no_contact_pays_the_best_audience_is_empty():
    free = {f"{band}_{n}": {"order_value": 0.0} for band in BANDS for n in (1, 2)}
    bins = priced(**free)
    assert best_size(bins, bins.best_first) == 0
    assert audience(bins, bins.best_first, 0) == dict.fromkeys(FIGURES, 0.0)


def test_the_best_size_is_the_best_of_all_sizes():
    bins = priced(medium_1={"order_value": 260.0})
    for order in (bins.likeliest_first, bins.best_first):
        profits = [audience(bins, order, users)["profit"] for users in np.linspace(0, 11_100, 500)]
        best = audience(bins, order, best_size(bins, order))["profit"]
        assert best >= max(profits) - 1e-6
