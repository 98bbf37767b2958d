import os
from pathlib import Path

import pytest

from engine.errors import CannotCreateError, LockedError
from training.staging import staged


def descriptors():
    return set(Path("/dev/fd").iterdir())


def test_what_a_killed_run_left_goes_with_the_next(tmp_path):
    left = tmp_path / ".users.csv.staging"
    (left / "folder").mkdir(parents=True)
    (left / "users.csv").write_text("half")
    (left / "link").symlink_to(tmp_path)
    others = tmp_path / ".users.staging"
    others.mkdir()
    with staged(tmp_path / "users.csv") as folder:
        assert list(folder.iterdir()) == []
        (folder / "users.csv").write_text("whole")
        (folder / "users.csv").replace(tmp_path / "users.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"users.csv", ".users.staging"}


def test_one_at_a_time_makes_a_target(tmp_path):
    with staged(tmp_path / "out") as folder:
        (folder / "half").touch()
        with (
            pytest.raises(LockedError, match="out: another run holds this output"),
            staged(tmp_path / "out"),
        ):
            pass
        with staged(tmp_path / "other"):
            pass
        assert list(folder.iterdir()) == [folder / "half"]


def test_a_folder_that_is_removed_between_two_steps_is_made_again(tmp_path, monkeypatch):
    """As by the process that held it before: after it was made, or after it was opened."""
    opened = []

    def removing(path, flags):
        opened.append(path)
        if len(opened) == 1:
            path.rmdir()
        descriptor = os_open(path, flags)
        if len(opened) == 2:
            path.rmdir()
        return descriptor

    os_open = os.open
    before = descriptors()
    monkeypatch.setattr(os, "open", removing)
    with staged(tmp_path / "out") as folder:
        assert folder.is_dir()
    assert len(opened) == 3
    monkeypatch.undo()
    assert descriptors() == before


@pytest.mark.parametrize("make", [lambda p: p.touch(), lambda p: p.symlink_to("elsewhere")])
def test_what_is_no_folder_is_named(tmp_path, make):
    make(tmp_path / ".out.staging")
    (tmp_path / "elsewhere").mkdir()
    before = descriptors()
    with (
        pytest.raises(CannotCreateError, match=r"\.out\.staging: cannot be created"),
        staged(tmp_path / "out"),
    ):
        pass
    assert descriptors() == before


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "out") as folder:
        (folder / "half").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
