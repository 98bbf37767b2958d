"""Disks, directories and names that fail a run: faults.md, part F."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine import ScoreOptions, score
from engine.bundle.open import MANIFEST_HASH, open_bundle
from engine.errors import CannotCreateError, UsageError
from tests.faults.nights import (
    LOCK,
    OUTPUTS,
    check_all_or_nothing,
    check_next_run,
    check_refused,
    check_words,
    engine,
    faulty_engine,
    score_again,
    some_of,
    unprivileged_engine,
)
from tests.helpers import BUNDLE, read_summary

CASES = {
    "F01": "full disk under the scores: 74, at every size of a tmpfs until the run succeeds",
    "F02": "full disk under quarantine, summary or metrics: 74",
    "F03": "EIO and ENOSPC at every step that changes a file: 74 or 73, until the run succeeds",
    "F04": "a rename across file systems: 73; staging is always beside the output",
    "F05": "the output directory is missing: 73",
    "F06": "the output exists: 73, unless --if-exists says otherwise",
    "F07": "the output is a directory: 73; the output is an input or lies in an input directory: 2",
    "F08": "a read-only file system: 73; no usable temporary folder: works",
    "F09": "a directory without write permission: 77",
    "F10": "a file size limit (RLIMIT_FSIZE): 74, at every size until the run succeeds",
    "F11": "staging of a killed run is removed; staging of other outputs is kept",
    "F12": "names that are too long or not UTF-8: 73, for inputs 66",
    "F13": "cannot arise where the lock works; on NFS with nolock the scheduler must keep runs apart (operations.md)",
    "F14": "a clock that jumps back: no effect",
    "F15": "cannot arise: scores go to a path, and the same input gives the same bytes, so an upload can be repeated",
    "F16": "cannot arise: one file is renamed into place, and no listing is read",
    "F17": "outputs whose names differ only in case: 2",
    "F18": "permissions of new files: owner only, or less if the umask says so",
}
STEPS = 60
LONG = "x" * 300
NOT_UTF8 = os.fsdecode(b"a\xff")


@pytest.fixture
def mounted(tmp_path):
    """Mount file systems on a folder; skips where this is not allowed."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options):
        subprocess.run(["umount", folder], capture_output=True)
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        ).returncode:
            pytest.skip("mounting a small file system is not allowed here")
        return folder

    if not shutil.which("mount") or sys.platform == "darwin":
        pytest.skip("no tmpfs here")
    yield mount
    subprocess.run(["umount", folder], capture_output=True)


@pytest.fixture
def bundle_copy(night):
    return Path(shutil.copytree(open_bundle(BUNDLE).path, night.folder / "bundle"))


def refused(night, code, *more, **process):
    done = engine(night, *more, **process)
    check_refused(night, done, code)
    assert done.stderr.count("\n") == 1
    return done.stderr


PAGE = 4_096
"""Bytes in which a tmpfs counts."""


@pytest.mark.parametrize("pages", [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48])
def test_f01_full_disk_under_all_files(night, mounted, pages, record_property):
    taken = sum(-(-path.stat().st_size // PAGE) for path in night.folder.iterdir())
    disk = mounted(f"size={(taken + pages) * PAGE}")
    for path in night.folder.iterdir():
        shutil.copy2(path, disk)
    here = type(night)(disk, night.before, night.undisturbed)
    done = engine(here)
    record_property("disks too small", int(done.returncode == 74))
    assert done.returncode in (0, 74)
    check_all_or_nothing(here, done)
    assert not list(disk.glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    check_next_run(here)


@pytest.mark.parametrize("option", ["--quarantine", "--summary", "--metrics-file"])
def test_f02_full_disk_under_one_file(night, mounted, option):
    disk = mounted("size=4k")
    (disk / "full").write_bytes(b"x" * 4_096)
    done = engine(night, option, disk / "file.parquet")
    assert done.returncode == 74, done.stderr
    assert f"{disk}/file.parquet: could not be written" in done.stderr
    assert night.outputs() == night.before
    assert list(disk.iterdir()) == [disk / "full"]
    check_next_run(night)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("step", some_of(STEPS))
def test_f03_a_step_fails(night, step, number, record_property):
    done = faulty_engine(night, step + 1, number)
    record_property("failing calls", int(done.returncode != 0))
    check_all_or_nothing(night, done)
    check_next_run(night)


def test_f04_a_rename_across_file_systems(night, mounted):
    """A file that is itself a mount point, as in a container, is not replaced."""
    disk = mounted("size=1m")
    shutil.copy(night.out, disk / "scores.parquet")
    subprocess.run(["mount", "--bind", disk / "scores.parquet", night.out], check=True)
    try:
        done = engine(night)
        check_all_or_nothing(night, done)
    finally:
        subprocess.run(["umount", night.out], check=True)
    assert done.returncode == 73
    assert "scores.parquet: cannot be created: Device or resource busy" in done.stderr
    check_next_run(night)


def test_f05_a_missing_directory(night):
    done = engine(night, "--out", "absent/scores.parquet")
    assert done.returncode == 73
    assert "the directory absent does not exist. Create it first" in done.stderr
    assert not (night.folder / "absent").exists()


def test_f06_an_output_that_exists(night):
    message = refused(night, 73, "--if-exists", "fail")
    assert "exists already. Use --if-exists replace, or another --out" in message


@pytest.mark.parametrize(
    ("out", "kind", "message"),
    [
        ("folder.parquet", CannotCreateError, "is a directory. Name a file"),
        (".", CannotCreateError, "is a directory. Name a file"),
        ("users.parquet", UsageError, "is an input and an output"),
        ("folder.parquet/scores.parquet", UsageError, "lies in a directory that is an input"),
    ],
)
def test_f07_an_output_that_is_no_place_for_scores(night, monkeypatch, out, kind, message):
    (night.folder / "folder.parquet").mkdir()
    shutil.copy(night.folder / "users.parquet", night.folder / "folder.parquet")
    before = (night.folder / "users.parquet").read_bytes()
    monkeypatch.chdir(night.folder)
    inputs = ["folder.parquet"] if "/" in out else ["users.parquet"]
    with pytest.raises(kind, match=message):
        score(inputs, BUNDLE, out, ScoreOptions(if_exists="replace"))
    assert (night.folder / "users.parquet").read_bytes() == before
    assert night.outputs() == night.before


def test_f08_a_read_only_file_system(night, mounted):
    disk = mounted("size=1m")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = engine(night, "--out", disk / "scores.parquet")
    assert done.returncode == 73
    assert "cannot be created: Read-only file system" in done.stderr


def test_f08_no_place_for_temporary_files(night):
    done = engine(night, env={**os.environ, "TMPDIR": "/absent", "HOME": "/absent"})
    check_all_or_nothing(night, done)
    assert done.returncode == 0


@pytest.mark.parametrize("said", [{}, {"ORT_DISABLE_TELEMETRY": "0"}])
def test_nothing_is_written_home(night, tmp_path, said):
    """ONNX Runtime keeps an id of the machine there, for what it reports to its maker, unless told not to."""
    home = tmp_path / "home"
    home.mkdir()
    # Runs of tests are left alone by it.
    hidden = (
        "CI",
        "GITHUB_ACTIONS",
        "ORT_RUNNING_UNIT_TESTS",
        "ORT_DISABLE_TELEMETRY",
        "XDG_CACHE_HOME",
    )
    known = {name: value for name, value in os.environ.items() if name not in hidden}
    done = engine(night, env={**known, "HOME": str(home), **said})
    assert done.returncode == 0, done.stderr
    assert bool(list(home.iterdir())) == bool(said)


def test_f09_a_directory_that_may_not_be_written(night):
    night.folder.chmod(0o555)
    done = unprivileged_engine(night)
    night.folder.chmod(0o755)
    assert done.returncode == 77, done.stderr
    assert "scores.parquet: may not be written by this user" in done.stderr
    assert night.outputs() == night.before


@pytest.mark.parametrize("kilobytes", [0, 1, 2, 4, 8, 16, 32, 64])
def test_f10_a_limit_of_the_size_of_files(night, kilobytes, record_property):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024,) * 2)

    done = engine(night, preexec_fn=limit)
    record_property("file sizes too small", int(done.returncode == 74))
    assert done.returncode in (0, 74)
    check_words(done.stderr)
    assert night.outputs() in (night.before, night.undisturbed)
    if kilobytes > 0:
        check_all_or_nothing(night, done)
    check_next_run(night)


def test_f11_staging_of_others_stays(night):
    for name in ("scores.parquet", "scores.parquet2"):
        (night.folder / f".{name}.staging-1").mkdir()
    score_again(night)
    assert [path.name for path in night.folder.glob(".*")] == [".scores.parquet2.staging-1"]


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--out", f"{LONG}.parquet", "File name too long"),
        ("--out", f"{'x' * 245}.parquet", "File name too long"),
        ("--out", f"{'x' * 235}.parquet", "File name too long"),
        ("--out", f"{NOT_UTF8}.parquet", "is not UTF-8"),
        ("--out", f"{NOT_UTF8}/scores.parquet", "is not UTF-8"),
        ("--quarantine", f"{LONG}.parquet", "File name too long"),
        ("--summary", f"{NOT_UTF8}.json", "is not UTF-8"),
        ("--metrics-file", f"{LONG}.prom", "File name too long"),
    ],
)
def test_f12_names_that_no_file_can_have(night, option, name, message):
    done = engine(night, option, name)
    assert done.returncode == 73, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert night.outputs() == night.before


def test_f12_an_input_that_is_not_utf8(night):
    strange = night.folder / f"{NOT_UTF8}.parquet"
    (night.folder / "users.parquet").rename(strange)
    done = engine(night, strange.name)
    assert done.returncode == 66
    assert read_summary(night.out)["exit_code"] == 66


def test_f14_a_clock_that_jumps_back(night, monkeypatch):
    times = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr("time.time", lambda: next(times))
    score_again(night)
    assert night.outputs() == night.undisturbed
    assert 0 < read_summary(night.out)["seconds"] < 600


def test_f17_names_that_differ_only_in_case(night):
    with pytest.raises(UsageError, match="need different paths"):
        score_again(night, summary=night.folder / "Scores.Parquet")


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("option", ["out", "quarantine", "summary", "metrics_file"])
def test_f07_no_file_goes_into_the_bundle(night, bundle_copy, option, damaged):
    """It may have only the files that its manifest lists: the next run would refuse it."""
    places = {"out": night.folder / "new.parquet", option: bundle_copy / "new.parquet"}
    out = places.pop("out")
    if damaged:
        (bundle_copy / MANIFEST_HASH).unlink()
    before = sorted(bundle_copy.iterdir())
    with pytest.raises(UsageError, match=r"new.parquet: lies in .*, a bundle or"):
        score([str(night.folder / "users.parquet")], bundle_copy, out, ScoreOptions(**places))
    assert sorted(bundle_copy.iterdir()) == before


def test_f07_the_lock_is_no_place_for_a_file(night):
    with pytest.raises(UsageError, match="and lock need different paths"):
        score_again(night, summary=night.folder / LOCK)


def test_f07_a_pipe_in_the_place_of_the_lock(night):
    (night.folder / LOCK).unlink(missing_ok=True)
    os.mkfifo(night.folder / LOCK)
    with pytest.raises(CannotCreateError, match="lock: is a device or a pipe"):
        score_again(night)


@pytest.mark.parametrize("option", ["--summary", "--quarantine", "--metrics-file"])
def test_f07_a_pipe_in_the_place_of_a_file(night, option):
    pipe = night.folder / "pipe.parquet"
    os.mkfifo(pipe)
    done = engine(night, option, pipe, timeout=30)
    assert done.returncode == 73, done.stderr
    assert "pipe.parquet: is a device or a pipe" in done.stderr
    assert night.outputs() == night.before


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o600), (0o022, 0o600), (0o277, 0o400)])
def test_f18_files_are_for_their_owner(night, umask, mode):
    assert engine(night, "--metrics-file", "m.prom", umask=umask).returncode == 0
    for name in (*OUTPUTS, "scores.parquet.summary.json"):
        assert (night.folder / name).stat().st_mode & 0o777 == mode
    assert (night.folder / "m.prom").stat().st_mode & 0o777 == 0o644 & ~umask
