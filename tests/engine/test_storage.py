import fcntl
import os
from pathlib import Path

import polars as pl
import pytest

import engine.storage
from engine.errors import AccessError, CannotCreateError, LockedError, StorageError
from engine.storage import SHARED_MODE, locked, remove_tree, storage_errors, write_atomic


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


def test_a_lock_of_a_killed_run_under_a_strict_umask_is_opened_again(tmp_path, monkeypatch):
    """Root may open it anyway, so the first attempt is refused here as the system refuses a user."""
    lock = tmp_path / "lock"
    lock.touch(0o400)
    opened, refused = os.open, []

    def refuse(path, flags, *arguments, **named):
        is_read_only = path == lock and lock.stat().st_mode & 0o777 == 0o400
        if is_read_only and not flags & os.O_EXCL:
            refused.append(path)
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    with locked(lock, tmp_path / "target"):
        assert refused
        assert lock.stat().st_mode & 0o777 == 0o600


def test_a_lock_of_another_user_is_named(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    lock.touch()
    opened = os.open

    def refuse(path, flags, *arguments, **named):
        if path == lock and not flags & os.O_EXCL:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: lock.stat().st_uid + 1)
    with (
        pytest.raises(
            AccessError, match="lock: the lock of .*target: may not be written by this user"
        ),
        locked(lock, tmp_path / "target"),
    ):
        pass


@pytest.mark.parametrize("is_there", [True, False])
def test_work_that_fails_leaves_no_new_lock(tmp_path, is_there):
    lock = tmp_path / "lock"
    if is_there:
        lock.touch()
    with pytest.raises(KeyError), locked(lock, tmp_path / "target"):
        raise KeyError
    assert lock.exists() == is_there


def test_a_lock_that_was_removed_meanwhile_is_made_again(tmp_path, monkeypatch):
    lock, removed = tmp_path / "lock", []
    take = engine.storage.take_lock

    def remove_first(descriptor, target):
        if not removed:
            removed.append(lock.unlink())
        take(descriptor, target)

    monkeypatch.setattr(engine.storage, "take_lock", remove_first)
    with locked(lock, tmp_path / "target"):
        descriptor = os.open(lock, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_a_tree_of_a_strict_umask_is_removed(tmp_path):
    inner = tmp_path / "left" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch(0o400)
    for folder in (inner, inner.parent):
        folder.chmod(0o500)
    remove_tree(tmp_path / "left")
    assert not (tmp_path / "left").exists()
