"""Any user-level table goes from fit to scores, or is refused in words."""

import json

import polars as pl
import pytest

from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import ANALYST_REPORT, EVALUATION, MANIFEST, MODEL_CARD, REPORT, open_bundle
from tests.fitting import category
from tests.foreign import FEATURES, ID, REFUSED, SCORABLE, Foreign, members
from tests.helpers import read_table, write_table

MAX_REPORT_BYTES = 3_000_000
MAX_CLUSTERED = 8
JOURNEYS = (
    "one number, no key",
    "few joined",
    "weekly",
    "names in any script",
    "500 numbers",
)
"""Tables that are also inspected, measured, reported on, promoted and explained."""


def laid_down(table, folder):
    """Writes table and schema, and gives the command that fits a bundle to them."""
    data = write_table(table.frame, folder / f"data{table.ending}").name
    (folder / "schema.toml").write_text(table.toml)
    return f"training fit {data} --schema schema.toml --out candidate --trials 1", data


@pytest.mark.parametrize("name", SCORABLE)
def test_a_foreign_table_is_fitted_and_scored(name, tmp_path, command):
    table = SCORABLE[name]
    fit, data = laid_down(table, tmp_path)
    check(command, fit, 0)
    manifest = open_bundle(tmp_path / "candidate").manifest
    fitted = read_evaluation(open_bundle(tmp_path / "candidate")).fit
    assert (fitted.training["split"]["kind"] == "time") == ("snapshot" in table.keys)
    assert len(fitted.clustering["features"]) <= MAX_CLUSTERED
    # Members who come again as they were are no leak.
    assert not ("snapshot" in table.keys and manifest.unusable)
    bundle = "candidate"
    if name in JOURNEYS:
        promoted, bundle = (79, "candidate") if manifest.unusable else (0, "models")
        check(command, "engine inspect candidate", 0)
        check(command, f"training evaluate candidate {data}", 0)
        check(command, f"training report candidate {data} --out report.html", 0)
        check(command, "training promote candidate --to models", promoted)
        explained = 0 if "id" in table.keys else 2
        user = user_of(table)
        check(command, f"engine explain {data} --bundle {bundle} --user {user}", explained)
    check(command, f"engine score {data} --bundle {bundle} --out scores.parquet", 0)
    scores = read_table(tmp_path / "scores.parquet")
    assert scores.height == table.frame.height
    assert scores["purchase_probability"].is_between(0, 1).all()
    assert scores["driver_1"].is_in([feature["name"] for feature in table.features]).all()
    for report in tmp_path.rglob("report*.html"):
        assert report.stat().st_size < MAX_REPORT_BYTES


def check(command, line, code):
    """Run a command and check how it ends."""
    found = command(*line.split())
    assert found.returncode == code, f"{line}\n{found.stderr}"
    assert "a bug" not in found.stderr


def user_of(table):
    return table.frame[table.keys["id"]][7] if "id" in table.keys else 7


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fitted_is_refused_in_words(name, tmp_path, command):
    refused = REFUSED[name]
    fit, data = laid_down(refused.table, tmp_path)
    found = command(*fit.split())
    assert found.returncode == refused.code, found.stderr
    assert refused.words in found.stderr
    assert {path.name for path in tmp_path.iterdir()} == {data, "schema.toml"}


def test_rows_left_out_are_told(tmp_path, command):
    odd = pl.when(pl.col("z") == 3).then(pl.lit("NA")).otherwise(pl.col("x").cast(pl.String))
    fit, _ = laid_down(Foreign(members(600).with_columns(x=odd), ID, ending=".csv"), tmp_path)
    found = command(*fit.split())
    assert found.returncode == 0
    assert f"rows left out: x|not_a_number {members(600)['z'].eq(3).sum()}\n" in found.stderr


SENSITIVE = "religion"


def test_a_feature_without_use_is_in_no_model(tmp_path, command):
    frame = members(1_500).with_columns(
        pl.when("joined").then(pl.lit("one")).otherwise(pl.lit("other")).alias(SENSITIVE)
    )
    features = (*FEATURES, category(SENSITIVE, use=False))
    fit, _ = laid_down(Foreign(frame, ID, features), tmp_path)
    assert command(*fit.split()).returncode == 0
    folder = tmp_path / "candidate"
    manifest = open_bundle(folder).manifest
    told = {MANIFEST, EVALUATION, MODEL_CARD, REPORT, ANALYST_REPORT}
    silent = [p for p in folder.rglob("*") if p.is_file() and p.name not in told]
    assert {"scorer.onnx", "classifier.txt", "reference.json"} <= {path.name for path in silent}
    assert not [path.name for path in silent if SENSITIVE.encode() in path.read_bytes()]
    evaluation = read_evaluation(open_bundle(folder))
    models = [evaluation.drivers, manifest.categories, evaluation.fit.clustering["features"]]
    assert SENSITIVE not in json.dumps(models)
    assert {p["value"] for p in evaluation.metrics["slices"] if p["slice"] == SENSITIVE} == {
        "one",
        "other",
    }
    # Nor does scoring ask for the column.
    write_table(frame.drop(SENSITIVE, "joined"), tmp_path / "new.csv")
    score = "engine score new.csv --bundle candidate --out scores.csv"
    found = command(*score.split())
    assert found.returncode == 0, found.stderr
    assert read_table(tmp_path / "scores.csv").height == frame.height
