"""What is measured of a bundle on other users, and how it is printed."""

import dataclasses
import re

import polars as pl
import pytest

from engine.bundle.open import ANALYST_REPORT, MODEL_CARD
from engine.errors import InputError
from engine.pages.format import LONGEST
from engine.scorer import load_bundle
from tests.fitted import printed, shop
from tests.fitting import SHOP, shop_users
from tests.helpers import both, write_table
from training.evaluate.evaluation import evaluate_bundle


@pytest.fixture(scope="module")
def users_file():
    return shop().users


@pytest.fixture(scope="module")
def bundle():
    return shop().bundle


def test_evaluate_measures_through_the_engine(bundle, tmp_path):
    later = shop_users(2_000, 9).with_columns(true_probability=pl.lit(0.3) + pl.col("visits") / 100)
    path = write_table(later, tmp_path / "later.csv")
    report = evaluate_bundle(bundle, [str(path)])
    assert report.metrics["rows"] == 2_000
    assert report.metrics["best_possible_auc"] > 0.5
    assert report.data == {
        "rows": 2_000,
        "users": 2_000,
        "rows_left_out": {},
        "snapshots": [],
        "what": "later.csv",
    }
    assert report.cautions == ()
    assert report.quality["band"] != "unusable"
    assert report.drivers["rows"] == 2_000
    assert report.segments["silhouette"] > 0.2
    assert sum(report.segments["shares"].values()) == pytest.approx(1, abs=1e-5)
    lines = printed(bundle, report)
    assert any("ROC-AUC" in line for line in lines)
    cells = lines[lines.index("SEGMENT BY BAND: WHO BUYS AND WHAT TO DO") :]
    assert f"  {report.segments['names']['1']}" in cells
    assert any(re.match(r"    Very high \(from .*\s%\): .* users\)", line) for line in cells)


def test_evaluate_publishes_nothing_about_a_few_users(bundle, tmp_path):
    users = shop_users(2_000, 9)
    scored = load_bundle(bundle).score(users)
    segment = scored["segment_id"]
    few = users.filter(segment == segment.min()).head(19)
    others = users.filter(segment != segment.min()).head(600)
    path = write_table(pl.concat([few, others]), tmp_path / "few.csv")
    report = evaluate_bundle(bundle, [str(path)])
    assert report.segments["shares"].pop(str(segment.min())) is None
    assert None not in report.segments["shares"].values()
    metrics = report.metrics
    for part in (*metrics["deciles"], *metrics["cells"], *metrics["reliability"]):
        assert part["rows"] == 0 or part["rows"] >= 20
    assert segment.min() not in {cell["segment_id"] for cell in metrics["cells"]}
    lines = printed(bundle, report)
    assert all("None" not in line for line in lines)
    name = report.segments["names"][str(segment.min())]
    assert f"Left out, with fewer than 20 measured users: {name}." in lines


def test_names_from_outside_are_cut_in_the_lines_of_an_evaluation(bundle, users_file):
    report = evaluate_bundle(bundle, [str(users_file)])
    assert any("was fitted to: the models have seen" in line for line in printed(bundle, report))
    name = "\x1b[2J\n\u202e" + "x" * 1_000_000
    part = {**report.metrics["slices"][0], "label": name, "value": name}
    moved = {**report.drift["features"][0], "name": name, "level": "alarm"}
    names = dict.fromkeys(report.segments["names"], name)
    lines = printed(
        bundle,
        dataclasses.replace(
            report,
            data={**report.data, "what": name},
            metrics={**report.metrics, "slices": [part]},
            segments={**report.segments, "names": names},
            drift={**report.drift, "features": [moved]},
        ),
    )
    assert max(map(len, lines)) <= LONGEST
    assert not any("\x1b" in line or "\u202e" in line for line in lines)


def test_evaluate_refuses_users_who_could_be_told_from_the_figures(bundle, tmp_path):
    path = write_table(shop_users(19, 9), tmp_path / "few.csv")
    with pytest.raises(InputError, match=r"few.csv: 19 users; at least 20 are needed"):
        evaluate_bundle(bundle, [str(path)])


def test_evaluate_tells_what_has_moved_since_training(bundle, tmp_path):
    users = shop_users(2_000, 9)
    levels = {}
    for name, frame in (
        ("same", users),
        ("moved", users.with_columns(age=pl.col("age") + 30)),
    ):
        path = write_table(frame, tmp_path / f"{name}.parquet")
        report = evaluate_bundle(bundle, [str(path)])
        levels[name] = {f["name"]: f["level"] for f in report.drift["features"]}
        shown = "\n".join(printed(bundle, report)).split("DRIFT: ")[1]
        assert ("What has moved:\n- Age: " in shown) == (name == "moved")
    assert set(levels["same"].values()) == {"none"}
    assert levels["moved"] == levels["same"] | {"age": "alarm"}


def test_evaluate_agrees_with_the_fit(bundle, users_file, tmp_path):
    _, evaluation = both(bundle)
    users = pl.read_parquet(users_file)
    from training.data.dataset import load_dataset
    from training.data.split import split

    test = split(load_dataset([str(users_file)], SHOP)).test
    path = write_table(users[test], tmp_path / "test.parquet")
    report = evaluate_bundle(bundle, [str(path)])
    assert report.metrics == evaluation.metrics
    assert report.quality == evaluation.quality
    assert report.segments["silhouette"] == evaluation.fit.clustering["silhouette"]
    own = {way["key"]: way for way in evaluation.comparison["scores"]}
    assert own.keys() == {"model", "segment_rate", "segment_feature", "together"}
    found = report.comparison["scores"]
    assert found == [own[key] for key in ("model", "segment_rate", "together")]
    for part in ("fitted", "segments", "variance", "stability"):
        assert report.comparison[part] == evaluation.comparison[part]


def test_the_comparison_is_told(bundle, users_file):
    _, evaluation = both(bundle)
    ways = {way["key"]: way for way in evaluation.comparison["scores"]}
    assert ways["model"]["roc_auc"] == evaluation.metrics["roc_auc"]
    assert ways["model"]["log_loss"] == evaluation.metrics["log_loss"]
    assert ways["model"]["roc_auc_interval"] == evaluation.metrics["intervals"]["roc_auc"]
    assert list(ways["model"]["gains"].values()) == [
        gain["share_of_buyers"] for gain in evaluation.metrics["gains"]
    ]
    shown = "\n".join(printed(bundle, evaluate_bundle(bundle, [str(users_file)])))
    assert "4 ways to rank the same users" not in shown
    assert "3 ways to rank the same users" in shown
    assert "  Whom to contact first?\n    Tool: the purchase model\n    Why: ROC-AUC" in shown
    assert "Which tool answers which question" in (bundle / ANALYST_REPORT).read_text()
    assert "Which tool answers which question" in (bundle / MODEL_CARD).read_text()
