"""Runs of one input, and what holds after each of them."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from engine import ScoreOptions, score
from engine.errors import EngineError
from engine.explain.validate import validate_input
from tests.helpers import BUNDLE, read_summary, read_table, write_table

YESTERDAY = b"yesterday"
SESSIONS = "sessions_last_7d"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with."""

    code: int
    message: str = ""
    summary: dict = field(default_factory=dict)
    scores: pl.DataFrame = field(default_factory=pl.DataFrame)
    rejected: pl.DataFrame = field(default_factory=pl.DataFrame)


def outcome(*inputs, progress=(), **options) -> Outcome:
    """Score inputs over the scores of the run before, and check what holds in every case."""
    folder = Path(inputs[0]).parent / ".out"
    folder.mkdir(exist_ok=True)
    out = folder / "s.parquet"
    before = out.read_bytes() if out.exists() else YESTERDAY
    out.write_bytes(before)
    settings = ScoreOptions(**{"if_exists": "replace", "max_reject_share": 1.0, **options})
    code, message = 0, ""
    try:
        score([str(path) for path in inputs], BUNDLE, out, settings, *progress)
    except EngineError as error:
        code, message = error.exit_code, str(error)
    assert not list(folder.glob(".s.parquet.staging*"))
    summary = read_summary(out)
    assert (summary["published"], summary["exit_code"]) == (code == 0, code)
    if code:
        assert out.read_bytes() == before
        return Outcome(code, message, summary)
    quarantine = folder / "s.parquet.quarantine.parquet"
    scores = read_table(out)
    rejected = read_table(quarantine) if quarantine.exists() else pl.DataFrame()
    quarantine.unlink(missing_ok=True)
    assert summary["rows_read"] == scores.height + rejected.height
    assert (summary["rows_scored"], summary["rows_quarantined"]) == (
        scores.height,
        rejected.height,
    )
    return Outcome(0, "", summary, scores, rejected)


def validated(*inputs):
    return validate_input([str(path) for path in inputs], BUNDLE, max_reject_share=1.0)


def case(number, *values):
    return pytest.param(*values, id=number)


def bytes_of(frame, ending, folder):
    return write_table(frame, folder / f"made{ending}").read_bytes()


def write_arrow(table, path):
    """Write what Arrow's own writers write, in the format of the ending."""
    ipc, parquet = (pytest.importorskip(f"pyarrow.{name}") for name in ("ipc", "parquet"))
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with (ipc.new_stream if path.suffix == ".arrows" else ipc.new_file)(
            path, table.schema
        ) as to:
            to.write_table(table, max_chunksize=7)
    return path
