"""`engine report`: the night on one page."""

import json
import os
import re
import signal
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.bundle.manifest import BANDS
from engine.bundle.reference import TELLING_USERS
from engine.errors import InputError
from engine.interruption import signals_noted
from engine.pages.bins import BINS, FINEST_BINS
from engine.pages.format import EVERYBODY
from engine.report.chart import shares_by_bin, width_of
from engine.report.moves import moves
from engine.report.night import read_night
from engine.report.page import night_html
from engine.report.run import Run, read_run
from tests.engine.pages.following import few, followed
from tests.helpers import invoke, write_table

CUTS = (0.1, 0.3, 0.7)


def scores_of(rows: int, seed: int = 0, **columns) -> pl.DataFrame:
    """A score file of users in two segments, half of them unlikely to buy."""
    p = np.random.default_rng(seed).beta(0.5, 2, rows).astype(np.float32)
    frame = pl.DataFrame(
        {
            "customer": [f"c{n:06}" for n in range(rows)],
            "purchase_probability": p,
            "propensity_band": np.array(BANDS)[np.searchsorted(CUTS, p, side="right")],
            "segment_name": np.array(["Ones", "Twos"])[np.arange(rows) % 2],
            "bundle_id": "tiny/a",
        }
    )
    return frame.with_columns(**columns)


def shifted(frame: pl.DataFrame) -> pl.DataFrame:
    """The next night: the users of one segment moved up to the band high, and some are others."""
    ones = pl.col("segment_name") == "Ones"
    high = pl.when(ones).then(pl.lit("high")).otherwise("propensity_band")
    later = frame.with_columns(propensity_band=high).slice(100)
    return pl.concat([later, scores_of(50, 9).with_columns(customer="new-" + pl.col("customer"))])


@pytest.fixture
def night(tmp_path):
    def read(frame: pl.DataFrame, name: str = "s.parquet"):
        return read_night(str(write_table(frame, tmp_path / name)))

    return read


def text_of(page: str) -> str:
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body))).replace("\u202f", " ")


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.csv.gz", "s.arrow", "s.ndjson"])
def test_users_are_counted_by_segment_and_band(night, name):
    frame = scores_of(40_000)
    found = night(frame, name)
    assert (found.name, found.id, found.bundles) == (name, "customer", ("tiny/a",))
    assert found.rows.sum() == found.bins.sum() == len(found.users) == 40_000
    for n, segment in enumerate(found.segments):
        for b, band in enumerate(BANDS):
            cell = frame.filter(segment_name=segment, propensity_band=band)
            assert found.rows[n, b] == cell.height
            due = cell["purchase_probability"].cast(pl.Float64).sum()
            assert found.buyers[n, b] == pytest.approx(due)


def test_a_row_takes_8_bytes_and_the_order_of_rows_does_not_matter(night):
    frame = scores_of(3_000)
    first, second = night(frame), night(frame.reverse(), "r.parquet")
    assert first.users.nbytes == 8 * 3_000
    assert (first.users[1:] >= first.users[:-1]).all()
    swapped = [second.segments.index(name) for name in first.segments]
    assert (second.rows[swapped] == first.rows).all()


def test_who_moved_is_counted_by_user(night):
    earlier = scores_of(5_000)
    later = shifted(earlier)
    before, now = night(earlier), night(later, "t.parquet")
    found = moves(before, now)
    joined = earlier.join(later, on="customer", suffix="_now")
    assert (found.compared, found.new, found.gone, found.repeated) == (4_900, 50, 100, 0)
    for a, was in enumerate(BANDS):
        for b, is_now in enumerate(BANDS):
            cell = joined.filter(propensity_band=was, propensity_band_now=is_now)
            assert found.bands[a, b] == cell.height
    assert found.segments.sum() == np.trace(found.segments) == 4_900


def test_ids_are_matched_as_text_and_users_with_several_rows_are_left_out(night):
    numbered = scores_of(1_000).with_columns(customer=pl.int_range(pl.len()))
    twice = pl.concat([numbered, numbered.head(30)])
    found = moves(night(twice), night(numbered.cast({"customer": pl.String}), "t.csv"))
    assert (found.compared, found.gone, found.new, found.repeated) == (970, 0, 0, 60)


def test_users_left_out_of_one_run_are_neither_new_nor_gone(night):
    earlier, later = scores_of(1_000), scores_of(1_200).slice(100)
    # Some users of both runs, and some of one alone, have two rows.
    before = night(pl.concat([earlier, earlier.tail(40), earlier.head(5)]))
    now = night(pl.concat([later, later.head(25), later.tail(7)]), "t.parquet")
    for one, other, alone in [(before, now, (95, 193)), (now, before, (193, 95))]:
        found = moves(one, other)
        assert (found.gone, found.new) == alone
        assert (found.compared, found.repeated) == (900 - 40 - 25, 2 * (45 + 32))


@pytest.mark.parametrize("seed", range(3))
def test_no_figure_is_about_fewer_than_20_users(night, seed):
    earlier = scores_of(400, seed)
    rare = pl.when(pl.col("customer").is_between(pl.lit("c000100"), pl.lit("c000118"))).then(
        pl.lit("Rare")
    )
    later = shifted(earlier).with_columns(segment_name=rare.otherwise("segment_name"))
    page = night_html(night(later), night(earlier, "b.parquet"))
    sizes, bands, segments = (
        _cells(table) for table in re.findall(r"<tbody>.*?</tbody>", page, re.DOTALL)[:3]
    )
    # Expected buyers may be few, but are the sum over 20 users or more.
    numbers = [n for row in sizes for n, _ in row[:-1]] + [
        n for t in (bands, segments) for r in t for n, _ in r
    ]
    assert all(n == 0 or n >= TELLING_USERS for n in numbers)
    assert "Rare or" in page or "or Rare" in page


@pytest.mark.parametrize("seed", range(6))
def test_no_cell_of_few_users_follows_from_the_page(night, seed):
    earlier = scores_of(700, seed)
    page = night_html(night(shifted(earlier)), night(earlier, "b.parquet"))
    sizes, bands, _ = (
        _cells(table) for table in re.findall(r"<tbody>.*?</tbody>", page, re.DOTALL)[:3]
    )
    now = shifted(earlier)
    users = _counted(now, "segment_name", "propensity_band", ["Ones", "Twos"])
    assert not few(users) & followed(users, _blocks(row[:-2] for row in sizes[:2]))
    both = earlier.join(now, on="customer", suffix="_now")
    flows = _counted(both, "propensity_band", "propensity_band_now", list(BANDS))
    if len(bands) == len(BANDS):
        assert not few(flows) & followed(flows, _blocks(bands))


def _cells(table: str) -> list[list[tuple[int, int]]]:
    """The number in each cell and how many columns it spans, by row."""
    cell = re.compile(r'<td(?: colspan="(\d)")? class="number"><span class="value">([\d,]+)</span>')
    rows = [cell.findall(row) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
    return [[(int(n.replace(",", "")), int(span or 1)) for span, n in row] for row in rows]


def _blocks(rows) -> list:
    found = []
    for n, row in enumerate(rows):
        start = 0
        for _, span in row:
            found.append((range(n, n + 1), range(start, start := start + span)))
    return found


def _counted(frame: pl.DataFrame, row: str, column: str, rows: list[str]) -> np.ndarray:
    return np.array(
        [[frame.filter(pl.col(row) == r, pl.col(column) == b).height for b in BANDS] for r in rows]
    )


def test_bins_of_few_users_join_the_next_lower_one():
    finest = np.zeros(FINEST_BINS, np.int64)
    finest[[0, 60, 1_990]] = 5, 100, 10
    shares = shares_by_bin(finest, 0.025, TELLING_USERS)
    assert len(shares) == BINS
    assert [(n, share) for n, share in enumerate(shares) if share] == [(1, 1.0)]
    assert width_of(finest) == 0.025
    finest[:] = 0
    finest[3] = 1_000
    assert width_of(finest) == 0.0005


def test_the_page_says_what_it_compares(night):
    earlier = scores_of(5_000)
    other = shifted(earlier).with_columns(bundle_id=pl.lit("tiny/b"))
    text = text_of(night_html(night(other), night(earlier, "before.parquet")))
    assert "5,000 in the last run: −1.0 %" in text
    assert "In both runs: 4,900 users; new tonight: 50; gone: 100." in text
    assert "tiny/b" in text
    assert "The runs have different bundles" in text
    assert "It is the most that contacts can win" in text
    alone = text_of(night_html(night(other)))
    assert "add --previous" in alone
    assert "There is no s.parquet.summary.json beside the scores." in alone


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"customer": "x" + pl.col("customer")}, "No ids are in both runs"),
        ({"customer": pl.int_range(pl.len())}, "No ids are in both runs"),
        (
            {"customer": pl.when(pl.col("customer") < "c000005").then("customer").otherwise(pl.lit("y") + "customer")},
            "Fewer than 20 ids are in both runs",
        ),
    ],
)  # fmt: skip
def test_runs_of_other_users_are_told(night, change, words):
    frame = scores_of(500)
    changed = frame.with_columns(**change)
    assert words in text_of(night_html(night(changed), night(frame, "b.parquet")))


def test_rows_without_ids_and_ids_of_other_names_are_not_followed(night):
    frame = scores_of(500)
    numbered = frame.rename({"customer": "row"})
    assert night(numbered).id is None
    assert "have no ids" in text_of(night_html(night(numbered), night(numbered)))
    renamed = frame.rename({"customer": "user"})
    text = text_of(night_html(night(renamed), night(frame, "b.parquet")))
    assert "“customer” in the last run, “user” tonight" in text


def test_scores_without_segments_are_one_group(night):
    found = night(scores_of(500, segment_name=pl.lit(None, pl.String)))
    assert found.segments == (EVERYBODY,)
    assert text_of(night_html(found, found)).count("All users") == 1


def test_a_night_of_few_users_has_no_figures(night):
    text = text_of(night_html(night(scores_of(19))))
    assert "Fewer than 20 users: no figure is shown." in text
    assert "19" not in text


SUMMARY = {
    "published": True, "bundle_id": "tiny/a", "rows_read": 1_100, "rows_quarantined": 100,
    "reasons": {"visits|below_min": 90, "customer|missing": 10},
    "unseen_categories": {"city": 300}, "unusable": [],
    "alarms": [{"name": "rows", "message": "1,100 rows, 60% fewer"}],
    "drift": {"warnings": ["visits: has higher values"], "psi": {}},
    "snapshots": {"oldest": "2026-11-22", "newest": "2026-11-22"},
    "outputs": {"scores": {"sha256": ""}},
}  # fmt: skip


@pytest.fixture
def summarised(tmp_path):
    """A score file with a summary beside it."""
    import hashlib

    path = write_table(scores_of(1_000), tmp_path / "s.parquet")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def written(**changes) -> Path:
        document = {**SUMMARY, "outputs": {"scores": {"sha256": digest}}, **changes}
        (tmp_path / "s.parquet.summary.json").write_text(json.dumps(document))
        return path

    return written


def test_alarms_and_rejected_rows_come_from_the_summary(summarised):
    text = text_of(night_html(read_night(str(summarised()))))
    assert "1 alarm" in text
    assert "rows: 1,100 rows, 60% fewer" in text
    assert "100 of 1,100 rows were set aside, 9.09 %." in text
    assert "visits|below_min 90" in text
    assert "customer|missing < 20" in text
    assert "city 300" in text
    assert "visits: has higher values" in text
    assert "Snapshot 2026-11-22" in text
    quiet = summarised(alarms=[], rows_quarantined=0, reasons={})
    text = text_of(night_html(read_night(str(quiet))))
    assert "No alarm" in text
    assert "Every row was scored." in text
    unusable = summarised(unusable=["a constant model"])
    assert "These scores must not be used" in text_of(night_html(read_night(str(unusable))))


@pytest.mark.parametrize(
    "message",
    [
        "15 rows, 99% fewer than the 1,500 of the run before: is the input complete?",
        "1,500 rows, 9900% more than the 15 of the run before: is a file given twice?",
    ],
)
def test_few_rows_are_not_disclosed(summarised, message):
    alarms = [{"name": "rows", "message": message}]
    path = summarised(rows_read=15, rows_quarantined=2, alarms=alarms)
    text = text_of(night_html(read_night(str(path))))
    assert "Fewer than 20 of fewer than 20 rows were set aside." in text
    assert "rows: far more or fewer than in the run before." in text
    assert "15" not in text.replace("2026-11-15", "")
    assert "99" not in text


def test_alarms_of_many_rows_keep_their_numbers(summarised):
    message = "1,015 rows, 60% fewer than the 2,512 of the run before: is the input complete?"
    path = summarised(alarms=[{"name": "rows", "message": message}])
    assert message in text_of(night_html(read_night(str(path))))


def test_a_directory_of_scores_has_no_summary(tmp_path, monkeypatch):
    (tmp_path / "night").mkdir()
    write_table(scores_of(100), tmp_path / "night" / "s.parquet")
    monkeypatch.chdir(tmp_path / "night")
    result = invoke("report", ".", "--out", tmp_path / "x.html")
    assert result.exit_code == 0, result.output
    text = text_of((tmp_path / "x.html").read_text())
    assert "Only a single file of scores has a summary beside it." in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": {"scores": {"sha256": "0" * 64}}}, "is the summary of another run"),
        ({"outputs": {}}, "is the summary of another run"),
        ({"bundle_id": "tiny/b"}, "does not name the bundle of the scores"),
        ({"bundle_id": None}, "does not name the bundle of the scores"),
        ({"alarms": "none"}, "is not the summary of a run: it.alarms"),
        ({"reasons": {"a": -1}}, "is not the summary of a run: it.reasons.a"),
    ],
)
def test_a_summary_that_does_not_fit_is_told_and_not_used(summarised, changes, words):
    path = summarised(**changes)
    assert words in read_run(path, ("tiny/a",))
    text = text_of(night_html(read_night(str(path))))
    assert "Alarms unknown" in text
    assert text.count(words) == 2


def test_a_summary_that_is_no_json_is_told(summarised):
    path = summarised()
    path.with_name("s.parquet.summary.json").write_text("{")
    assert "is not the summary of a run" in read_run(path, ("tiny/a",))


def test_hostile_names_are_words(night):
    hostile = "<script>alert(1)</script>\u202e"
    page = night_html(
        night(scores_of(500, segment_name=pl.lit(hostile), bundle_id=pl.lit(hostile)))
    )
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_a_run_of_the_engine_is_shown_and_the_same_again(users, users_file, tmp_path):
    night, page = tmp_path / "s.parquet", tmp_path / "tonight.html"
    assert invoke("score", users_file, "--out", night, "--quiet").exit_code == 0
    found = read_night(str(night))
    assert isinstance(found.run, Run)
    assert (found.id, found.run.rows_read) == ("user_id", users.height)
    call = ("report", night, "--previous", night, "--out", page)
    for _ in range(2):
        result = invoke(*call)
        assert result.exit_code == 0, result.output
        assert page.read_text() == night_html(found, found)
    assert f"report on {users.height:,} scores in {page}" in result.stderr
    assert f"In both runs: {users.height:,} users; new tonight: 0; gone: 0." in text_of(
        page.read_text()
    )
    assert users["user_id"][0] not in page.read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    good = scores_of(100)
    bad = {
        "users.csv": good.drop("propensity_band", "bundle_id"),
        "bands.csv": good.with_columns(propensity_band=pl.lit("huge")),
        "range.csv": good.with_columns(purchase_probability=pl.lit(1.5)),
        "nobody.csv": good.with_columns(customer=pl.lit(None, pl.String)),
        "empty.parquet": good.clear(),
        "good.parquet": good,
    }
    for name, frame in bad.items():
        write_table(frame, tmp_path / name)
    (tmp_path / "diary.html").write_text("<!doctype html>")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("scores", "out", "code", "words"),
    [
        ("users.csv", "n.html", 65, "users.csv: not a score file: 2 missing columns: 'bundle_id', 'propensity_band'"),
        ("bands.csv", "n.html", 65, "100 rows whose 'propensity_band' is none of 'low'"),
        ("range.csv", "n.html", 65, "purchase_probability|above_max 100"),
        ("nobody.csv", "n.html", 65, "customer|missing 100"),
        ("empty.parquet", "n.html", 65, "no row of scores"),
        ("absent.parquet", "n.html", 66, "absent.parquet"),
        ("good.parquet", "n.pdf", 73, "ends with .html"),
        ("good.parquet", "-", 73, "ends with .html"),
        ("good.parquet", "diary.html", 73, "exists and is not a report"),
        ("good.parquet", "absent/n.html", 73, "the directory absent does not exist"),
        ("good.parquet", "good.parquet", 2, "is an input and an output"),
    ],
)  # fmt: skip
def test_what_cannot_be_reported_is_said_in_words(folder, scores, out, code, words):
    result = invoke("report", scores, "--out", out)
    assert (result.exit_code, "Traceback" in result.stderr) == (code, False)
    assert words in result.stderr
    assert not (folder / "n.html").exists()
    assert (folder / "diary.html").read_text() == "<!doctype html>"


def test_a_lean_install_is_told_what_to_install(folder, monkeypatch):
    monkeypatch.setattr("engine.cli.options.find_spec", lambda _: None)
    result = invoke("report", "good.parquet", "--out", "n.html")
    assert result.exit_code == 2
    assert "pip install 'shopnow-scoring[report]'" in result.stderr


def test_more_segments_than_there_can_be_are_refused(night):
    with pytest.raises(InputError, match="more than 256 values of 'segment_name'"):
        night(scores_of(600, segment_name=pl.col("customer")))


def test_ctrl_c_while_the_page_is_made_leaves_no_page(folder, monkeypatch):
    def interrupted(*_nights) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "<!doctype html>"

    monkeypatch.setattr("engine.report.page.night_html", interrupted)
    with signals_noted():
        result = invoke("report", "good.parquet", "--out", "n.html")
    assert result.exit_code == 130, result.output
    assert not (folder / "n.html").exists()
