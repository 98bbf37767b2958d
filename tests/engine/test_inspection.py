from dataclasses import replace

import pytest

from engine.bundle import Segment, open_bundle
from engine.inspection import manifest_lines
from tests.helpers import BUNDLE


@pytest.fixture(scope="module")
def manifest():
    return replace(
        open_bundle(BUNDLE).manifest,
        unusable=(),
        quality={"sentence": "Good: it ranks well.", "reasons": ["segments: few"]},
        metrics={
            "rows": 9,
            "roc_auc": 0.75,
            "f1": None,
            "withheld": ["F1 is withheld: too few users"],
            "intervals": {"roc_auc": [0.7, 0.8]},
            "slices": [{"slice": "country"}],
            "leakage": {"shuffled_labels": {"bound": 0.6}},
        },
        segments=(Segment(1, "Loyal", 0.5, "They order often."), Segment(2, "New", 0.5)),
    )


def section(manifest, title):
    return "\n".join(manifest_lines(manifest)).split(f"\n{title}\n")[1].split("\n\n")[0]


def test_the_quality_comes_first(manifest):
    lines = list(manifest_lines(manifest))
    assert lines[1:4] == ["may be used", "quality: Good: it ranks well.", "  segments: few"]


def test_what_must_not_be_used_is_called_so(manifest):
    quality = {"band": "unusable", "sentence": "Unusable: no signal.", "reasons": ["no signal"]}
    useless = replace(manifest, unusable=("no signal", "chance"), quality=quality)
    words = ["MUST NOT BE USED", "quality: Unusable: no signal.", "  no signal", "  chance", ""]
    assert list(manifest_lines(useless))[1:6] == words
    unjudged = replace(useless, quality={})
    assert list(manifest_lines(unjudged))[1:4] == ["MUST NOT BE USED", "  no signal", "  chance"]


def test_metrics_are_single_figures_with_their_intervals(manifest):
    found = section(manifest, "metrics on the test users")
    assert found.splitlines() == [
        "  rows: 9",
        "  roc_auc: 0.75  (0.7 to 0.8)",
        "  F1 is withheld: too few users",
    ]


def test_segments_are_named_and_described(manifest):
    assert section(manifest, "segments").splitlines() == [
        "  1  Loyal  50.0% of users",
        "     They order often.",
        "  2  New  50.0% of users",
    ]
