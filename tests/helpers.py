"""Small things that several tests build or run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl

ROOT = Path(__file__).parent.parent
BUNDLE = ROOT / "onnx_models" / "shopnow"


def run(program: str, *args: object, env: dict[str, str] | None = None, cwd: Path | None = None):
    """Run a console script as a user would; gives exit code, stdout and stderr."""
    command = [str(Path(sys.executable).parent / program), *map(str, args)]
    return subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def read_summary(out: Path) -> dict:
    return json.loads(out.with_name(f"{out.name}.summary.json").read_text())


def write_table(frame: pl.DataFrame, path: Path) -> Path:
    """Write a table in the format of the path's ending."""
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".gz":
        frame.write_csv(path, compression="gzip")
    elif path.suffix == ".arrow":
        frame.write_ipc(path)
    else:
        frame.write_ndjson(path)
    return path


def read_table(path: Path) -> pl.DataFrame:
    readers = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".arrow": pl.read_ipc,
        ".ndjson": pl.read_ndjson,
    }
    return readers[path.suffix](path)
