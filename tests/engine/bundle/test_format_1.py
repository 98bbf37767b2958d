import json

import pytest

from engine.bundle.format_1 import evaluation_document
from engine.bundle.open import MANIFEST
from tests.golden.make import BUNDLE as FORMAT_1


@pytest.fixture
def manifest():
    return json.loads((FORMAT_1 / MANIFEST).read_text())


def test_parts_of_few_users_are_left_out_and_the_reasons_kept(manifest):
    metrics, before = manifest["metrics"], evaluation_document(manifest)["metrics"]
    metrics["cells"][0] |= dict.fromkeys(("rows", "purchase_rate", "mean_probability"))
    metrics["cells"][1] |= {"rows": 0, "purchase_rate": None, "mean_probability": None}
    metrics["deciles"][0] |= dict.fromkeys(("rows", "purchase_rate"))
    metrics["reliability"][0] |= dict.fromkeys(("purchase_rate", "low", "high"))
    metrics["gains"][0] |= dict.fromkeys(("share_of_buyers", "lift", "purchase_rate"))
    metrics["operating_points"][0] |= dict.fromkeys(("probability_from", "precision"))
    metrics["withheld"] = ["F1 is withheld"]
    found = evaluation_document(manifest)["metrics"]
    for name in ("cells", "deciles", "reliability", "gains", "operating_points"):
        assert len(found[name]) == len(before[name]) - (2 if name == "cells" else 1)
    assert found["cells"][0]["bands"] == ["low"]
    assert found["deciles"][0]["deciles"] == [9]
    assert found["suppressed"] == ["F1 is withheld"]


@pytest.mark.parametrize("value", [None, 1, "x", [], [None], [{}], {}])
def test_any_value_opens_and_is_checked_later(manifest, value):
    for name in ("metrics", "drivers", "training", "comparison", "quality"):
        evaluation_document(manifest | {name: value})
    for name in ("cells", "deciles", "reliability", "withheld"):
        evaluation_document(manifest | {"metrics": {**manifest["metrics"], name: value}})
    drivers = evaluation_document(manifest | {"drivers": {"features": value}})["drivers"]
    assert drivers == {"features": value}
