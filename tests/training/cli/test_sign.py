"""From `training sign` through promotion to a night that requires the signature."""

import json

import pytest

from engine.bundle.signature import signature_path
from tests.bundles import replace_file
from tests.signing import copied_bundle, sign, write_keys


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "owner")


@pytest.fixture
def candidate(tmp_path):
    return copied_bundle(tmp_path / "candidate")


@pytest.fixture
def night(tmp_path, users_file, command):
    """Runs the night; gives its exit code and what it says, with scores of yesterday in place."""
    scores = tmp_path / "scores.csv"

    def run(bundle, *options):
        scores.write_text("yesterday")
        replace = ("--out", scores, "--if-exists", "replace", "--bundle", bundle)
        done = command("engine", "score", users_file, *replace, *options)
        assert (scores.read_text() == "yesterday") == (done.returncode != 0)
        return done.returncode, done.stderr

    return run


def test_signed_it_is_scored_with_and_altered_or_signed_by_another_it_is_not(
    candidate, keys, night, command, tmp_path
):
    done = command("training", "sign", candidate, "--key", keys[0])
    assert (done.returncode, done.stdout) == (0, "")
    assert f"in {candidate}.sig" in done.stderr
    required = ("--require-signature", "--key", keys[1])
    assert night(candidate, *required)[0] == 0
    summary = json.loads((tmp_path / "scores.csv.summary.json").read_text())
    verified = command("engine", "verify", candidate, "--key", keys[1])
    assert verified.returncode == 0
    assert summary["signed_by"] in verified.stdout

    replace_file(candidate, "MODEL_CARD.md", b"# A much better model\n")
    assert night(candidate)[0] == 0
    code, words = night(candidate, *required)
    assert (code, words.count("\n")) == (78, 1)
    assert "differ from what was signed. Copy bundle and signature again" in words

    sign(candidate, write_keys(tmp_path, "other")[0])
    code, words = night(candidate, *required)
    assert (code, words.count("\n")) == (78, 1)
    assert "signed by another key, or altered since. Do not use this bundle" in words
    assert command("engine", "verify", candidate, "--key", keys[1]).returncode == 78

    signature_path(candidate).unlink()
    code, words = night(candidate, *required)
    assert (code, words.count("\n")) == (78, 1)
    assert "the bundle is not signed" in words


def test_a_key_that_is_lost_on_the_way_does_not_switch_the_check_off(candidate, keys, night):
    assert night(candidate, "--require-signature")[0] == 2
    assert night(candidate, "--key", keys[1])[0] == 2


def test_the_environment_requires_a_signature_too(candidate, keys, night, monkeypatch):
    monkeypatch.setenv("ENGINE_SCORE_REQUIRE_SIGNATURE", "1")
    assert night(candidate)[0] == 2
    monkeypatch.setenv("ENGINE_SCORE_KEY", str(keys[1]))
    assert night(candidate)[0] == 78
    sign(candidate, keys[0])
    assert night(candidate)[0] == 0


def test_a_signature_goes_with_the_bundle_that_is_promoted(candidate, keys, command, tmp_path):
    signature = sign(candidate, keys[0])
    root = tmp_path / "models"
    assert command("training", "promote", candidate, "--to", root).returncode == 0
    assert command("engine", "verify", root, "--key", keys[1]).returncode == 0
    (copied,) = root.glob("*.sig")
    assert copied.read_bytes() == signature.read_bytes()
    # A version that stands there is signed in place.
    other = write_keys(tmp_path, "other")
    assert command("training", "sign", root, "--key", other[0]).returncode == 0
    assert command("engine", "verify", root, "--key", other[1]).returncode == 0


def test_a_signature_of_another_bundle_is_not_promoted(candidate, keys, command, tmp_path):
    sign(candidate, keys[0])
    replace_file(candidate, "MODEL_CARD.md", b"# A much better model\n")
    root = tmp_path / "models"
    done = command("training", "promote", candidate, "--to", root)
    assert (done.returncode, root.exists()) == (78, False)
    assert "candidate.sig: signed for other files" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("--key", "absent.pem"), 78), (("--key", "users.parquet"), 78)],
)
def test_a_key_that_cannot_sign_leaves_no_signature(
    candidate, users_file, command, arguments, code
):
    assert command("training", "sign", candidate, *arguments).returncode == code
    assert not signature_path(candidate).exists()
