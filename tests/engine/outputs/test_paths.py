import shutil

import pytest

from engine.bundle.open import CURRENT, MANIFEST_HASH, holds_bundles, is_bundle
from engine.errors import CannotCreateError, UsageError
from engine.outputs.paths import (
    check_apart,
    check_creatable,
    check_links,
    check_outside_bundles,
)

CURRENT_LINE = f"v1 {64 * '0'}\n"


@pytest.fixture
def folder(tmp_path):
    """A folder of bundles with one that is damaged, as far as its marks go."""
    (tmp_path / "models" / "v1" / "native").mkdir(parents=True)
    (tmp_path / "models" / CURRENT).write_text(CURRENT_LINE)
    (tmp_path / "models" / "v1" / MANIFEST_HASH).write_text("damaged")
    return tmp_path


@pytest.mark.parametrize(
    "place", ["v1/s.csv", "v1/native/s.csv", "v1/new/s.csv", "s.csv", "new/s.csv"]
)
def test_no_file_goes_into_a_bundle_or_beside_it(folder, place):
    with pytest.raises(UsageError, match="models.*, a bundle or a folder of bundles"):
        check_outside_bundles(folder / "models" / place)


def test_no_file_goes_into_a_bundle_by_a_link(folder):
    (folder / "link").symlink_to(folder / "models" / "v1")
    with pytest.raises(UsageError, match=r"link/s.csv: lies in"):
        check_outside_bundles(folder / "link" / "s.csv")


def test_a_bundle_may_stand_among_others_but_in_none(folder):
    check_outside_bundles(folder / "models" / "v2", is_bundle_itself=True)
    with pytest.raises(UsageError, match="v1, a bundle or"):
        check_outside_bundles(folder / "models" / "v1" / "v2", is_bundle_itself=True)


def test_what_others_call_so_is_no_folder_of_bundles(tmp_path):
    (tmp_path / "directory" / CURRENT).mkdir(parents=True)
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / CURRENT).write_text("MANIFEST-000005\n")
    for name in ("directory", "database", "absent", "x" * 300):
        assert not holds_bundles(tmp_path / name)
        assert not is_bundle(tmp_path / name)
        check_outside_bundles(tmp_path / name / "s.csv")


@pytest.mark.parametrize("name", ["s.csv", "s.json", "quarantine.parquet"])
@pytest.mark.parametrize("inside", ["users", "users/date=2026-01-04"])
def test_no_output_becomes_an_input_of_the_next_run(tmp_path, inside, name):
    with pytest.raises(UsageError, match="lies in a directory that is an input"):
        check_apart([tmp_path / inside / name], [str(tmp_path / "users")], [])


@pytest.mark.parametrize("name", ["_s.csv", ".s.csv", "s.csv.lock", "s.csv.summary.json"])
def test_what_the_next_run_passes_over_may_lie_there(tmp_path, name):
    check_apart([tmp_path / "users" / name], [str(tmp_path / "users")], [])


def test_no_output_takes_the_place_of_an_input(tmp_path):
    (tmp_path / "users.csv").touch()
    (tmp_path / "link.csv").symlink_to("users.csv")
    with pytest.raises(UsageError, match=r"link.csv: is an input and an output"):
        check_apart([tmp_path / "link.csv"], [], [tmp_path / "users.csv"])


def test_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    for check in (check_links, check_creatable):
        for place in (tmp_path / "a", tmp_path / "b" / "s.csv"):
            with pytest.raises(CannotCreateError, match="leads back to itself"):
                check(place)
        check(tmp_path / "dangling")
    with pytest.raises(CannotCreateError, match="File name too long"):
        check_creatable(tmp_path / ("x" * 300))
    shutil.rmtree(tmp_path)
