import fcntl
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from engine.errors import (
    CannotCreateError,
    LockedError,
    StorageError,
    UsageError,
)
from engine.outputs.paths import ScoresFile, Targets
from engine.outputs.sink import Sink, glob_escape
from tests.helpers import read_table

FRAME = pl.DataFrame({"x": [1, 2, 3], "name": ["a", "b", "a"]})


@contextmanager
def opened_sink(targets):
    with Sink(targets, ("name",)) as opened:
        opened.prepare()
        yield opened


def sink(out):
    return opened_sink(Targets.of(ScoresFile(out), out.with_name("rejected.csv"), None))


def test_nothing_stands_at_the_output_until_it_is_published(tmp_path):
    out = tmp_path / "scores.csv"
    with sink(out) as opened:
        opened.write(FRAME)
        opened.write_rejected(FRAME[:1])
        opened.finish()
        assert not out.exists()
        opened.publish(b"{}", b"")
    assert read_table(out).height == 3
    assert read_table(tmp_path / "rejected.csv").height == 1
    assert (out.stat().st_mode & 0o777) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "rejected.csv",
        "scores.csv",
        "scores.csv.lock",
        "scores.csv.summary.json",
    ]


def test_a_failure_leaves_the_old_output_and_no_staging(tmp_path):
    out = tmp_path / "scores.csv"
    out.write_text("old")
    with pytest.raises(KeyError), sink(out) as opened:
        opened.write(FRAME)
        raise KeyError
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]


def test_staging_of_a_killed_run_is_removed_and_others_are_not(tmp_path):
    (tmp_path / ".scores.csv.staging-1").mkdir()
    (tmp_path / ".other.csv.staging-1").mkdir()
    with sink(tmp_path / "scores.csv"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.csv.staging-1", "scores.csv.lock"]


@pytest.mark.parametrize(("named", "stays"), [(None, False), ("rejected.csv", True)])
def test_only_an_earlier_quarantine_of_the_same_output_is_removed(tmp_path, named, stays):
    old = tmp_path / (named or "scores.csv.quarantine.csv")
    old.write_text("old")
    targets = Targets.of(
        ScoresFile(tmp_path / "scores.csv"), tmp_path / named if named else None, None
    )
    with opened_sink(targets) as opened:
        opened.write(FRAME)
        opened.finish()
        opened.publish(b"{}", b"")
    assert old.exists() == stays


def test_files_may_go_to_different_directories(tmp_path):
    places = [tmp_path / n / "same.csv" for n in ("scores", "quarantine")]
    summary = tmp_path / "summary" / "s.json"
    for path in (*places, summary):
        path.parent.mkdir()
    with opened_sink(Targets.of(ScoresFile(places[0]), places[1], summary)) as opened:
        opened.write(FRAME)
        opened.write_rejected(FRAME[:2])
        opened.finish()
        opened.publish(b"{}", b"")
    assert [read_table(path).height for path in places] == [3, 2]
    assert summary.read_bytes() == b"{}"
    assert not list(tmp_path.glob("**/.*"))


@pytest.mark.parametrize(
    ("quarantine", "summary"),
    [("scores.csv", None), (None, "scores.csv"), ("both.csv", "both.csv")],
)
def test_two_files_in_one_place_are_refused(tmp_path, quarantine, summary):
    with pytest.raises(UsageError, match="need different paths"):
        Targets.of(
            ScoresFile(tmp_path / "scores.csv"),
            tmp_path / quarantine if quarantine else None,
            tmp_path / summary if summary else None,
        )


def test_what_fails_after_the_commit_is_not_called_unpublished(tmp_path, monkeypatch):
    def fail(_folder):
        if (tmp_path / "scores.csv").exists():
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("engine.outputs.sink.sync_path", fail)
    with sink(tmp_path / "scores.csv") as opened:
        opened.write(FRAME)
        opened.finish()
        with pytest.raises(StorageError, match="the scores of this run are published"):
            opened.publish(b"{}", b"")
        assert opened.committed


def test_a_held_output_is_refused(tmp_path):
    with (tmp_path / "scores.csv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="another run"), sink(tmp_path / "scores.csv"):
            pass


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        ("out", "absent/scores.csv", "does not exist"),
        ("out", "scores.xlsx", "names no format"),
        ("out", "folder.csv", "is a directory"),
        ("quarantine", "absent/q.csv", "does not exist"),
        ("quarantine", "q.xlsx", "names no format"),
        ("summary", "absent/s.json", "does not exist"),
    ],
)
def test_a_place_that_cannot_hold_its_file_is_refused_at_once(tmp_path, place, name, message):
    (tmp_path / "folder.csv").mkdir()
    paths = {"out": tmp_path / "scores.csv", "quarantine": None, place: tmp_path / name}
    destination = ScoresFile(paths.pop("out"))
    with pytest.raises(CannotCreateError, match=message):
        Targets.of(destination, **paths).check(replace=False)


def test_a_name_as_a_pattern_matches_only_itself(tmp_path):
    for name in ("a[1]*?.csv", "a1xx.csv"):
        (tmp_path / name).touch()
    assert [p.name for p in tmp_path.glob(glob_escape("a[1]*?.csv"))] == ["a[1]*?.csv"]


def test_renames_that_keep_failing_leave_no_summary_of_scores_that_are_not_there(
    tmp_path, monkeypatch
):
    out, summary = tmp_path / "scores.csv", tmp_path / "scores.csv.summary.json"
    renames = []
    rename = Path.replace

    def fail_later(path, target):
        renames.append(target)
        if len(renames) > 1:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fail_later)
    with sink(out) as opened:
        opened.write(FRAME)
        opened.finish()
        with pytest.raises(StorageError):
            opened.publish(b'{"published": true}', b"")
        assert summary.read_bytes() == b'{"published": true}'
        opened.report(b'{"published": false}', b"")
    assert summary.read_bytes() == b'{"published": false}'
    assert not out.exists()
