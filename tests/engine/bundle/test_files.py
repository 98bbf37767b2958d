import errno
import os
import shutil
from pathlib import Path

import pytest

import engine.bundle.files
from engine.bundle.files import file_names, read_file
from engine.bundle.names import check_names
from engine.errors import AccessError, BundleError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_bytes(b"abc")
    (tmp_path / "in" / "deep" / "b.txt").write_bytes(b"defg")
    return tmp_path / "in"


def test_all_files_are_named_and_read(folder):
    assert file_names(folder) == {"a.txt", "deep/b.txt"}
    assert read_file(folder, "a.txt", 3) == b"abc"
    assert read_file(folder, "deep/b.txt", 4) == b"defg"


def test_a_file_at_the_limit_is_read_and_one_above_is_not(folder):
    assert read_file(folder, "a.txt", 3)
    with pytest.raises(BundleError, match="a.txt: 3 bytes, at most 2 are read"):
        read_file(folder, "a.txt", 2)


@pytest.mark.parametrize("name", ["deep", "c.txt", "deep/c.txt", "a.txt/b", "c/d"])
def test_what_is_no_file_is_not_read(folder, name):
    with pytest.raises(BundleError, match=f"{name}: (not a regular|missing|cannot be read)"):
        read_file(folder, name, 10)


@pytest.mark.parametrize("name", ["link", "linked/b.txt"])
def test_links_are_not_followed(folder, name):
    (folder / "link").symlink_to("a.txt")
    (folder / "linked").symlink_to("deep")
    with pytest.raises(BundleError, match=f"{name}: cannot be read"):
        read_file(folder, name, 10)


def test_a_folder_that_is_named_by_a_link_is_read(folder):
    (folder.parent / "link").symlink_to(folder)
    assert read_file(folder.parent / "link", "a.txt", 3) == b"abc"
    assert file_names(folder.parent / "link") == {"a.txt", "deep/b.txt"}


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="pipe: not a regular file"):
        read_file(folder, "pipe", 10)


def test_a_device_is_not_read():
    with pytest.raises(BundleError, match="zero: not a regular file"):
        read_file(Path("/dev"), "zero", 10)


def test_a_file_that_grows_while_it_is_read_is_refused(folder, monkeypatch):
    fstat = os.fstat

    def before_it_grew(descriptor):
        found = list(fstat(descriptor))
        found[6] -= 1
        return os.stat_result(found)

    monkeypatch.setattr(engine.bundle.files.os, "fstat", before_it_grew)
    with pytest.raises(BundleError, match="a.txt: changed while it was read"):
        read_file(folder, "a.txt", 10)


@pytest.mark.parametrize(
    ("number", "kind", "code", "message"),
    [
        (errno.EACCES, AccessError, 77, "may not be read by this user"),
        (errno.EIO, BundleError, 78, "cannot be read: Input/output error"),
    ],
)
def test_a_failure_of_the_system_is_told(folder, monkeypatch, number, kind, code, message):
    def fail(path, flags, **where):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(engine.bundle.files.os, "open", fail)
    with pytest.raises(kind, match=f"a.txt: {message}") as caught:
        read_file(folder, "a.txt", 10)
    assert caught.value.exit_code == code


def test_no_descriptor_stays_open(folder):
    before = sum(1 for _ in Path("/dev/fd").iterdir())
    for name in ("a.txt", "deep/b.txt", "none", "deep/none", "none/none", "deep"):
        try:
            read_file(folder, name, 10)
        except BundleError:
            continue
    assert sum(1 for _ in Path("/dev/fd").iterdir()) == before


def test_a_folder_of_too_many_files_is_no_bundle(folder, monkeypatch):
    monkeypatch.setattr(engine.bundle.files, "FILES_LIMIT", 2)
    (folder / "c.txt").touch()
    with pytest.raises(BundleError, match="more than 2 files: not a bundle"):
        file_names(folder)


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "../a", "a/..", "a//b", "./a", "a/", "-a", ".a", "a\0", "a b", "ä", "a\n"],
)
def test_names_that_are_not_plain_are_refused(folder, name):
    with pytest.raises(BundleError, match="only plain files within it"):
        check_names(folder, ["fine.txt", name])


def test_nothing_is_left_of_a_bundle_that_goes_away(folder):
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match="missing from the bundle"):
        file_names(folder)
