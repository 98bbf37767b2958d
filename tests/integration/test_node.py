"""scorer.onnx in Node, and the types of its inputs."""

import json
import re
import shutil

import pytest

from tests.integration.javascript import EXAMPLES, bundle_folder, install, needs_npm, run

CHECK = EXAMPLES / "node" / "check.mjs"
TYPES = EXAMPLES / "types.mjs"
OUTPUTS = (
    *("margin", "probability", "impacts", "driver_index", "driver_impact"),
    *("segment", "distances"),
)
COMPILER = {
    "strict": True,
    "noImplicitAny": False,  # plain JavaScript is read too
    "noEmit": True,
    "allowJs": True,
    "checkJs": True,
    "allowImportingTsExtensions": True,
    "module": "nodenext",
    "target": "es2022",
    "types": [],
}

pytestmark = needs_npm


@pytest.fixture(scope="module", autouse=True)
def packages():
    install(EXAMPLES / "node")


@pytest.fixture
def copied(tmp_path):
    """The committed bundle, to be spoiled."""
    return shutil.copytree(bundle_folder(), tmp_path / "bundle")


def respoken(bundle, output, change):
    """Change one expected output of the first conformance row."""
    path = bundle / "conformance" / "conformance.json"
    document = json.loads(path.read_text())
    document["outputs"][output][0] = change(document["outputs"][output][0])
    path.write_text(json.dumps(document))


def test_every_conformance_row_is_reproduced():
    said = run("node", CHECK, bundle_folder())
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:-3]] == list(OUTPUTS)
    assert all(line.endswith(": ok") for line in (*lines[2:-3], lines[-1]))
    assert lines[-3:-1] == ["rows with different drivers: 0", "rows with different segments: 0"]


@pytest.mark.parametrize(
    ("output", "change"),
    [
        ("probability", lambda row: [row[0] + 2e-6]),
        ("impacts", lambda row: [row[0] + 2e-5, *row[1:]]),
        ("distances", lambda row: row[:-1]),
        ("driver_impact", lambda row: [row[0] + 1, *row[1:]]),
    ],
)
def test_an_output_beyond_its_tolerance_is_told_by_name(copied, output, change):
    respoken(copied, output, change)
    said = run("node", CHECK, copied)
    assert said.returncode == 1
    assert re.search(rf"^{output} .*: WRONG$", said.stdout, re.MULTILINE)
    assert re.search(r"^margin .*: ok$", said.stdout, re.MULTILINE)


def test_other_drivers_and_segments_are_told(copied):
    respoken(copied, "driver_impact", lambda row: [row[0] * 2, *row[1:]])
    respoken(copied, "distances", lambda row: [0.0 if far == max(row) else 9.0 for far in row])
    wrong = set(re.findall(r"^(\w+) .*: WRONG$", run("node", CHECK, copied).stdout, re.MULTILINE))
    assert {"driver_index", "segment"} <= wrong


@pytest.mark.parametrize("script", [CHECK, TYPES])
def test_a_call_without_a_bundle_is_told_how(script):
    said = run("node", script)
    assert said.returncode == 2
    assert said.stderr.startswith(f"usage: node {script.name} BUNDLE")


def test_the_types_are_those_of_the_committed_bundle():
    assert run("node", TYPES, bundle_folder()).stdout == (EXAMPLES / "shopnow.d.ts").read_text()


def test_the_compiler_takes_what_the_types_allow_and_nothing_else(tmp_path):
    (tmp_path / "use.ts").write_text(
        f"""
        import type {{ User }} from '{EXAMPLES}/shopnow.d.ts';
        declare const user: User;
        export const known: User = {{ ...user, country: 'DE', avg_session_duration: null }};
        // @ts-expect-error: a feature that is never missing
        export const missing: User = {{ ...user, sessions_last_7d: null }};
        // @ts-expect-error: a country that the model does not know
        export const unseen: User = {{ ...user, country: 'XX' }};
        // @ts-expect-error: a text for a number
        export const text: User = {{ ...user, bounce_rate: '0.5' }};
        """
    )
    packages = EXAMPLES / "node" / "node_modules"
    common = packages / "onnxruntime-common" / "dist" / "esm" / "index.d.ts"
    options = COMPILER | {"paths": {"onnxruntime-common": [str(common)]}}
    files = [str(tmp_path / "use.ts"), str(EXAMPLES / "scorer.mjs")]
    project = tmp_path / "tsconfig.json"
    project.write_text(json.dumps({"compilerOptions": options, "files": files}))
    said = run("node", packages / "typescript" / "bin" / "tsc", "--project", project)
    assert (said.stdout, said.returncode) == ("", 0)


@pytest.mark.parametrize("example", ["node", "browser"])
def test_lock_files_name_hashes_and_no_addresses(example):
    packages = json.loads((EXAMPLES / example / "package-lock.json").read_text())["packages"]
    fetched = [package for path, package in packages.items() if path]
    assert fetched
    assert all("integrity" in p and "resolved" not in p for p in fetched)


@pytest.mark.parametrize("script", [CHECK, TYPES])
def test_a_folder_of_bundles_is_followed_and_another_is_refused_in_words(script, tmp_path):
    assert (
        run("node", script, bundle_folder().parent).stdout
        == run("node", script, bundle_folder()).stdout
    )
    for folder in ([], [tmp_path]):
        said = run("node", script, *folder)
        assert (said.returncode, said.stdout) == (2, "")
        assert re.fullmatch(r"(usage: node \w+\.mjs BUNDLE|.*: no manifest\.json).*\n", said.stderr)
