import json

import pytest

from engine.outputs.alarms import Inputs, find_alarms, inputs_before

FIRST = Inputs(90, "c" * 64, "2026-11-08", "2026-11-15", "d" * 64)
BEFORE = Inputs(100, "a" * 64, "2026-11-15", "2026-11-22", "e" * 64, FIRST)


def names(**changes):
    now = {
        "rows": 100,
        "sha256": "b" * 64,
        "oldest_snapshot": None,
        "newest_snapshot": "2026-11-29",
    }
    return [alarm.name for alarm in find_alarms((), Inputs(**now | changes), BEFORE)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [(50, ["rows"]), (51, []), (0, ["rows"]), (149, []), (150, ["rows"]), (100, [])],
)
def test_rows_that_fall_or_rise_by_half_are_an_alarm(rows, found):
    assert names(rows=rows) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sha256": "a" * 64}, ["stale"]),
        ({"sha256": None}, []),
        ({"newest_snapshot": "2026-11-22"}, ["stale"]),
        ({"newest_snapshot": "2026-11-21"}, ["stale"]),
        ({"newest_snapshot": "2026-11-23"}, []),
        ({"newest_snapshot": None}, []),
    ],
)
def test_the_same_bytes_or_no_newer_date_are_an_alarm(changes, found):
    assert names(**changes) == found


def test_without_a_run_before_nothing_is_compared():
    assert find_alarms((), BEFORE, None) == ()
    assert [alarm.name for alarm in find_alarms(["x: moved"], BEFORE, None)] == ["drift"]


def test_a_run_that_published_nothing_passes_on_what_it_was_compared_with(tmp_path):
    summary = tmp_path / "summary.json"
    published = {"published": True, "outputs": {"scores": {"sha256": BEFORE.scores_sha256}}}
    summary.write_text(json.dumps(published | BEFORE.to_json()))
    assert inputs_before(summary) == BEFORE
    summary.write_text(json.dumps({"published": False, "rows_read": 3, "before": BEFORE.to_json()}))
    assert inputs_before(summary) == BEFORE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"published": true}',
        '{"published": false, "before": null}',
        '{"published": true, "rows_read": true, "input_sha256": null, "snapshots": {}}',
        '{"published": true, "rows_read": -1, "input_sha256": null, "snapshots": {}}',
        '{"published": true, "rows_read": 1, "input_sha256": 5, "snapshots": {}}',
        '{"published": true, "rows_read": 1, "input_sha256": null, "snapshots": []}',
        '{"published": true, "rows_read": 1, "input_sha256": null, "snapshots": {"newest": "x"}}',
        '{"published": true, "rows_read": 1, "input_sha256": null, "snapshots": {}}',
        '{"published": true, "rows_read": 1, "input_sha256": null, "snapshots": {}, "outputs": {"scores": {"sha256": 1}}}',
        "[" * 100_000,
    ],
)
def test_a_summary_that_says_nothing_counts_as_none(tmp_path, text):
    summary = tmp_path / "summary.json"
    summary.write_text(text)
    assert inputs_before(summary) is None
    assert inputs_before(tmp_path / "absent.json") is None
