"""scorer.onnx in other languages: each example in `examples` checks the committed bundle by itself."""

import json
import re
import shutil

import polars as pl
import pytest

from benchmarks.runtimes import DRAWS, RUNTIMES, SHOWN, Finding, MissingError, finding, run, table
from engine.activate.arms import arm_column
from engine.bundle.open import CONFORMANCE, open_bundle
from engine.bundle.playbook import CONTROL_SALT, salted_draws
from engine.model.conformance import TOLERANCES
from tests.helpers import BUNDLE, ROOT

POM = "http://maven.apache.org/POM/4.0.0"
LANGUAGES = {runtime.name.split(",")[0]: runtime for runtime in RUNTIMES}


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module", params=LANGUAGES)
def runtime(request, bundle):
    """A runtime that is built; it skips where this machine or the bundle lacks what it needs."""
    try:
        LANGUAGES[request.param].prepare(bundle.path)
    except MissingError as missing:
        pytest.skip(str(missing))
    return LANGUAGES[request.param]


def test_every_conformance_row_is_reproduced(runtime, bundle):
    said = runtime.run(bundle.path)
    assert said.returncode == 0, said.stderr
    assert f"{bundle.manifest.bundle_id}: 896 conformance rows" in said.stdout
    found = finding(said.stdout)
    assert found.worst.keys() == TOLERANCES.keys()
    assert all(found.worst[name] <= allowed for name, allowed in TOLERANCES.items())
    assert (found.same_drivers, found.same_segments, found.same_draws) == (True, True, True)


def test_a_row_that_is_not_reproduced_fails(runtime, bundle, tmp_path):
    copied = shutil.copytree(bundle.path, tmp_path / "bundle")
    document = json.loads((copied / CONFORMANCE).read_text())
    document["outputs"]["probability"][17][0] += 2e-6
    document["outputs"]["segment"][3] += 1
    document["outputs"]["distances"][3].reverse()
    (copied / CONFORMANCE).write_text(json.dumps(document))
    said = runtime.run(copied)
    assert said.returncode == 1
    wrong = re.findall(r"^(\w+) .*: WRONG$", said.stdout, re.MULTILINE)
    assert set(wrong) == {"probability", "segment", "distances"}


@pytest.mark.parametrize(
    "runtime",
    # The others read the draws beside them.
    [name for name, each in LANGUAGES.items() if "{draws}" in each.check],
    indirect=True,
)
def test_a_hash_that_is_another_fails(runtime, bundle, tmp_path, monkeypatch):
    draws = json.loads(DRAWS.read_text())
    (tmp_path / "draws.json").write_text(json.dumps({**draws, "control-v1:other": 0}))
    monkeypatch.setattr("benchmarks.runtimes.DRAWS", tmp_path / "draws.json")
    said = runtime.run(bundle.path)
    assert said.returncode == 1
    assert said.stdout.endswith("draws of control group and arms: WRONG\n")


def test_the_expected_draws_are_those_of_the_engine():
    draws = json.loads(DRAWS.read_text())
    assert sum(text.startswith(CONTROL_SALT) for text in draws) == 6
    assert salted_draws(pl.Series(list(draws)), "").tolist() == list(draws.values())
    ids = [text.removeprefix("arm-v1:spring:") for text in draws if text.startswith("arm-v1:")]
    arms = arm_column(pl.Series(ids), "spring", {"offer": 0.5, "reminder": 0.5})
    expected = ["offer" if draws[f"arm-v1:spring:{id}"] < 2**31 else "reminder" for id in ids]
    assert arms.to_list() == expected


def test_the_table_names_what_differs():
    worst = dict.fromkeys(SHOWN, 1.25e-7)
    found = Finding("1.2.3", worst, same_drivers=True, same_segments=False, same_draws=True)
    *_, row, _, note = table([("Zig, `ort`", found)], 896).splitlines()
    assert row.startswith("| Zig, `ort` | 1.2.3 | 1e-07 |")
    assert row.endswith("| same | DIFFERENT | same |")
    assert "896 conformance rows" in note


def test_packages_are_pinned_and_no_file_names_a_registry():
    listed = run("git", "ls-files", "examples").stdout.splitlines()
    # The lock files of npm have a test of their own.
    texts = {p: (ROOT / p).read_text() for p in listed if not p.endswith("package-lock.json")}
    assert "examples/rust/Cargo.toml" in texts
    for path, text in texts.items():
        # The name of a format; nothing is fetched from it.
        assert set(re.findall(r"https?://[\w./-]+", text)) <= {POM}, path
    _, crates = texts["examples/rust/Cargo.toml"].split("[dependencies]\n")
    versions = crates.split("\n\n")[0].splitlines()
    assert all(re.search(r'^\w+ = .*"=\d', line) for line in versions)
