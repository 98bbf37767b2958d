"""The same users in every form that Polars and Arrow write: the same bits, or a clear 65.

The figures of these users have few digits, so that each form can hold all of them.
"""

import csv
import io
import json
from decimal import Decimal
from itertools import product

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest

from engine import ScoreOptions, score
from engine.errors import InputError
from tests.helpers import BUNDLE

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 500
TEXTS = ("country", "age_band")


@pytest.fixture(scope="module")
def few(users):
    """Numbers with at most three digits behind the point, some of them missing."""
    rounded = users[:ROWS].with_columns(cs.float().cast(pl.Float64).round(3).cast(pl.Float32))
    gaps = pl.int_range(pl.len()) % 7 == 0
    return rounded.with_columns(
        pl.when(~gaps).then("email_open_rate").alias("email_open_rate"),
        pl.when(~gaps).then("country").alias("country"),
    )


def scored(path, folder):
    out = folder / "scores.parquet"
    score([str(path)], BUNDLE, out, ScoreOptions(if_exists="replace", max_reject_share=0.0))
    return pl.read_parquet(out)


@pytest.fixture(scope="module")
def expected(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    few.write_parquet(folder / "users.parquet")
    return scored(folder / "users.parquet", folder)


WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def cast_whole(frame, dtype):
    """The whole numbers that fit in a type, in that type."""
    top = {pl.Int8: 127, pl.UInt8: 255, pl.Int16: 32_767, pl.UInt16: 65_535}.get(dtype, 2**31 - 1)
    names = [n for n, t in frame.schema.items() if t.is_integer() and (frame[n].max() or 0) <= top]
    assert names
    return frame.with_columns(pl.col(names).cast(dtype))


def texts(dtype):
    return lambda frame: frame.with_columns(pl.col(TEXTS).cast(dtype))


VALUES = {
    "as they are": lambda frame: frame,
    **{f"whole {t.__name__}": (lambda frame, t=t: cast_whole(frame, t)) for t in WHOLE},
    "Float64": lambda frame: frame.with_columns(
        cs.float().cast(pl.String).cast(pl.Float64), cs.integer().cast(pl.Float64)
    ),
    "Decimal": lambda frame: frame.with_columns(cs.float().cast(pl.String).cast(pl.Decimal(18, 3))),
    "Decimal(38)": lambda frame: frame.with_columns(cs.integer().cast(pl.Decimal(38, 0))),
    "text": lambda frame: frame.with_columns(cs.numeric().cast(pl.String)),
    "text date": lambda frame: frame.with_columns(pl.col("snapshot_date").cast(pl.String)),
    "coded date": lambda frame: frame.with_columns(
        pl.col("snapshot_date").cast(pl.String).cast(pl.Categorical)
    ),
    "coded numbers": lambda frame: frame.with_columns(
        cs.numeric().cast(pl.String).cast(pl.Categorical)
    ),
    "Categorical": texts(pl.Categorical),
    "bytes": texts(pl.Binary),
    "Enum": lambda frame: frame.with_columns(
        pl.col(n).cast(pl.Enum(frame[n].drop_nulls().unique().sort(descending=True))) for n in TEXTS
    ),
    "NaN": lambda frame: frame.with_columns(cs.float().fill_null(float("nan"))),
    "empty text": lambda frame: frame.with_columns(pl.col(TEXTS).fill_null("")),
    "other order": lambda frame: frame.select(sorted(frame.columns)),
    "more columns": lambda frame: frame.with_columns(
        more=pl.concat_list(pl.lit(1)), time=pl.lit(0).cast(pl.Time)
    ),
}
POLARS = {
    **{
        f"{kind}.parquet": (lambda f, p, kind=kind: f.write_parquet(p, compression=kind))
        for kind in ("uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd")
    },
    "pages.parquet": lambda f, p: f.write_parquet(p, row_group_size=64, data_page_size=100),
    "plain.parquet": lambda f, p: f.write_parquet(p, statistics=False, use_pyarrow=False),
    **{
        f"{kind}.arrow": (lambda f, p, kind=kind: f.write_ipc(p, compression=kind))
        for kind in ("uncompressed", "lz4", "zstd")
    },
    **{
        f"{kind}.arrows": (lambda f, p, kind=kind: f.write_ipc_stream(p, compression=kind))
        for kind in ("uncompressed", "lz4", "zstd")
    },
    "old.arrow": lambda f, p: f.write_ipc(p, compat_level=pl.CompatLevel.oldest()),
    "old.arrows": lambda f, p: f.write_ipc_stream(p, compat_level=pl.CompatLevel.oldest()),
}


@pytest.mark.parametrize("values", VALUES)
def test_users_written_by_polars_score_the_same(few, expected, tmp_path, values):
    frame = VALUES[values](few)
    for name, write in POLARS.items():
        write(frame, tmp_path / name)
        assert scored(tmp_path / name, tmp_path).equals(expected), name


def parquet_options():
    """Each choice of Arrow's writer with every compression."""
    choices = {
        "plain": {"use_dictionary": False},
        "dictionaries": {"use_dictionary": True},
        "version 2 pages": {"data_page_version": "2.0"},
        "small pages": {"data_page_size": 64, "write_batch_size": 16, "row_group_size": 64},
        "version 1.0": {"version": "1.0"},
        "split": {
            "use_dictionary": False,
            "use_byte_stream_split": ["bounce_rate", "email_open_rate"],
        },
        "no schema": {"store_schema": False},
        "checksums": {"write_page_checksum": True, "write_page_index": True},
        "no statistics": {"write_statistics": False},
        "delta": {
            "use_dictionary": False,
            "column_encoding": {
                "user_id": "DELTA_BYTE_ARRAY",
                "sessions_last_7d": "DELTA_BINARY_PACKED",
                "country": "DELTA_LENGTH_BYTE_ARRAY",
            },
        },
    }
    kinds = ("none", "snappy", "gzip", "brotli", "lz4", "zstd")
    return {f"{n}, {k}": {**c, "compression": k} for (n, c), k in product(choices.items(), kinds)}


@pytest.mark.parametrize("options", parquet_options())
def test_parquet_written_by_arrow_scores_the_same(few, expected, tmp_path, options):
    table = few.to_arrow()
    parquet.write_table(table, tmp_path / "users.parquet", **parquet_options()[options])
    assert scored(tmp_path / "users.parquet", tmp_path).equals(expected)


ARROW_TYPES = {
    "string": {"user_id": pa.string(), "country": pa.string()},
    "large_string": {"user_id": pa.large_string(), "country": pa.large_string()},
    "string_view": {"user_id": pa.string_view(), "country": pa.string_view()},
    "binary_view": {"user_id": pa.binary_view(), "country": pa.binary_view()},
    "dictionary": {"country": pa.dictionary(pa.int8(), pa.string())},
    "unsigned dictionary": {"country": pa.dictionary(pa.uint16(), pa.string())},
    "dictionary of numbers": {"sessions_last_7d": pa.dictionary(pa.int32(), pa.int64())},
    "decimal32": {"sessions_last_7d": pa.decimal32(9, 2)},
    "decimal64": {"sessions_last_7d": pa.decimal64(18, 2)},
    "decimal128": {"sessions_last_7d": pa.decimal128(38, 2)},
    "date32": {"snapshot_date": pa.date32()},
}
REFUSED_TYPES = {
    "decimal256": {"sessions_last_7d": pa.decimal256(60, 2)},
    "date64": {"snapshot_date": pa.date64()},
    "timestamp": {"snapshot_date": pa.timestamp("ns")},
    "seconds": {"snapshot_date": pa.timestamp("s")},
    "zone": {"snapshot_date": pa.timestamp("us", "Asia/Tokyo")},
    "half hour": {"snapshot_date": pa.timestamp("us", "+05:30")},
}


def written_by_arrow(few, types, path):
    table = few.to_arrow(compat_level=pl.CompatLevel.oldest())
    for name, kind in types.items():
        place = table.schema.get_field_index(name)
        column = table[name]
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type).dictionary_encode().combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        table = table.set_column(place, name, column.cast(kind))
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        kind = ipc.new_file if path.suffix == ".arrow" else ipc.new_stream
        with kind(path, table.schema) as to:
            to.write_table(table, max_chunksize=99)
    return path


@pytest.mark.parametrize("types", ARROW_TYPES)
@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows"])
def test_types_of_arrow_score_the_same(few, expected, tmp_path, types, ending):
    path = written_by_arrow(few, ARROW_TYPES[types], tmp_path / f"users.{ending}")
    assert scored(path, tmp_path).equals(expected)


@pytest.mark.parametrize("types", REFUSED_TYPES)
@pytest.mark.parametrize("ending", ["parquet", "arrow", "arrows"])
def test_types_of_arrow_that_are_refused_are_named(few, tmp_path, types, ending):
    path = written_by_arrow(few, REFUSED_TYPES[types], tmp_path / f"users.{ending}")
    with pytest.raises(InputError, match="'(sessions_last_7d|snapshot_date)' expected .*found"):
        scored(path, tmp_path)


def test_the_old_timestamps_of_spark_are_refused_by_name(few, tmp_path):
    path = tmp_path / "users.parquet"
    table = few.with_columns(pl.col("snapshot_date").cast(pl.Datetime("ns"))).to_arrow()
    parquet.write_table(table, path, use_deprecated_int96_timestamps=True)
    with pytest.raises(InputError, match="'snapshot_date' expected a date without a time"):
        scored(path, tmp_path)


def spelled(number, how):
    if number is None:
        return None
    if isinstance(number, float):
        number = float(str(np.float32(number)))
        return {
            "exponents": f"{number:e}",
            "zeros": f"{Decimal(str(number)):.9f}",
            "signs": f"+{number}" if number >= 0 else str(number),
            "spaces": f" {number}\t",
        }.get(how, repr(number))
    return {"exponents": f"{number}e0", "zeros": f"{number}.000", "spaces": f" {number} "}.get(
        how, str(number)
    )


NUMBERS = ("plain", "exponents", "zeros", "signs", "spaces")


@pytest.mark.parametrize("how", NUMBERS)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_of_other_writers_scores_the_same(few, expected, tmp_path, how, quoting, end):
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerow(few.columns)
    whole = few.with_columns(pl.col("snapshot_date").cast(pl.String))
    for row in whole.iter_rows():
        writer.writerow([v if isinstance(v, str) else spelled(v, how) for v in row])
    (tmp_path / "users.csv").write_text(text.getvalue(), newline="")
    assert scored(tmp_path / "users.csv", tmp_path).equals(expected)


@pytest.mark.parametrize("how", [*NUMBERS, "numbers"])
@pytest.mark.parametrize("escape", [True, False])
@pytest.mark.parametrize("nulls", [True, False])
def test_ndjson_of_other_writers_scores_the_same(few, expected, tmp_path, how, escape, nulls):
    lines = []
    for row in few.with_columns(pl.col("snapshot_date").cast(pl.String)).iter_rows(named=True):
        values = {
            name: value if isinstance(value, str) or how == "numbers" else spelled(value, how)
            for name, value in row.items()
            if nulls or value is not None
        }
        lines.append(json.dumps(values, ensure_ascii=escape))
    (tmp_path / "users.ndjson").write_text("\n".join(lines))
    assert scored(tmp_path / "users.ndjson", tmp_path).equals(expected)
