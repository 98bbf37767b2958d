import dataclasses

import pytest

from engine.bundle import CURRENT, MANIFEST, open_bundle, write_bundle
from engine.errors import BundleError, CannotCreateError
from engine.pipeline import load_bundle
from tests.fitting import SHOP, shop_users
from tests.helpers import write_table
from training.pipeline import FitOptions, fit
from training.promotion import RefusedError, promote


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candidate")
    users = write_table(shop_users(1_500, 1), folder / "users.parquet")
    fit([str(users)], FitOptions(SHOP), folder / "bundle")
    return folder / "bundle"


def test_a_promoted_bundle_is_in_force(candidate, tmp_path):
    root = tmp_path / "models" / "tiny"
    place = promote(candidate, root)
    manifest = load_bundle(root).manifest
    assert place == root / manifest.bundle_id.split("/")[1]
    assert manifest == open_bundle(candidate).manifest
    assert sorted(p.name for p in root.iterdir()) == [CURRENT, place.name]


def test_a_promoted_bundle_has_the_bytes_of_the_candidate(candidate, tmp_path):
    place = promote(candidate, tmp_path)
    names = {p.relative_to(candidate) for p in candidate.rglob("*") if p.is_file()}
    assert names == {p.relative_to(place) for p in place.rglob("*") if p.is_file()}
    assert all((place / name).read_bytes() == (candidate / name).read_bytes() for name in names)


def test_a_bundle_in_force_is_not_replaced(candidate, tmp_path):
    promote(candidate, tmp_path)
    before = (tmp_path / CURRENT).read_bytes()
    with pytest.raises(RefusedError, match="not built yet") as caught:
        promote(candidate, tmp_path)
    assert caught.value.exit_code == 79
    assert (tmp_path / CURRENT).read_bytes() == before


def test_an_interrupted_promotion_can_be_repeated(candidate, tmp_path):
    promote(candidate, tmp_path)
    (tmp_path / CURRENT).unlink()
    promote(candidate, tmp_path)
    assert load_bundle(tmp_path)


def test_another_bundle_of_the_same_version_is_kept(candidate, tmp_path):
    place = promote(candidate, tmp_path)
    (tmp_path / CURRENT).unlink()
    (place / MANIFEST).write_bytes(b"{}")
    with pytest.raises(CannotCreateError, match="another bundle of the same version"):
        promote(candidate, tmp_path)
    assert (place / MANIFEST).read_bytes() == b"{}"


def test_an_unusable_candidate_is_refused(candidate, tmp_path):
    bundle = open_bundle(candidate)
    marked = dataclasses.replace(bundle.manifest, unusable=("no signal",))
    write_bundle(tmp_path / "marked", marked, bundle.contents)
    with pytest.raises(RefusedError, match="must not be used: no signal"):
        promote(tmp_path / "marked", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_an_altered_candidate_is_refused(candidate, tmp_path):
    bundle = open_bundle(candidate)
    write_bundle(tmp_path / "copy", bundle.manifest, bundle.contents)
    (tmp_path / "copy" / "scorer.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="altered"):
        promote(tmp_path / "copy", tmp_path / "root")
