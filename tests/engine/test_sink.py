import fcntl
import sys

import polars as pl
import pytest

from engine.errors import AccessError, CannotCreateError, LockedError, StorageError
from engine.sink import FrameWriter, Sink, glob_escape, storage_errors
from tests.helpers import read_table

FRAME = pl.DataFrame({"x": [1, 2, 3], "name": ["a", "b", "a"]})


def sink(out, replace=True):
    return Sink(out, out.with_name("rejected.csv"), ("name",), replace=replace)


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
        opened.publish(tmp_path / "summary.json", b"{}")
    assert read_table(out).height == 3
    assert read_table(tmp_path / "rejected.csv").height == 1
    assert (out.stat().st_mode & 0o777) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "rejected.csv",
        "scores.csv",
        "scores.csv.lock",
        "summary.json",
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


def test_rejected_rows_of_an_earlier_run_are_removed(tmp_path):
    (tmp_path / "rejected.csv").write_text("old")
    with sink(tmp_path / "scores.csv") as opened:
        opened.write(FRAME, FRAME.clear())
        opened.finish()
        opened.publish(tmp_path / "summary.json", b"{}")
    assert not (tmp_path / "rejected.csv").exists()


def test_a_held_output_is_refused(tmp_path):
    with (tmp_path / "scores.csv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="another run"), sink(tmp_path / "scores.csv"):
            pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/scores.csv", "does not exist"),
        ("scores.xlsx", "names no format"),
        ("folder.csv", "is a directory"),
        ("old.csv", "exists already"),
    ],
)
def test_an_output_that_cannot_be_made_is_refused(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "old.csv").touch()
    with pytest.raises(CannotCreateError, match=message), sink(tmp_path / name, replace=False):
        pass


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
