import dataclasses
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import CURRENT, MANIFEST, open_bundle, write_bundle, write_current
from engine.errors import (
    BundleError,
    CannotCreateError,
    InputError,
    LockedError,
    UsageError,
)
from engine.scorer import load_bundle
from tests.bundles import changed_record
from tests.fitted import challenger, champion
from tests.helpers import write_table
from tests.weekly import users_of
from training.promote.promotion import RefusedError, promote, rollback
from training.promote.versions import HISTORY, RECORD


@pytest.fixture(scope="module")
def weeks(tmp_path_factory):
    """Bundles of two weeks, the second continuing the first, and users later than both."""
    later = write_table(users_of(3, 6_000), tmp_path_factory.mktemp("weeks") / "later.parquet")
    return champion().bundle, challenger().bundle, [str(later)]


def version(folder):
    return open_bundle(folder).manifest.bundle_id.split("/")[1]


def files(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def marked(bundle, folder, **changes):
    """A copy of a bundle that says something else of itself."""
    opened = open_bundle(bundle)
    write_bundle(folder, dataclasses.replace(opened.manifest, **changes), opened.contents)
    return folder


def test_a_first_bundle_becomes_the_current_one_by_what_its_fit_measured(weeks, tmp_path):
    one, _, _ = weeks
    root = tmp_path / "models" / "tiny"
    done = promote(one, root)
    assert done.folder == root / version(one)
    assert [gate["name"] for gate in done.report["gates"]] == ["gain", "parity"]
    assert (done.report["accepted"], done.report["champion"]) == (True, None)
    assert done.report["data"]["what"].startswith("the test part")
    assert load_bundle(root).manifest == open_bundle(one).manifest
    record = f"{version(one)}{RECORD}"
    assert {p.name for p in root.iterdir()} == {CURRENT, done.folder.name, record}


def test_a_first_bundle_is_measured_where_there_are_users(weeks, tmp_path):
    one, _, later = weeks
    report = promote(one, tmp_path, later).report
    assert (report["champion"], report["accepted"]) == (None, True)
    names = ["quality", "rows_left_out", "gain", "parity", "conformance"]
    assert [gate["name"] for gate in report["gates"]] == names


def test_a_better_bundle_follows_the_current_one(weeks, followed):
    one, two, _ = weeks
    root, done = followed
    assert load_bundle(root).manifest == open_bundle(two).manifest
    assert done.report["champion"] == open_bundle(one).manifest.bundle_id
    assert done.report["accepted"]
    assert (root / HISTORY).read_text() == f"{version(two)} {version(one)}\n"
    assert files(done.folder) == files(two)


def test_a_refused_candidate_changes_nothing(weeks, tmp_path):
    one, two, later = weeks
    promote(one, tmp_path / "root")
    before = files(tmp_path / "root")
    opened = open_bundle(two)
    parity = {**read_evaluation(opened).fit.parity, "changed_segment": 3, "changed_band": 1}
    wrong = tmp_path / "wrong"
    write_bundle(wrong, opened.manifest, changed_record(opened, parity=parity))
    with pytest.raises(
        RefusedError, match="refused at 1 gate of 17: parity: band: 1 user"
    ) as caught:
        promote(wrong, tmp_path / "root", later)
    assert caught.value.exit_code == 79
    assert "segment: 3 users changed" in str(caught.value)
    assert str(caught.value).endswith("Fit again with the package versions of the lock file.")
    assert [
        gate["name"] for gate in caught.value.report["gates"] if gate["verdict"] == "refused"
    ] == ["parity"]
    assert files(tmp_path / "root") == before


def test_users_to_compare_on_are_asked_for(weeks, tmp_path):
    one, two, _ = weeks
    promote(one, tmp_path)
    with pytest.raises(UsageError, match="is the current bundle. To compare .* --data"):
        promote(two, tmp_path)


def test_users_who_are_not_later_change_nothing(weeks, tmp_path):
    one, two, _ = weeks
    promote(one, tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match="the users that tiny/2026-01-11-.* was fitted to"):
        promote(two, tmp_path, [str(two.parent / "users.parquet")])
    assert files(tmp_path) == before


def test_what_is_the_current_bundle_already_stays_so(weeks, tmp_path):
    one, _, _ = weeks
    promote(one, tmp_path)
    before = files(tmp_path)
    assert promote(one, tmp_path).report == {}
    assert files(tmp_path) == before


def test_an_interrupted_promotion_can_be_repeated(weeks, root):
    one, two, later = weeks
    # Cut short just before the switch, everything else is there.
    write_current(root, version(one))
    promote(two, root, later)
    assert load_bundle(root).manifest == open_bundle(two).manifest
    assert rollback(root).name == version(one)


def test_another_bundle_of_the_same_version_is_kept(weeks, tmp_path):
    one, _, _ = weeks
    place = promote(one, tmp_path).folder
    (tmp_path / CURRENT).unlink()
    (place / MANIFEST).write_bytes(b"{}")
    with pytest.raises(CannotCreateError, match="another bundle of the same version"):
        promote(one, tmp_path)
    assert (place / MANIFEST).read_bytes() == b"{}"


def test_an_unusable_candidate_is_refused(weeks, tmp_path):
    one, _, _ = weeks
    wrong = marked(one, tmp_path / "marked", unusable=("no signal",))
    with pytest.raises(RefusedError, match="must not be used: no signal"):
        promote(wrong, tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.symlink_to("nowhere"), "cannot be read: Too many levels of symbolic"),
        (lambda path: path.symlink_to(CURRENT), "cannot be read: Too many levels of symbolic"),
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.write_bytes(b""), "expected '<version> <SHA-256>'"),
    ],
)
@pytest.mark.parametrize("call", [promote, lambda _, root: rollback(root)])
def test_a_spoilt_current_is_no_absent_one(weeks, tmp_path, change, words, call):
    one, two, _ = weeks
    promote(one, tmp_path)
    (tmp_path / CURRENT).unlink()
    change(tmp_path / CURRENT)
    names = {path.name for path in tmp_path.iterdir()}
    if call is not promote and words.startswith("expected"):
        words = "names no current bundle"
    with pytest.raises(BundleError, match=f"{CURRENT}: {words}"):
        call(two, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{one}", "is a bundle"),
        ("{one}/native", "a bundle or a folder of bundles"),
        ("{one}/new/folder", "a bundle or a folder of bundles"),
        ("{root}/{version}", "is a bundle"),
        ("{root}/link", "is a bundle"),
    ],
)
def test_a_bundle_is_no_folder_of_bundles(weeks, tmp_path, place, words):
    one, _, _ = weeks
    copy = shutil.copytree(one, tmp_path / "one")
    root = promote(one, tmp_path / "root").folder.parent
    (root / "link").symlink_to(copy)
    before = files(tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        promote(copy, Path(place.format(one=copy, root=root, version=version(one))))
    assert caught.value.exit_code == 2
    assert files(tmp_path) == before


def test_a_manifest_of_something_else_is_no_bundle(weeks, tmp_path):
    one, _, _ = weeks
    (tmp_path / MANIFEST).write_text('{"name": "a web page"}')
    assert promote(one, tmp_path / "models").folder.parent == tmp_path / "models"


def test_an_altered_candidate_is_refused(weeks, tmp_path):
    one, _, _ = weeks
    altered = marked(one, tmp_path / "copy")
    (altered / "scorer.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="altered"):
        promote(altered, tmp_path / "root")


@pytest.mark.parametrize("change", [promote, lambda _, root: rollback(root)])
def test_two_changes_at_once_are_refused(weeks, tmp_path, change):
    _, two, _ = weeks
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            change(two, tmp_path)
    finally:
        os.close(descriptor)


def test_a_candidate_does_not_follow_a_bundle_that_it_was_not_measured_beside(
    weeks, tmp_path, monkeypatch
):
    one, two, later = weeks
    promote(one, tmp_path / "root")
    other = marked(one, tmp_path / "other", threshold=0.5)

    def judged(contest, accepted_gain):
        shutil.rmtree(tmp_path / "root")
        promote(other, tmp_path / "root")
        return []

    monkeypatch.setattr("training.promote.promotion.run_gates", judged)
    with pytest.raises(RefusedError, match="another bundle has become the current one meanwhile"):
        promote(two, tmp_path / "root", later)
    assert load_bundle(tmp_path / "root").manifest.threshold == 0.5


@pytest.fixture(scope="module")
def followed(weeks, tmp_path_factory):
    """A folder where the second bundle followed the first, and what was measured."""
    one, two, later = weeks
    folder = tmp_path_factory.mktemp("followed") / "root"
    promote(one, folder)
    return folder, promote(two, folder, later)


@pytest.fixture
def root(followed, tmp_path):
    return shutil.copytree(followed[0], tmp_path / "root")


def test_a_rollback_leads_to_what_was_before(root, weeks):
    one, _, _ = weeks
    assert rollback(root) == root / version(one)
    assert load_bundle(root).manifest == open_bundle(one).manifest
    with pytest.raises(BundleError, match="knows of no version before") as caught:
        rollback(root)
    assert caught.value.exit_code == 78


def test_a_rollback_leads_to_a_version_that_is_named(root, weeks):
    one, two, _ = weeks
    rollback(root, version(one))
    assert rollback(root, version(two)) == root / version(two)
    assert load_bundle(root).manifest == open_bundle(two).manifest


def test_a_rollback_leaves_a_damaged_bundle(root, weeks):
    one, two, _ = weeks
    (root / version(two) / MANIFEST).write_bytes(b"")
    rollback(root)
    assert load_bundle(root).manifest == open_bundle(one).manifest


def test_a_rollback_to_a_damaged_bundle_is_refused(root, weeks):
    one, two, _ = weeks
    (root / version(one) / "scorer.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="altered"):
        rollback(root)
    assert load_bundle(root).manifest == open_bundle(two).manifest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "no such bundle"),
        ("../root", "is no version"),
        (".", "is no version"),
        ("", "is no version"),
    ],
)
def test_a_rollback_to_what_is_no_version_is_refused(root, name, words):
    before = files(root)
    with pytest.raises(BundleError, match=words):
        rollback(root, name)
    assert files(root) == before


@pytest.mark.parametrize("change", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_rollback_does_not_wait_for_a_history_that_is_no_file(root, change):
    (root / HISTORY).unlink()
    change(root / HISTORY)
    with pytest.raises(BundleError, match=f"{HISTORY}: .*Name a version with --version"):
        rollback(root)


def test_a_rollback_needs_a_folder_of_bundles(tmp_path):
    with pytest.raises(BundleError, match="no such folder of bundles"):
        rollback(tmp_path / "absent")
    with pytest.raises(BundleError, match="names no current bundle"):
        rollback(tmp_path)
