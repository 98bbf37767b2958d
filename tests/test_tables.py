"""The benchmark of real tables, on a simulated one."""

import subprocess
import sys

import polars as pl
import pytest

from benchmarks.tables import OURS, boosted, compared, logistic
from tests.fitted import SMALL
from tests.fitting import SHOP, shop_users


@pytest.mark.slow
def test_each_model_is_measured_on_the_same_rows():
    table = shop_users(1_500, 0).select(pl.all().cast(pl.String))
    rivals = {"LightGBM": boosted, "logistic regression": logistic}
    lines = compared("shop", table, SHOP, rivals, SMALL).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cell[1] for cell in cells] == [OURS, *rivals]
    gains = {cell[1]: float(cell[4]) for cell in cells}
    assert max(gains[rival] for rival in rivals) == 1
    assert gains[OURS] > 0.8
    assert all(0.7 < float(cell[5]) < 1 for cell in cells)
    assert cells[-1][-1] == "–"


def test_without_tables_the_benchmark_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("REAL_DATA", raising=False)
    command = [sys.executable, "-m", "benchmarks.tables"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("REAL_DATA names no folder of tables")
