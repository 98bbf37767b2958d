"""Damaged bytes, and frames and schemas that nobody thought of.

Whatever comes in, a run ends with a documented exit code and words, not with a traceback; the scores
of yesterday stand, or every row that was read is scored or set aside.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import series

from engine.bundle.open import open_bundle
from engine.bundle.schema import schema_from_dict
from engine.errors import BundleError, InputError
from engine.rows.chunk import Chunk
from engine.rows.rules import check_columns, split_rows
from tests.faults.fuzz_worker import attempt
from tests.helpers import BUNDLE, ROOT, write_table

WORKER = Path(__file__).with_name("fuzz_worker.py")
INPUTS = ("users.csv", "users.parquet", "users.arrow", "users.ndjson", "users.csv.gz")
BUNDLE_FILES = (
    *("manifest.json", "core.onnx", "preprocess.onnx", "scorer.onnx"),
    *("reference.json", "playbook.json", "conformance/input_0.pb", "conformance/output_2.pb"),
)
ROWS = 12


@pytest.fixture
def folder(users, tmp_path):
    """A bundle, and users of every format."""
    shutil.copytree(open_bundle(BUNDLE).path, tmp_path / "bundle")
    for name in INPUTS:
        write_table(users[:ROWS], tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "codes"),
    [
        *((name, {"0", "65"}) for name in INPUTS),
        *((f"bundle/{name}", {"0", "70", "76", "78"}) for name in BUNDLE_FILES),
    ],
)
def test_damaged_bytes_end_with_a_documented_code(folder, name, codes, count, record_property):
    record_property("damaged bundles" if "/" in name else "damaged inputs", count)
    done = subprocess.run(
        [sys.executable, WORKER, folder, name, "6", str(count)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1_200,
    )
    ends = done.stdout.splitlines()
    assert (done.returncode, len(ends)) == (0, count), (ends[-1:], done.stderr[-2_000:])
    assert set(ends) <= codes


DOCUMENTS = (
    *("manifest.json", "evaluation.json", "reference.json", "playbook.json"),
    "conformance/conformance.json",
)
COMMANDS = 8


@pytest.mark.parametrize("count", [12, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a9_documents_that_say_something_else_end_with_a_documented_code(
    folder, name, count, record_property
):
    record_property("runs with bundles of right hashes and odd contents", COMMANDS * count)
    done = subprocess.run(
        [sys.executable, WORKER, folder, f"bundle/{name}", "9", str(count), "documents"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3_600,
    )
    ends = done.stdout.splitlines()
    assert (done.returncode, len(ends)) == (0, count), (ends[-1:], done.stderr[-2_000:])
    # A schema whose columns have other names is valid: 65 for the users, 2 for one of them.
    assert {code for line in ends for code in line.split(" ")} <= {"0", "2", "65", "70", "76", "78"}


HOSTILE = (
    *("", " ", "\0", "\ufeff", "\u202eevil", "=cmd|' /C calc'!A0", "<script>", "🛒" * 50, "NaN"),
    *("-1e400", "1,5", "٣", "0x10", "1e5", "TRUE", "9" * 400, "2026-02-30", "null", "\n", '"'),
)
DTYPES = (
    *(pl.String, pl.Int8, pl.UInt64, pl.Int128, pl.Float32, pl.Float64, pl.Boolean, pl.Date),
    *(pl.Datetime("us"), pl.Duration, pl.Time, pl.Categorical, pl.Decimal(20, 3), pl.Null),
    *(pl.Binary, pl.List(pl.Int8), pl.Struct({"a": pl.String}), pl.Enum(["", "a", "=1"])),
)
COLUMNS = st.one_of(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: series(dtype=dtype, min_size=ROWS, max_size=ROWS, allow_chunks=False)
    ),
    st.lists(st.sampled_from(HOSTILE) | st.none(), min_size=ROWS, max_size=ROWS).map(
        lambda texts: pl.Series(texts, dtype=pl.String)
    ),
)
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(HERE, max_examples=15)
@given(data=st.data())
@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".ndjson", ".csv"])
def test_any_columns_end_with_scores_or_65(users, folder, ending, data):
    names = st.sampled_from(users.columns)
    changed = data.draw(st.dictionaries(names, COLUMNS, min_size=1, max_size=4))
    frame = users[:ROWS].with_columns(column.alias(name) for name, column in changed.items())
    path = folder / f"changed{ending}"
    try:
        write_table(frame, path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return  # Not every format holds every type.
    assert attempt(folder, path) in (0, 65)


@st.composite
def schemas(draw):
    """Any schema of up to five features, with or without an id and a snapshot."""
    names = draw(
        st.lists(
            st.text(st.characters(categories=("L", "N", "S")), min_size=1, max_size=8),
            min_size=3,
            max_size=7,
            unique=True,
        )
    )
    features = []
    for name in names[2:]:
        kind = draw(st.sampled_from(["numeric", "categorical"]))
        feature = {
            "name": name,
            "kind": kind,
            "missing": draw(st.sampled_from(["never", "allowed"])),
        }
        if kind == "numeric" and draw(st.booleans()):
            low, high = sorted(draw(st.tuples(*[st.integers(-100, 100)] * 2)))
            feature |= {"min": low, "max": high}
        features.append(feature)
    keys = {"id": names[0]} if draw(st.booleans()) else {}
    keys |= {"snapshot": names[1]} if draw(st.booleans()) else {}
    return {"name": "any", "label": "bought!", "features": features, **keys}, names


@HERE
@given(drawn=schemas(), data=st.data())
def test_any_schema_scores_or_sets_aside_every_row_of_any_frame(drawn, data):
    document, names = drawn
    try:
        schema = schema_from_dict(document, "test")
    except BundleError:
        return
    frame = pl.DataFrame([data.draw(COLUMNS).alias(name) for name in names])
    try:
        check_columns(schema, frame.schema, "frame", "any")
    except InputError:
        return
    chunk = Chunk(frame, "frame", 0, 0)
    split = split_rows(chunk.frame, schema, chunk.faults)
    kept = pl.concat([split.valid["chunk_row"], split.rejected["chunk_row"]])
    assert kept.sort().to_list() == list(range(ROWS))
    assert all(reasons for reasons in split.rejected["reasons"])
