import random
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from engine.bundle.open import CLASSIFIER, CORE, PREPROCESS, SCORER, SEGMENTER, open_bundle
from engine.bundle.wire import MAX_FIELDS, read_model, read_tensor
from engine.errors import BundleError, VersionError
from engine.model.session import load_graph
from tests.helpers import BUNDLE

GRAPHS = (PREPROCESS, CLASSIFIER, SEGMENTER, CORE, SCORER)
MUTATIONS = 1_000


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


def varint(number):
    """The bytes of an unsigned number in the encoding of Protocol Buffers."""
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, wire, content=b""):
    length = varint(len(content)) if wire == 2 else b""
    return varint(number << 3 | wire) + length + content


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_reads_as_the_onnx_package_reads_it(bundle, name):
    found, wanted = (
        read_model(bundle.contents[name], name),
        onnx.load_from_string(bundle.contents[name]),
    )
    assert found.ir_version == wanted.ir_version
    assert found.opsets == tuple((o.domain, o.version) for o in wanted.opset_import)
    assert found.operators == tuple((n.domain, n.op_type) for n in wanted.graph.node)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.5, np.nan], [-0.0, np.inf]], np.float32),
        np.array([-(2**63), -1, 2**63 - 1], np.int64),
        np.array([], np.float32).reshape(0, 3),
        np.array(7.0, np.float32),
    ],
    ids=["floats", "whole numbers", "none", "one"],
)
def test_a_tensor_has_the_bits_that_the_onnx_package_wrote(values):
    found = read_tensor(numpy_helper.from_array(values, "x").SerializeToString(), "x.pb")
    assert (found.name, found.shape) == ("x", values.shape)
    assert found.raw == values.tobytes()


@given(st.lists(st.text(), max_size=20))
def test_texts_come_back(texts):
    # NOTE: `helper.make_tensor` goes through NumPy, which drops a NUL at the end of a text.
    encoded = [text.encode() for text in texts]
    written = TensorProto(
        name="t", data_type=TensorProto.STRING, dims=[len(texts)], string_data=encoded
    )
    assert [t.decode() for t in read_tensor(written.SerializeToString(), "t.pb").texts] == texts


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorProto(data_type=1, dims=[1], raw_data=b"123"), "has 0.75 values"),
        (TensorProto(data_type=1, dims=[2**40, 2**40], raw_data=b"1234"), "has 1 values"),
        (TensorProto(data_type=1, dims=[-1, -1], raw_data=b"1234"), "has 1 values"),
        (TensorProto(data_type=1, dims=[1] * 100, raw_data=b"12345678"), "has 2 values"),
        (TensorProto(data_type=7, dims=[2], int64_data=[1, 2]), "has 0 values"),
        (TensorProto(data_type=11, dims=[1], raw_data=b"12345678"), "has type 11"),
        (TensorProto(data_type=8, dims=[1], raw_data=b"1"), "values of another type"),
        (TensorProto(data_type=1, dims=[1], string_data=[b"1"]), "values of another type"),
        (TensorProto(data_location=TensorProto.EXTERNAL), r"field 14 \(data_location\)"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(tensor, message):
    with pytest.raises(BundleError, match=f"x.pb: not what this engine loads: .*{message}"):
        read_tensor(tensor.SerializeToString(), "x.pb")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (field(7, 2, b"")[:1], "a number that does not end"),
        (b"\xff" * 20, "a number that does not end"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        (field(1, 2, b"12"), "field 1 is not a number"),
        (field(7, 0, varint(5)), "GraphProto is a number"),
        (field(7, 3), "a field of wire type 3"),
        (field(7, 6), "a field of wire type 6"),
        (field(7, 1, b"1234"), "a field of 8 bytes where 4 are left"),
        (varint(7 << 3 | 2) + varint(2**60), "where 0 are left"),
        (field(1, 0, b"\x08") * 2, "field 1 comes twice"),
        (field(7, 2, field(1, 2, field(4, 2, b"Add") * 2)), "field 4 comes twice"),
        (field(7, 2, field(1, 2, field(4, 2, b"\xff\xfe"))), "field 4 is not UTF-8"),
        (field(25, 2, b""), r"field 25 \(functions\)"),
        (field(20, 2, b""), r"field 20 \(training_info\)"),
        (field(7, 2, field(15, 2, b"")), r"GraphProto has field 15 \(sparse_initializer\)"),
        (field(7, 2, field(1, 2, field(5, 2, field(5, 2, b"")))), r"field 5 \(tensor\)"),
        (field(7, 2, field(1, 2, field(5, 2, field(6, 2, b"")))), r"field 6 \(subgraph\)"),
        (field(7, 2, field(1, 2, field(5, 2, field(11, 2, b"")))), r"field 11 \(subgraphs\)"),
        (field(7, 2, field(5, 2, field(13, 2, b""))), r"field 13 \(external_data\)"),
        (field(7, 2, field(5, 2, field(14, 0, b"\x01"))), r"field 14 \(data_location\)"),
        # The second of two graphs, which a reader may merge with the first.
        (field(7, 2) + field(7, 2, field(15, 2)), r"field 15 \(sparse_initializer\)"),
    ],
)
def test_bytes_that_are_no_graph_are_refused_with_the_reason(content, message):
    with pytest.raises(BundleError, match=rf"x.onnx: not what this engine loads: .*{message}"):
        read_model(content, "x.onnx")


def test_the_number_of_fields_has_an_end():
    content = field(8, 2, b"") * (MAX_FIELDS + 1)
    with pytest.raises(BundleError, match="more than 1,000,000 fields"):
        read_model(content, "x.onnx")


def mutated(content, rng):
    """A few bytes flipped, replaced, cut out, made up or repeated, half of them near the start."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        near = int(rng.expovariate(1 / 300)) if rng.random() < 0.5 else rng.randrange(10**9)
        place = near % max(len(changed), 1)
        kind = rng.randrange(4)
        if kind == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + rng.choice([1, 2, 50, len(content)])]
        elif kind == 2:
            changed[place:place] = rng.choice([b"\xff" * 11, rng.randbytes(9)])
        else:
            changed[place:place] = changed[: rng.randrange(200)]
    return bytes(changed)


def test_random_damage_is_refused_or_leaves_a_graph_that_may_be(bundle, capfd):
    rng = random.Random(5)
    refused = []
    for _ in range(MUTATIONS):
        name = rng.choice(GRAPHS)
        damaged = {**bundle.contents, name: mutated(bundle.contents[name], rng)}
        try:
            load_graph(replace(bundle, contents=damaged), name)
        except (BundleError, VersionError) as error:
            refused.append(str(error))
    assert capfd.readouterr() == ("", "")
    # Damage to numbers inside constants leaves a graph; the hashes are there for that.
    assert len(refused) > MUTATIONS // 2
    assert all(message.startswith(str(bundle.path)) for message in refused)
