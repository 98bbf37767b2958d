"""What may be wrong with a bundle, by the numbers of the list of faults."""

import hashlib
import json
import os
import random
import shutil
import socket

import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine import load_bundle
from engine.bundle.files import FILE_LIMIT_BYTES
from engine.bundle.open import (
    CLASSIFIER,
    CORE,
    CURRENT,
    MANIFEST,
    MANIFEST_HASH,
    PLAYBOOK,
    PREPROCESS,
    REFERENCE,
    SCORER,
    SEGMENTER,
    open_bundle,
    write_bundle,
    write_current,
)
from engine.errors import BundleError, EngineError
from engine.model.verify import verify
from tests.bundles import change_graph, replace_file, rewrite_manifest
from tests.faults.mutations import corpus
from tests.helpers import BUNDLE

CASES = {
    "E01": "bundle folder missing: 78",
    "E02": "manifest missing, not JSON or with odd contents, other documents too: 78; another format: 76",
    "E03": "a listed file missing, or an unlisted file present: 78",
    "E04": "one bit flipped in any file: 78, before ONNX Runtime sees it",
    "E05": "a graph that is empty, truncated or not ONNX: 78",
    "E06": "a graph with a newer opset or IR: 76",
    "E07": "an operator of another domain, or one that the export does not use: 78",
    "E08": "external data, by reference or hard link: 78; functions and subgraphs: 78",
    "E09": "a file, bundle or tensor that is too large: 78, before it is read",
    "E10": "inputs or outputs whose names, types or sizes differ from the manifest: 78",
    "E11": "a bundle that is still being copied: 78",
    "E12": "files of two bundles mixed: 78",
    "E13": "a machine whose results differ: 70",
    "E14": "a bundle replaced during a run: the run uses the bytes that it checked",
    "E15": "cannot arise: bundles do not expire",
    "E16": "cannot arise: bundles are not signed",
    "E17": "the probability of the other class: 70",
    "E18": "a segment that is not in the manifest: 78",
    "E19": "a pickle in the bundle, listed or not: 78, never opened",
    "E20": "names that leave the folder or that CURRENT cannot hold, links, pipes, sockets: 78",
}


@pytest.fixture
def version(tmp_path):
    """A copy of the committed bundle, which opens."""
    shutil.copytree(open_bundle(BUNDLE).path, tmp_path / "bundle")
    return tmp_path / "bundle"


def first_constant(model, dtype):
    return next(c for c in model.graph.initializer if c.data_type == dtype)


def in_graph(change, name=CORE):
    return lambda folder: change_graph(folder, name, change)


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def sealed(name, content):
    return lambda folder: replace_file(folder, name, content)


def cut_off(name, share):
    def damage(folder):
        content = (folder / name).read_bytes()
        replace_file(folder, name, content[: int(share * len(content))])

    return damage


def opset(domain, version, name=CORE):
    def change(model):
        for imported in model.opset_import:
            if imported.domain == domain:
                imported.version = version

    return in_graph(change, name)


def import_domain(model):
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[0].domain = "com.example"


def use_loop(model):
    model.graph.node[0].op_type = "NonZero"


def external_data(model):
    constant = first_constant(model, TensorProto.FLOAT)
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="weights.bin")


def hard_link(folder):
    """The same inode under a name that the graph reads from."""
    os.link(folder / "native/classifier.txt", folder / "weights.bin")
    change_graph(folder, CORE, external_data)
    replace_file(folder, "weights.bin", (folder / "weights.bin").read_bytes())


def add_function(model):
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Abs", ["x"], ["y"])]
    model.functions.append(helper.make_function("f", "g", ["x"], ["y"], body, opsets))


def add_subgraph(model):
    graph = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", graph))


def absurd_dims(model):
    first_constant(model, TensorProto.FLOAT).dims[:] = [1 << 40, 1 << 40]


def more_axes(model):
    first_constant(model, TensorProto.FLOAT).dims[:] = [1] * 100


def grow(name):
    """A file that says it is larger than any that is read; it takes no room on the disk."""

    def damage(folder):
        os.truncate(folder / name, FILE_LIMIT_BYTES + 1)
        entries = open_bundle(BUNDLE).manifest.files
        files = {n: {"sha256": e.sha256, "size_bytes": e.size_bytes} for n, e in entries.items()}
        files[name]["size_bytes"] = FILE_LIMIT_BYTES + 1
        rewrite_manifest(folder, files=files)

    return damage


def rename_input(model):
    model.graph.input[0].name = "x"
    for node in model.graph.node:
        node.input[:] = ["x" if name == "features" else name for name in node.input]


def retype_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def fewer_segments(folder):
    rewrite_manifest(folder, segments=json.loads((folder / MANIFEST).read_text())["segments"][1:])


def rename_output(model):
    model.graph.node[-1].output[0] = model.graph.output[-1].name = "x"


def fixed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def rename_bundle(model):
    helper.set_model_props(model, {"bundle_id": "shopnow/2026-11-15-000000000000"})


def no_bundle_id(model):
    del model.metadata_props[:]


def negate(model):
    """Every table and the base value with the other sign: the probability of the other class."""
    for constant in model.graph.initializer:
        if any(word in constant.name for word in ("/main_", "/joint_", "/base_value_")):
            values = -numpy_helper.to_array(constant)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def unknown_segment(model):
    constant = next(c for c in model.graph.initializer if c.name == "/segmenter/ids")
    values = numpy_helper.to_array(constant) + 50
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def link(name, target):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder.parent / "elsewhere").write_bytes(content)
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return damage


def link_folder(folder):
    shutil.move(folder / "native", folder.parent / "native")
    (folder / "native").symlink_to(folder.parent / "native")


def pipe(folder):
    (folder / PLAYBOOK).unlink()
    os.mkfifo(folder / PLAYBOOK)


def unix_socket(folder):
    (folder / PLAYBOOK).unlink()
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(PLAYBOOK)


def listed_as(name):
    """The playbook's entry once more, under another name."""

    def damage(folder):
        entry = open_bundle(BUNDLE).manifest.files[PLAYBOOK]
        files = {name: {"sha256": entry.sha256, "size_bytes": entry.size_bytes}}
        for listed, other in open_bundle(BUNDLE).manifest.files.items():
            files[listed] = {"sha256": other.sha256, "size_bytes": other.size_bytes}
        rewrite_manifest(folder, files=files)

    return damage


def renamed_to(bundle_id):
    return lambda folder: rewrite_manifest(folder, bundle_id=bundle_id)


def nested(depth):
    return [nested(depth - 1)] if depth else []


def in_document(name, **changes):
    def damage(folder):
        document = json.loads((folder / name).read_text())
        replace_file(folder, name, json.dumps({**document, **changes}).encode())

    return damage


def twice(name):
    """The first key of a document once more, at its end."""

    def damage(folder):
        text = (folder / name).read_text()
        key, value = next(iter(json.loads(text).items()))
        changed = f"{text.rstrip()[:-1]}, {json.dumps(key)}: {json.dumps(value)}}}".encode()
        if name != MANIFEST:
            replace_file(folder, name, changed)
            return
        (folder / name).write_bytes(changed)
        digest = hashlib.sha256(changed).hexdigest()
        (folder / MANIFEST_HASH).write_text(f"{digest}  {MANIFEST}\n")

    return damage


def half_copied(folder):
    """As `cp -r` leaves it for a moment: some files, the last of them cut off."""
    (folder / SEGMENTER).unlink()
    content = (folder / SCORER).read_bytes()
    (folder / SCORER).write_bytes(content[:1_000])


FAULTS = [
    ("E01", shutil.rmtree, 78, "no such bundle"),
    ("E02", remove(MANIFEST), 78, "not a bundle"),
    ("E02", remove(MANIFEST_HASH), 78, "manifest.sha256: missing from the bundle"),
    ("E02", write(MANIFEST_HASH, b""), 78, "expected '<SHA-256>  manifest.json', found ''"),
    ("E02", lambda folder: rewrite_manifest(folder, format=99), 76, "bundle format 99"),
    ("E03", remove(SCORER), 78, "scorer.onnx: missing from the bundle"),
    ("E03", remove("native/classifier.txt"), 78, "classifier.txt: missing from the bundle"),
    ("E03", remove("conformance/input_0.pb"), 78, "input_0.pb: missing from the bundle"),
    ("E03", write("notes.txt", b"x"), 78, "bundle: 1 unlisted file present .'notes.txt'"),
    ("E03", lambda folder: rewrite_manifest(folder, files={}), 78, "required files? not listed"),
    ("E05", sealed(CORE, b""), 78, "core.onnx: imports the operators of"),
    *(("E05", cut_off(CORE, share), 78, f"{CORE}: ") for share in (0.1, 0.5, 0.9, 0.999)),
    ("E06", opset("", 18), 76, "ai.onnx version 18; this engine reads up to 17"),
    (
        "E06",
        in_graph(lambda model: setattr(model, "ir_version", 9)),
        76,
        "IR version 9; this engine reads up to 8",
    ),
    ("E07", in_graph(import_domain), 78, "imports the operators of .*'com.example'"),
    ("E07", in_graph(use_loop), 78, "1 operator that no bundle has: 'ai.onnx.NonZero'"),
    ("E08", in_graph(external_data), 78, "field 13 .external_data.|field 14 .data_location."),
    ("E08", hard_link, 78, "field 13 .external_data.|field 14 .data_location."),
    ("E08", in_graph(add_function), 78, "field 25 .functions."),
    ("E08", in_graph(add_subgraph), 78, "field 6 .subgraph."),
    ("E09", grow(SCORER), 78, "too large: 'scorer.onnx'"),
    ("E09", write(MANIFEST, bytes(16_000_001)), 78, "16,000,001 bytes, at most 16,000,000"),
    ("E09", in_graph(absurd_dims), 78, "ONNX Runtime .* cannot load it"),
    ("E09", in_graph(more_axes), 78, "ONNX Runtime .* cannot load it"),
    ("E10", in_graph(rename_input), 78, "input 0 is 'x' of type tensor.float."),
    ("E10", in_graph(retype_input), 78, "ONNX Runtime .* cannot load it: .*double"),
    ("E10", in_graph(rename_output), 78, "output 6 is 'x' of type .*, expected 'distances'"),
    ("E10", in_graph(fixed_batch), 78, r"shape \[1, 38\], expected .* shape \['batch', 38\]"),
    ("E10", fewer_segments, 78, "output 6 is 'distances' .* expected 'distances'"),
    ("E11", half_copied, 78, "missing from the bundle|altered"),
    ("E12", in_graph(rename_bundle), 78, "core.onnx: made for bundle .*files of two bundles"),
    ("E12", in_graph(no_bundle_id), 78, "made without a bundle id"),
    (
        "E17",
        in_graph(negate),
        70,
        "conformance rows with ONNX Runtime .*: margin by .* probability by",
    ),
    ("E18", in_graph(unknown_segment), 78, "segments .* are not in the manifest"),
    ("E19", write("model.pkl", b"cos\nsystem\n"), 78, "1 pickle .'model.pkl'"),
    ("E19", sealed("native/model.JOBLIB", b"x"), 78, "1 pickle .'native/model.JOBLIB'"),
    ("E20", listed_as("../elsewhere"), 78, "only plain files within it"),
    ("E20", listed_as("/etc/hostname"), 78, "only plain files within it"),
    ("E20", listed_as("native/../playbook.json"), 78, "only plain files within it"),
    ("E20", listed_as("native//classifier.txt"), 78, "only plain files within it"),
    ("E20", listed_as(".hidden"), 78, "only plain files within it"),
    ("E20", listed_as("a\\b"), 78, "only plain files within it"),
    ("E20", link(PLAYBOOK, "../elsewhere"), 78, "1 link or device .'playbook.json'"),
    ("E20", link(MANIFEST, "../elsewhere"), 78, "1 link or device .'manifest.json'"),
    ("E20", link_folder, 78, "1 link or device .'native'"),
    *(
        ("E20", renamed_to(name), 78, "not valid in a manifest: 'bundle_id'")
        for name in (
            *(
                "shopnow/a b",
                "shopnow/.hidden",
                "shopnow/CURRENT",
                "shopnow/history",
                "shopnow/a/b",
            ),
            *("shopnow/", "shopnow", "/a", "../a", "shopnow/a\n", f"shopnow/{'a' * 101}"),
        )
    ),
    *(
        ("E02", twice(name), 78, f"{name}.*: '.*' named more than once")
        for name in (MANIFEST, PLAYBOOK, REFERENCE)
    ),
    (
        "E02",
        lambda folder: rewrite_manifest(folder, base_value="1"),
        78,
        "base_value cannot be '1'",
    ),
    ("E02", lambda folder: rewrite_manifest(folder, base_value=1e39), 78, "base_value cannot be"),
    ("E02", lambda folder: rewrite_manifest(folder, threshold=10**30), 78, "beyond a number of 64"),
    ("E02", lambda folder: rewrite_manifest(folder, retired_segments="1"), 78, "cannot be '1'"),
    ("E02", lambda folder: rewrite_manifest(folder, unused=nested(65)), 78, "nested too deeply"),
    ("E02", in_document(REFERENCE, rows=-1), 78, "it.rows cannot be '-1'"),
    ("E02", in_document(REFERENCE, deciles=[1.5] * 10), 78, "deciles.0. cannot be '1.5'"),
    ("E02", in_document(REFERENCE, segments=[[1]] * 6), 78, "segments.0. cannot be"),
    ("E02", in_document(PLAYBOOK, rows={}), 78, "it.rows cannot be"),
    ("E02", in_document(PLAYBOOK, rows=[{"segment_id": True}]), 78, r"it.rows\[0\] has no"),
    ("E20", pipe, 78, "1 link or device .'playbook.json'"),
    ("E20", unix_socket, 78, "1 link or device .'playbook.json'"),
]


@pytest.mark.parametrize(
    ("damage", "exit_code", "message"),
    [pytest.param(*fault, id=f"{case}-{n}") for n, (case, *fault) in enumerate(FAULTS)],
)
def test_a_bad_bundle_is_refused(version, monkeypatch, damage, exit_code, message):
    monkeypatch.chdir(version.parent)
    damage(version)
    with pytest.raises(EngineError, match=message) as caught:
        load_bundle(version)
    assert caught.value.exit_code == exit_code


OTHER_GRAPHS = (PREPROCESS, CLASSIFIER, SEGMENTER, SCORER)
FAULTS_OF_UNUSED_GRAPHS = [
    ("E05", sealed(SCORER, b"not ONNX at all"), 78, "scorer.onnx: not what this engine loads"),
    ("E05", sealed(PREPROCESS, bytes(1_000)), 78, "preprocess.onnx: not what this engine loads|"),
    *(
        ("E05", cut_off(name, share), 78, f"{name}: ")
        for name in OTHER_GRAPHS
        for share in (0.1, 0.5, 0.9, 0.999)
    ),
    ("E06", opset("ai.onnx.ml", 4, SCORER), 76, "ai.onnx.ml version 4; this engine reads up to 3"),
    ("E07", in_graph(import_domain, SCORER), 78, "imports the operators of .*'com.example'"),
    ("E08", in_graph(external_data, SCORER), 78, "scorer.onnx: .*field 13 .external_data."),
    ("E08", in_graph(add_function, PREPROCESS), 78, "preprocess.onnx: .*field 25 .functions."),
    ("E10", in_graph(fixed_batch, SCORER), 78, r"shape \[1, 1\], expected .* shape \['batch', 1\]"),
    *(
        ("E12", in_graph(rename_bundle, name), 78, f"{name}: made for bundle .*of two bundles")
        for name in OTHER_GRAPHS
    ),
]
"""In graphs that only other runtimes use: `engine verify` refuses them, scoring does not open them."""


@pytest.mark.parametrize(
    ("damage", "exit_code", "message"),
    [
        pytest.param(*fault, id=f"{case}-{n}")
        for n, (case, *fault) in enumerate(FAULTS_OF_UNUSED_GRAPHS)
    ],
)
def test_a_bad_graph_of_other_runtimes_is_refused_by_verify(
    version, users, damage, exit_code, message
):
    damage(version)
    with pytest.raises(EngineError, match=message) as caught:
        verify(version)
    assert caught.value.exit_code == exit_code
    assert load_bundle(version).score(users.head(5)).height == 5


def flipped(content, rng):
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def check_flips(root, count):
    """Flip one bit at a time, in any file of a folder of bundles; nothing is scored with any."""
    folder = open_bundle(root).path
    names = sorted(path for path in (root / CURRENT, *folder.rglob("*")) if path.is_file())
    weights = [path.stat().st_size for path in names]
    rng = random.Random(4)
    for path in rng.choices(names, weights, k=count - len(names)) + names:
        sound = path.read_bytes()
        path.write_bytes(flipped(sound, rng))
        with pytest.raises(EngineError) as caught:
            open_bundle(root)
        assert caught.value.exit_code in (76, 78), path
        path.write_bytes(sound)
    assert open_bundle(root).manifest


@pytest.mark.parametrize(
    "count", [120, pytest.param(1_000, marks=pytest.mark.slow)], ids=lambda n: f"E04-{n}-flips"
)
def test_every_flipped_bit_is_refused(tmp_path, count, record_property):
    record_property("bits flipped in a bundle", count)
    shutil.copytree(BUNDLE, tmp_path / "shopnow")
    check_flips(tmp_path / "shopnow", count)


@pytest.mark.parametrize("version", ["a b", ".hidden", "CURRENT", "History", "a/b", "", "a" * 101])
def test_e20_no_version_is_written_that_cannot_be_read(tmp_path, version):
    with pytest.raises(EngineError, match="is no version") as caught:
        write_current(tmp_path, version)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("name", [CURRENT, MANIFEST_HASH], ids=lambda name: f"E20-{name}")
def test_damaged_lines_are_refused_or_say_the_same(tmp_path, name, record_property):
    record_property("damaged bundles", 300)
    shutil.copytree(BUNDLE, tmp_path / "shopnow")
    folder = open_bundle(tmp_path / "shopnow").path
    path = tmp_path / "shopnow" / name if name == CURRENT else folder / name
    for content in corpus(path.read_bytes(), 5, 300):
        path.write_bytes(content)
        try:
            found = open_bundle(tmp_path / "shopnow").path
        except BundleError:
            continue
        assert found == folder


@pytest.mark.parametrize("share", [0, 0.5, 1], ids=lambda share: f"E11-{share}")
def test_every_file_that_is_cut_off_is_refused(version, share):
    for path in sorted(p for p in version.rglob("*") if p.is_file()):
        sound = path.read_bytes()
        path.write_bytes(sound[: min(int(share * len(sound)), len(sound) - 1)])
        if path.name == MANIFEST_HASH and share == 1:
            # The hash is whole without the end of its line.
            assert open_bundle(version).manifest
        else:
            with pytest.raises(EngineError, match="altered|expected '<SHA") as caught:
                open_bundle(version)
            assert caught.value.exit_code == 78
        path.write_bytes(sound)


class WrongSession(ort.InferenceSession):
    """ONNX Runtime that computes one output of some rows wrongly, and says nothing."""

    def run(self, names, inputs, options=None):
        found = super().run(names, inputs, options)
        if "probability" in names:
            found[names.index("probability")][3] += 1e-3
        return found


def test_e13_a_machine_that_computes_otherwise_scores_nobody(version, monkeypatch):
    monkeypatch.setattr(ort, "InferenceSession", WrongSession)
    with pytest.raises(
        EngineError, match="1 output of 6 not as expected .*: probability by 0.001 .allowed 1e-06."
    ) as caught:
        load_bundle(version)
    assert caught.value.exit_code == 70


def test_e14_a_bundle_exchanged_during_a_run_changes_nothing(tmp_path, users):
    shutil.copytree(BUNDLE, tmp_path / "shopnow")
    opened = open_bundle(tmp_path / "shopnow")
    scorer = load_bundle(tmp_path / "shopnow")
    before = scorer.score(users.head(500))
    write_bundle(tmp_path / "shopnow" / "next", opened.manifest, opened.contents)
    write_current(tmp_path / "shopnow", "next")
    shutil.rmtree(opened.path)
    assert scorer.score(users.head(500)).equals(before)
