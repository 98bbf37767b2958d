"""Scores that must not change: made once by `python -m tests.golden.make`, equal to the last bit since."""

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine import ScoreOptions, score
from tests.golden.make import BUNDLE, HASHES, OPTIONS, QUARANTINE, SCORES, USERS, column_hashes
from tests.helpers import write_table

ENDINGS = ("parquet", "csv", "csv.gz", "arrow", "ndjson")


@pytest.fixture(scope="module", params=ENDINGS)
def scored(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    users = pl.read_parquet(USERS)
    if request.param == "ndjson":
        # JSON has no infinity; those rows break the same rule of the quarantine as a text.
        users = users.with_columns(
            pl.col("avg_order_value").cast(pl.String).str.replace("inf", "1e39")
        )
    write_table(users, folder / f"users.{request.param}")
    out = folder / "scores.parquet"
    score([str(folder / f"users.{request.param}")], BUNDLE, out, ScoreOptions(**OPTIONS))
    return out


def test_scores_drivers_segments_and_impacts_are_those_of_the_golden_file(scored):
    scores = pl.read_parquet(scored).drop("bundle_id")
    golden = pl.read_parquet(SCORES)
    # Frames show which values differ; hashes hold the impacts too, which would fill megabytes.
    assert_frame_equal(scores.select(golden.columns), golden, check_exact=True)
    assert column_hashes(scores) == json.loads(HASHES.read_text())


def test_the_same_rows_are_set_aside_for_the_same_reasons(scored):
    quarantined = pl.read_parquet(scored.with_name("scores.parquet.quarantine.parquet"))
    golden = pl.read_parquet(QUARANTINE).select("source_row", "reasons")
    assert_frame_equal(quarantined.select("source_row", "reasons"), golden)
