"""Score files of customers, as `engine score` writes them."""

from datetime import date

import numpy as np
import polars as pl

from engine.bundle.manifest import BANDS
from engine.bundle.playbook import control_draws
from tests.fitting import number, schema_of

TABLE = schema_of(number("visits"), id="customer", snapshot="day")
DAY = date(2026, 1, 4)


def scores_of(rows: int, seed: int = 0, **columns) -> pl.DataFrame:
    """A score file of customers in two segments; a fifth is in the control group."""
    ids = [f"c{n:05}" for n in range(rows)]
    probability = np.random.default_rng(seed).random(rows).astype(np.float32)
    quarter = (4 * probability).astype(int).clip(0, 3)
    frame = pl.DataFrame(
        {
            "customer": ids,
            "day": pl.Series([DAY]).new_from_index(0, rows),
            "purchase_probability": probability,
            "will_purchase": probability >= 0.5,
            "propensity_decile": pl.Series((10 * probability).astype(int) + 1, dtype=pl.Int8),
            "propensity_band": np.array(BANDS)[quarter],
            "segment_id": pl.Series(np.arange(rows) % 2 + 1, dtype=pl.Int8),
            "segment_name": np.array(["Ones", "Twos"])[np.arange(rows) % 2],
            "driver_1": "visits",
            "action": "write",
            "in_control_group": control_draws(pl.Series(ids)) < 0.2 * 2**32,
            "bundle_id": "tiny/a",
        }
    )
    return frame.with_columns(**columns)
