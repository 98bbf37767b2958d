import re

from engine.outputs.alarms import Alarm
from engine.outputs.metrics import to_prometheus
from engine.outputs.summary import Summary

LABEL = r'\w+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"(engine_score_\w+)(\{{{LABEL}(?:,{LABEL})*\}})? (\S+)")


def samples(summary):
    """Every sample of the text format, with its labels; the whole text must be of that format."""
    found = {}
    described = set()
    for line in to_prometheus(summary).decode().splitlines():
        if line.startswith("# "):
            described.add(line.split()[2])
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        assert name in described
        found[name + (labels or "")] = float(value)
    return found


def test_counts_are_those_of_the_summary():
    summary = Summary(
        "published",
        published=True,
        out="s.parquet",
        bundle_id="shopnow/1",
        rows_read=10,
        rows_scored=8,
        rows_quarantined=2,
        reasons={"age|below_min": 2},
        mean_probability=0.25,
        alarms=(Alarm("drift", "a"), Alarm("drift", "b")),
        snapshots={"oldest": "1970-01-01", "newest": "1970-01-02"},
    )
    found = samples(summary)
    assert found['engine_score_rows{result="quarantined"}'] == 2
    assert found['engine_score_quarantined_rows{rule="age|below_min"}'] == 2
    assert found["engine_score_mean_probability"] == 0.25
    assert found["engine_score_published"] == 1
    assert [found[f'engine_score_alarms{{alarm="{name}"}}'] for name in ("drift", "rows")] == [2, 0]
    assert found["engine_score_newest_snapshot_seconds"] == 86_400


def test_a_run_that_read_nothing_has_no_mean():
    summary = Summary("failed", published=False, out="s.parquet", exit_code=66)
    found = samples(summary)
    assert found["engine_score_exit_code"] == 66
    assert "engine_score_mean_probability" not in found


def test_names_from_outside_are_escaped():
    summary = Summary(
        "published", published=True, out="s", unseen_categories={'a"} 1\nb\\': 1}, segments={"é": 3}
    )
    found = samples(summary)
    assert found['engine_score_unseen_values{feature="a\\"} 1\\nb\\\\"}'] == 1
    assert found['engine_score_segment_rows{segment="é"}'] == 3
