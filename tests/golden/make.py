"""Makes the golden users and scores anew: `python -m tests.golden.make`.

Only a change that is meant to change scores has a reason to run it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl

from engine import ScoreOptions, score
from training.simulate import SimulateOptions, simulate

FOLDER = Path(__file__).parent
BUNDLE = FOLDER / "format_1"
USERS = FOLDER / "users.parquet"
SCORES = FOLDER / "scores.parquet"
QUARANTINE = FOLDER / "quarantine.parquet"
HASHES = FOLDER / "hashes.json"
ROWS = 20_000
OPTIONS = {"impacts": True, "max_reject_share": 0.1}


def golden_users() -> pl.DataFrame:
    """Simulated users, one in a hundred of them with a value that no rule lets pass."""
    users = pl.concat(simulate(SimulateOptions(rows=ROWS, seed=17, label=False)))
    row = pl.int_range(pl.len())
    return users.with_columns(
        user_id=pl.when(row % 700 == 3)
        .then(None)
        .when(row % 500 == 4)
        .then(pl.col("user_id").shift(1))
        .otherwise("user_id"),
        sessions_last_7d=pl.when(row % 400 == 5).then(-1).otherwise("sessions_last_7d"),
        avg_order_value=pl.when(row % 300 == 6).then(pl.lit(np.inf)).otherwise("avg_order_value"),
        country=pl.when(row % 90 == 7).then(pl.lit("Atlantis")).otherwise("country"),
    )


def column_hashes(frame: pl.DataFrame) -> dict[str, str]:
    """SHA-256 over the values of each column, to the last bit."""
    return {column.name: _column_hash(column) for column in frame}


def _column_hash(column: pl.Series) -> str:
    if column.dtype.is_float():
        content = column.to_numpy().tobytes()
    else:
        content = json.dumps(column.cast(pl.String).to_list()).encode()
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    golden_users().write_parquet(USERS, compression_level=19)
    out = FOLDER / "out.parquet"
    score([str(USERS)], BUNDLE, out, ScoreOptions(**OPTIONS))
    scores = pl.read_parquet(out).drop("bundle_id")
    HASHES.write_text(json.dumps(column_hashes(scores), indent=1) + "\n")
    kept = [name for name in scores.columns if not name.startswith(("impact_", "base_"))]
    scores.select(kept).write_parquet(SCORES, compression_level=19)
    rejected = pl.read_parquet(FOLDER / "out.parquet.quarantine.parquet")
    rejected.drop("source_file").write_parquet(QUARANTINE, compression_level=19)
    for made in FOLDER.glob("out.parquet*"):
        made.unlink()


if __name__ == "__main__":
    main()
