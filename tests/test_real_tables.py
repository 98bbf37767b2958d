"""Real tables of other kinds: the model is nearly as good as LightGBM without limits."""

import polars as pl
import pytest

from benchmarks.tables import boosted, ours, part_of
from engine.bundle.schema import load_schema
from tests.foreign import real_table
from training.effort import Effort
from training.metrics.metrics import log_losses
from training.pipeline import FitOptions, fit

ROWS = 6_000
"""To fit; all others measure."""


@pytest.mark.parametrize("name", ["adult", "credit"])
def test_a_real_table_loses_little_to_exact_drivers(name, tmp_path):
    table = pl.read_csv(real_table(f"{name}.csv.gz"), infer_schema=False)
    schema = load_schema(real_table(f"{name}.toml"))
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    train, test = shuffled.head(ROWS), shuffled.tail(-ROWS)
    train.write_csv(tmp_path / "train.csv")
    fit(
        [str(tmp_path / "train.csv")],
        FitOptions(schema, effort=Effort(trials=4, kmeans_starts=2, refits=2, fits=2)),
        tmp_path / "bundle",
    )
    part = part_of(train, test, schema)
    label = part.test.label
    base, rival, own = (
        log_losses(probability, label).mean()
        for probability in (
            0 * label + label.mean(),
            boosted(part).probability,
            ours(tmp_path / "bundle", test, 0.0).probability,
        )
    )
    assert base - own > 0.97 * (base - rival)
