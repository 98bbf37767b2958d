"""The script that the engine's speed is compared with gives the engine's scores."""

import subprocess
import sys

import polars as pl
from polars.testing import assert_frame_equal

from tests.helpers import ROOT


def test_the_obvious_script_gives_the_same_scores(scorer, users, users_file, tmp_path):
    out = tmp_path / "obvious.parquet"
    script = ROOT / "benchmarks" / "obvious.py"
    subprocess.run([sys.executable, script, users_file, out, "drivers"], check=True)
    obvious, ours = pl.read_parquet(out), scorer.score(users)
    assert obvious.columns == ours.columns
    texts = ["action", "segment_name", "propensity_band", "driver_1", "driver_2", "driver_3"]
    alike = pl.all().exclude(texts), pl.col(texts).cast(pl.String)
    assert_frame_equal(obvious.select(*alike), ours.select(*alike), rel_tol=1e-4, abs_tol=1e-5)
