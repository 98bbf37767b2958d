"""What may be odd about a table that is fitted, its numbers and its segments: part of K."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine import ScoreOptions, load_bundle, score
from engine.bundle.evaluation import read_evaluation
from engine.bundle.open import open_bundle
from tests.faults.inputs import case
from tests.fitted import LEAST
from tests.fitting import category, number, schema_of
from tests.helpers import run, write_table
from training.pipeline import FitOptions, fit
from training.segments.verdict import segment_verdict

CASES = {
    "K01": "a feature of any scale that float32 holds, constant, or of rare spikes: a bundle, exact",
    "K02": "a feature that counts only by being missing, thresholds at the ends of float32: a bundle, exact",
    "K10": "segments no better than chance: named so; scores and the package's playbook do without them",
}

LARGEST = float(np.finfo(np.float32).max)
ROWS = 1_000


def made(folder: Path, users: dict, *features: dict) -> Path:
    """A bundle of a few features, which native models and all conformance rows have agreed with."""
    path = write_table(pl.DataFrame(users), folder / "users.parquet")
    fit([str(path)], FitOptions(schema_of(*features), effort=LEAST), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def drawn():
    """A number that decides the purchases, and noise."""
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=(2, ROWS))
    return x, noise, (rng.random(ROWS) < 1 / (1 + np.exp(1 - 1.5 * x))).astype(np.int8)


@pytest.mark.parametrize(
    "values",
    [
        case("K01-tiny", lambda x: x * 1e-33),
        case("K01-tiny-skewed", lambda x: np.exp(x) * 1e-33),
        case("K01-denormal", lambda x: x * 1e-40),
        case("K01-huge", lambda x: x * 1e33),
        case("K01-largest", lambda x: np.where(x > 0, LARGEST, -LARGEST)),
        case("K01-constant", lambda x: np.full(len(x), LARGEST)),
        case("K01-spike", lambda x: np.where(np.arange(len(x)) % 300 == 0, LARGEST, 0.0)),
        case("K02-only-missing", lambda x: np.where(x > 0, 0.0, np.nan)),
        case("K02-missing", lambda x: np.where(x > 0, np.sin(1e4 * x), np.nan)),
        case("K02-never-there", lambda x: np.full(len(x), np.nan)),
        case("K02-ends", lambda x: np.where(x > 0, LARGEST, np.nextafter(np.float32(LARGEST), 0))),
        case("K02-zero", lambda x: np.where(x > 0, 1e-35, -1e-35)),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_of_any_scale_make_a_bundle(drawn, tmp_path, values):
    x, noise, bought = drawn
    users = {"t": values(x), "z": noise, "bought": bought}
    scorer = load_bundle(made(tmp_path, users, number("t"), number("z")))
    ends = [LARGEST, -LARGEST, 1e-45, -0.0, None]
    scores = scorer.score(
        pl.DataFrame({"t": ends, "z": ends}, schema=dict.fromkeys("tz", pl.Float32))
    )
    assert scores["purchase_probability"].is_finite().all()


@pytest.mark.parametrize(
    "texts",
    [case("K02-one-value", lambda _: "a"), case("K02-or-none", lambda x: "a" if x > 0 else None)],
)
def test_a_category_of_one_value_makes_a_bundle(drawn, tmp_path, texts):
    x, noise, bought = drawn
    users = {"c": [texts(value) for value in x], "z": noise, "bought": bought}
    assert made(tmp_path, users, category("c"), number("z")).is_dir()


def test_k10_segments_no_better_than_chance_are_named_so(tmp_path):
    rng = np.random.default_rng(1)
    columns = {f"f{n}": rng.random(2_000) for n in range(4)}
    bought = (rng.random(2_000) < columns["f0"]).astype(np.int8)
    features = [number(name) for name in columns]
    bundle = made(tmp_path, {**columns, "bought": bought}, *features)
    found = read_evaluation(open_bundle(bundle))
    assert (found.segments["verdict"], found.segments["usable"]) == ("chance", False)
    assert "no better than chance: silhouette 0." in (bundle / "report.analyst.html").read_text()
    card = (bundle / "MODEL_CARD.md").read_text()
    for praise in ("where by segment", "inside a segment and band", "The segment decides"):
        assert praise not in card
    assert "The band alone decides" in card
    rows = json.loads((bundle / "playbook.json").read_text())["rows"]
    actions = {(row["band"], row["action"], row["channel"], row["offer"]) for row in rows}
    assert len(actions) == 4
    users = write_table(pl.DataFrame({**columns, "bought": bought}), tmp_path / "users.csv")
    out = tmp_path / "s.parquet"
    summary = score([str(users)], bundle, out, ScoreOptions())
    scores = pl.read_parquet(out)
    assert (scores["segment_id"].dtype, scores["segment_id"].null_count()) == (
        pl.Int8,
        scores.height,
    )
    assert (scores["segment_name"].dtype, scores["segment_name"].null_count()) == (
        pl.String,
        scores.height,
    )
    assert (summary.segments, summary.published) == ({}, True)
    assert not any(line.startswith("segments") for line in summary.to_lines())
    shown = run("engine", "inspect", bundle).stdout
    assert "segments: no better than chance; scores and playbook do without them" in shown
    lines = [line.strip().removeprefix("segments: ") for line in shown.splitlines()]
    assert all(lines.count(reason) == 1 for reason in found.fit.clustering["reasons"])


def test_k10_a_table_without_segments_is_told_from_one_whose_segments_are_chance(drawn, tmp_path):
    x, _, bought = drawn
    bundle = made(tmp_path, {"t": (x > 0).astype(int), "bought": bought}, number("t"))
    assert open_bundle(bundle).manifest.segments_verdict == "none"
    shown = run("engine", "inspect", bundle).stdout
    assert "segments: none; scores and playbook do without them" in shown
    assert "better than chance;" not in shown


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"silhouette": None, "silhouette_permuted": None, "reasons": ["none"]}, "none"),
        (
            {"silhouette": 0.33, "silhouette_permuted": 0.33, "reasons": ["x"]},
            "chance",
        ),
        (
            {"silhouette": 0.33, "silhouette_permuted": None, "reasons": ["x"]},
            "chance",
        ),
        ({"silhouette": 0.33, "silhouette_permuted": 0.2, "reasons": ["x"]}, "weak"),
        ({"silhouette": 0.33, "silhouette_permuted": 0.2, "reasons": []}, "sound"),
    ],
)
def test_k10_the_verdict_follows_the_figures(figures, verdict):
    assert segment_verdict(figures) == verdict
