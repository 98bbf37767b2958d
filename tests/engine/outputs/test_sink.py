import fcntl
import sys
from contextlib import contextmanager

import polars as pl
import pytest

from engine.errors import (
    AccessError,
    CannotCreateError,
    LockedError,
    StorageError,
    UsageError,
)
from engine.outputs.paths import ScoresFile, Targets
from engine.outputs.sink import Sink, glob_escape
from engine.outputs.writer import FrameWriter
from engine.storage import storage_errors
from tests.helpers import read_table

FRAME = pl.DataFrame({"x": [1, 2, 3], "name": ["a", "b", "a"]})


@contextmanager
def opened_sink(targets):
    with Sink(targets, ("name",)) as opened:
        opened.prepare()
        yield opened


def sink(out):
    return opened_sink(Targets.of(ScoresFile(out), out.with_name("rejected.csv"), None))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", ".ndjson"])
def test_what_is_written_is_read_back(tmp_path, ending):
    writer = FrameWriter(tmp_path / f"t{ending}", FRAME.schema, ("name",))
    writer.write(FRAME[:1])
    writer.write(FRAME[1:])
    written = writer.finish()
    assert read_table(tmp_path / f"t{ending}").cast(FRAME.schema).equals(FRAME)
    assert (written.rows, written.size_bytes) == (3, (tmp_path / f"t{ending}").stat().st_size)


def test_repeated_texts_are_dictionaries_in_arrow(tmp_path):
    writer = FrameWriter(tmp_path / "t.arrow", FRAME.schema, ("name",))
    writer.write(FRAME)
    writer.finish()
    assert read_table(tmp_path / "t.arrow").schema["name"] == pl.Categorical


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", ".ndjson"])
def test_bytes_do_not_depend_on_the_chunks(tmp_path, ending):
    frame = pl.concat([FRAME] * 50_000)
    paths = [tmp_path / f"{rows}{ending}" for rows in (1_000, 65_536, 150_000)]
    for path, rows in zip(paths, (1_000, 65_536, 150_000), strict=True):
        writer = FrameWriter(path, frame.schema, ("name",))
        for chunk in frame.iter_slices(rows):
            writer.write(chunk)
        writer.finish()
    assert len({path.read_bytes() for path in paths}) == 1


def test_nothing_stands_at_the_output_until_it_is_published(tmp_path):
    out = tmp_path / "scores.csv"
    with sink(out) as opened:
        opened.write(FRAME, FRAME[:1])
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
        opened.write(FRAME, FRAME.clear())
        raise KeyError
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.csv", "scores.csv.lock"]


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
        opened.write(FRAME, FRAME.clear())
        opened.finish()
        opened.publish(b"{}", b"")
    assert old.exists() == stays


def test_files_may_go_to_different_directories(tmp_path):
    places = [tmp_path / n / "same.csv" for n in ("scores", "quarantine")]
    summary = tmp_path / "summary" / "s.json"
    for path in (*places, summary):
        path.parent.mkdir()
    with opened_sink(Targets.of(ScoresFile(places[0]), places[1], summary)) as opened:
        opened.write(FRAME, FRAME[:2])
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
        opened.write(FRAME, FRAME.clear())
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), StorageError),
        (pl.exceptions.ComputeError("No space left on device (os error 28)"), StorageError),
        (PermissionError(13, "Permission denied"), AccessError),
        (FileNotFoundError(2, "No such file"), CannotCreateError),
        (pl.exceptions.ComputeError("something else"), StorageError),
    ],
)
def test_errors_of_the_disk_are_told_apart(tmp_path, error, kind):
    with pytest.raises(kind, match="scores.csv"), storage_errors(tmp_path / "scores.csv"):
        raise error


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /dev/full")
def test_a_full_disk_is_reported_by_the_writer(tmp_path):
    path = tmp_path / "full.csv"
    path.symlink_to("/dev/full")
    writer = FrameWriter(path, FRAME.schema)
    for _ in range(20):
        try:
            writer.write(pl.concat([FRAME] * 50_000))
        except StorageError:
            break
    with pytest.raises(StorageError, match="No space left"):
        writer.finish()


def test_a_name_as_a_pattern_matches_only_itself(tmp_path):
    for name in ("a[1]*?.csv", "a1xx.csv"):
        (tmp_path / name).touch()
    assert [p.name for p in tmp_path.glob(glob_escape("a[1]*?.csv"))] == ["a[1]*?.csv"]
