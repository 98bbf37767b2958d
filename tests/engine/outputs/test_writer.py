import os
import signal
import sys
from threading import Event, Timer

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import InterruptedRunError, StorageError
from engine.interruption import signals_noted
from engine.outputs.writer import FrameWriter, without_formulas
from tests.helpers import read_table

FRAME = pl.DataFrame({"x": [1, 2, 3], "name": ["a", "b", "a"]})
HARMLESS = ["anna", "", None, "-1", "+4.5e-3", "-.5", "'=1", " =1", "a=1", "１"]
FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-1+1",
    "@SUM(A1)",
    "\ttext",
    "\rtext",
    "-",
    "-inf",
    "＝1",
    "＠x",
]
# A spreadsheet may split a text at a separator, and run what follows.
WITHIN = {
    "x;=1+1": "x;'=1+1",
    'x; "@SUM(A1)': "x; \"'@SUM(A1)",
    "x\t=1;+2": "x\t'=1;'+2",
    "x|-1,－1": "x|'-1,'－1",
    "\n=1": "'\n'=1",
    "a;b, c - d": "a;b, c - d",
}


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".arrow", ".ndjson"])
def test_what_is_written_is_read_back(tmp_path, ending):
    writer = FrameWriter(tmp_path / f"t{ending}", FRAME.schema, ("name",))
    writer.write(FRAME[:1])
    writer.write(FRAME[1:])
    written = writer.finish()
    assert read_table(tmp_path / f"t{ending}").cast(FRAME.schema).equals(FRAME)
    assert (written.rows, written.size_bytes) == (3, (tmp_path / f"t{ending}").stat().st_size)


def test_repeated_texts_are_dictionaries_in_arrow(tmp_path):
    writer = FrameWriter(tmp_path / "t.arrow", FRAME.schema, ("name",))
    writer.write(FRAME)
    writer.finish()
    assert read_table(tmp_path / "t.arrow").schema["name"] == pl.Categorical


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".arrow", ".ndjson"])
def test_no_file_is_enum(tmp_path, ending):
    coded = FRAME.with_columns(pl.col("name").cast(pl.Enum(["b", "a"])))
    writer = FrameWriter(tmp_path / f"t{ending}", coded.schema, ("name",))
    writer.write(coded)
    writer.finish()
    found = read_table(tmp_path / f"t{ending}")
    assert found.schema["name"] == (pl.Categorical if ending == ".arrow" else pl.String)
    assert found["name"].cast(pl.String).to_list() == ["a", "b", "a"]


def test_readers_of_parquet_find_texts_and_may_skip_row_groups(tmp_path):
    coded = pl.DataFrame({"name": ["b", "c"]}).cast(pl.Enum(["c", "b", "a"]))
    writer = FrameWriter(tmp_path / "t.parquet", coded.schema, ("name",))
    writer.write(coded)
    writer.finish()
    file = pq.ParquetFile(tmp_path / "t.parquet")
    assert file.schema_arrow.field("name").type == pa.large_string()
    bounds = file.metadata.row_group(0).column(0).statistics
    assert (bounds.min, bounds.max) == ("b", "c")


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".arrow", ".ndjson"])
def test_bytes_do_not_depend_on_the_chunks(tmp_path, ending):
    frame = pl.concat([FRAME] * 50_000)
    paths = [tmp_path / f"{rows}{ending}" for rows in (1_000, 65_536, 150_000)]
    for path, rows in zip(paths, (1_000, 65_536, 150_000), strict=True):
        writer = FrameWriter(path, frame.schema, ("name",))
        for chunk in frame.iter_slices(rows):
            writer.write(chunk)
        writer.finish()
    assert len({path.read_bytes() for path in paths}) == 1


def test_a_signal_ends_the_wait_for_a_disk_that_is_behind(tmp_path, monkeypatch):
    blocked = Event()
    monkeypatch.setattr("engine.outputs.writer._sink", lambda *_: blocked.wait())
    writer = FrameWriter(tmp_path / "t.csv", FRAME.schema)
    with signals_noted():
        timer = Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        with pytest.raises(InterruptedRunError):
            while True:
                writer.write(FRAME)
    blocked.set()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /dev/full")
def test_a_full_disk_is_reported_by_the_writer(tmp_path):
    path = tmp_path / "full.csv"
    path.symlink_to("/dev/full")
    writer = FrameWriter(path, FRAME.schema)
    for _ in range(20):
        try:
            writer.write(pl.concat([FRAME] * 50_000))
        except StorageError:
            break
    with pytest.raises(StorageError, match="No space left"):
        writer.finish()


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_formulas_get_an_apostrophe_and_nothing_else_does(dtype):
    frame = pl.LazyFrame({"id": pl.Series([*HARMLESS, *FORMULAS, *WITHIN], dtype=dtype)})
    expected = [*HARMLESS, *(f"'{text}" for text in FORMULAS), *WITHIN.values()]
    assert without_formulas(frame).collect()["id"].to_list() == expected


def test_numbers_and_their_columns_stay():
    frame = pl.LazyFrame({"x": [-1, 2], "y": [-0.5, None]})
    assert without_formulas(frame).collect().equals(frame.collect())


def test_column_names_are_texts_too():
    frame = pl.LazyFrame({"=x": [1], "*": ["@"], "^a$": ["b"]})
    assert without_formulas(frame).collect().to_dict(as_series=False) == {
        "'=x": [1],
        "*": ["'@"],
        "^a$": ["b"],
    }
