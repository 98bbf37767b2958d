"""Hostile ids and categories: they pass through every format untouched and do nothing anywhere.

What they do in the report is tested with the report.
"""

import csv
import json
import re

import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.errors import EngineError
from tests.helpers import BUNDLE, read_table, write_table

FORMULAS = ("=cmd|' /C calc'!A0", "+1-1", "-2+3", "@SUM(A1)", "\t=1", "\r=1")
HOSTILE = (
    *(*FORMULAS, "<script>alert(1)</script>", "x" * 1_000_000, "a\0b", "\u202eevil\u200f", "🛒"),
    *("\ufeff", "'", '"', "a,b\nc", "NULL", "-7"),
)


@pytest.fixture
def hostile(users):
    """Hostile ids that are scored, and hostile categories in rows that are set aside."""
    rows = pl.concat([users[: len(HOSTILE)]] * 2)
    return rows.with_columns(
        user_id=pl.Series([*HOSTILE, *(f"u{n}" for n in range(len(HOSTILE)))]),
        country=pl.Series([*HOSTILE, *HOSTILE]),
        sessions_last_7d=pl.Series([1] * len(HOSTILE) + [-1] * len(HOSTILE)),
    )


def texts_of(path, column):
    """A column as another reader than Polars' finds it where the file is a text."""
    if path.suffix == ".csv":
        csv.field_size_limit(10_000_000)
        with path.open(encoding="utf-8", newline="") as file:
            return [row[column] for row in csv.DictReader(file)]
    if path.suffix == ".ndjson":
        return [json.loads(row)[column] for row in path.read_text("utf-8").split("\n") if row]
    return read_table(path)[column].cast(pl.String).to_list()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow", ".ndjson"])
def test_hostile_ids_and_categories_pass_through_untouched_d10(hostile, tmp_path, ending):
    path, out = write_table(hostile, tmp_path / "u.parquet"), tmp_path / f"s{ending}"
    score([str(path)], BUNDLE, out, ScoreOptions(max_reject_share=1.0))
    assert texts_of(out, "user_id") == list(HOSTILE)
    assert texts_of(tmp_path / f"s{ending}.quarantine{ending}", "country") == list(HOSTILE)


def test_hostile_texts_do_nothing_in_a_spreadsheet_d10(hostile, tmp_path):
    path, out = write_table(hostile, tmp_path / "u.parquet"), tmp_path / "s.csv"
    score([str(path)], BUNDLE, out, ScoreOptions(max_reject_share=1.0, csv_for_spreadsheets=True))
    # A formula after a tab or line break is guarded too.
    guarded = [re.sub(r"^([\t\r\n])=", r"\1'=", text) for text in HOSTILE]
    harmless = [f"'{g}" if t in FORMULAS else g for t, g in zip(HOSTILE, guarded, strict=True)]
    assert texts_of(out, "user_id") == harmless
    assert texts_of(tmp_path / "s.csv.quarantine.csv", "country") == harmless


SURROGATES = ["\\ud800", "\\udfff\\ud800", "a\\udc00b", "\\ud800\\u0041"]


@pytest.mark.parametrize("odd", SURROGATES)
def test_half_a_character_in_json_is_refused_without_its_value_d10(users, tmp_path, odd):
    path = write_table(users[:30], tmp_path / "u.ndjson")
    path.write_text(path.read_text().replace(users["user_id"][3], odd))
    with pytest.raises(EngineError, match="u.ndjson: cannot be read: line 4 ") as caught:
        score([str(path)], BUNDLE, tmp_path / "s.parquet")
    assert caught.value.exit_code == 65
    assert odd not in str(caught.value)
