import fcntl
import os
from pathlib import Path

import polars as pl
import pytest

from engine.errors import AccessError, CannotCreateError, LockedError, StorageError
from engine.storage import SHARED_MODE, locked, storage_errors, write_atomic


def test_a_file_is_on_disk_before_it_is_moved_and_its_folder_after(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        steps.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def replaced(path, target):
        steps.append("moved")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomic(tmp_path / "file", b"new")
    assert steps == [(tmp_path / "file").stat().st_ino, "moved", tmp_path.stat().st_ino]


@pytest.mark.parametrize(("mode", "expected"), [((), 0o600), ((SHARED_MODE,), 0o644)])
def test_a_file_is_private_unless_it_is_to_be_shared(tmp_path, mode, expected):
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "file", b"new", *mode)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == expected


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("path", ["/dev/null", "", "."])
def test_only_a_file_is_written(path):
    with pytest.raises(CannotCreateError, match=r"is a device or a pipe|is not the name of a file"):
        write_atomic(Path(path), b"new")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_a_lock_file_is_private_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        for _ in range(2):
            with locked(tmp_path / "lock", tmp_path / "target"):
                assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_lock_is_held_until_the_end_and_names_what_it_protects(tmp_path):
    target = tmp_path / "target"
    for path in (tmp_path / "lock", tmp_path):
        with locked(path, target):
            with pytest.raises(LockedError, match="target: another run"), locked(path, target):
                pass
            descriptor = os.open(path, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


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
