import dataclasses
import json
import re
from datetime import date, timedelta

import polars as pl
import pytest
from threadpoolctl import threadpool_limits

import training.pipeline
from engine.bundle.evaluation import evaluation_to_json, read_evaluation
from engine.bundle.manifest import BANDS
from engine.bundle.open import ANALYST_REPORT, MODEL_CARD, REPORT, open_bundle
from engine.bundle.playbook import read_playbook
from engine.errors import CannotCreateError, SelfCheckError
from engine.explain.inspect import full_lines
from engine.format import without_head
from engine.scorer import load_bundle
from tests.fitted import fit_small, printed, shop, shuffled
from tests.fitting import SHOP, category, number, schema_of, shop_users
from tests.helpers import both, folder_bytes, write_table
from training.evaluate.evaluation import evaluate_bundle
from training.playbook.rules import load_rules
from training.promote.promotion import RefusedError, promote


@pytest.fixture(scope="module")
def users_file():
    return shop().users


@pytest.fixture(scope="module")
def bundle():
    return shop().bundle


def test_a_bundle_opens_and_scores(bundle, users_file):
    scorer = load_bundle(bundle)
    scores = scorer.score(pl.read_parquet(users_file))
    assert scores.height == 3_000
    assert scores["segment_id"].n_unique() == len(scorer.manifest.segments)


@pytest.fixture(scope="module")
def reseeded(users_file, tmp_path_factory):
    """What a fit with another seed gives, its folder, and the stages that it told."""
    folder, stages = tmp_path_factory.mktemp("reseeded") / "bundle", []
    return fit_small(users_file, folder, progress=stages.append, seed=4), folder, stages


def test_a_fit_gives_what_it_has_written(reseeded):
    found, folder, _ = reseeded
    manifest, evaluation = both(folder)
    assert found.manifest == manifest
    assert evaluation_to_json(found.evaluation) == evaluation_to_json(evaluation)


def test_the_bundle_tells_everything(bundle):
    manifest, evaluation = both(bundle)
    assert manifest.bundle_id.startswith("tiny/undated-")
    assert manifest.unusable == ()
    assert evaluation.fit.training["rows"] == 3_000
    assert evaluation.fit.training["split"]["rows"].keys() == {"train", "validation", "test"}
    assert evaluation.metrics["rows"] == evaluation.fit.training["split"]["rows"]["test"]
    assert evaluation.metrics["roc_auc"] > 0.7
    assert evaluation.fit.parity["changed_segment"] == 0
    assert evaluation.drivers["rows"] == evaluation.metrics["rows"]
    first = evaluation.drivers["features"][0]
    assert (first["name"], first["group"], first["direction"]) == ("visits", "other", "raises")
    assert first["dependence"][-1]["mean_impact"] > first["dependence"][0]["mean_impact"]
    assert {REPORT, ANALYST_REPORT, MODEL_CARD} <= manifest.files.keys()
    assert "internal" not in evaluation.fit.clustering["features"]
    assert manifest.categories["tier"] == ("low", "mid", "high")
    assert next(f for f in manifest.schema.features if f.name == "shop").values


def test_the_same_data_and_seed_give_the_same_bytes_whatever_the_threads(
    bundle, users_file, tmp_path
):
    with threadpool_limits(3):
        fit_small(users_file, tmp_path / "again", seed=3)
    assert folder_bytes(tmp_path / "again") == folder_bytes(bundle)


def test_another_seed_gives_another_version_in_the_same_stages(bundle, reseeded):
    other, _, stages = reseeded
    assert other.manifest.bundle_id != open_bundle(bundle).manifest.bundle_id
    assert stages[0] == "reading users"
    assert stages[-1] == "writing the report"
    assert len(stages) == 7


@pytest.mark.parametrize(
    "schema",
    [
        schema_of(number("visits")),
        schema_of(category("city"), category("tier"), category("shop")),
        schema_of(category("shop"), number("age", use=False), id="customer"),
    ],
    ids=["one number", "only categories", "one category"],
)
def test_other_schemas_go_the_same_way(schema, users_file, tmp_path):
    fitted = fit_small(users_file, tmp_path / "out", schema)
    manifest, evaluation = fitted.manifest, fitted.evaluation
    scores = load_bundle(tmp_path / "out").score(pl.read_parquet(users_file))
    assert scores.height == 3_000
    assert scores["purchase_probability"].is_finite().all()
    used = len(schema.model_features)
    assert scores["driver_1"].is_in([f.name for f in schema.model_features]).all()
    for n in range(1, 4):
        missing = scores.height if n > used else 0
        assert scores[f"driver_{n}"].null_count() == missing
        assert scores[f"driver_{n}_impact"].null_count() == missing
    assert scores["segment_name"].n_unique() == scores["segment_id"].n_unique()
    assert len({segment.name for segment in manifest.segments}) == len(manifest.segments)
    json.dumps(evaluation.fit.clustering, allow_nan=False)
    assert len(evaluation.comparison["scores"]) == 4
    report = evaluate_bundle(tmp_path / "out", [str(users_file)])
    lines = printed(tmp_path / "out", report)
    has_categories = any(feature.kind == "categorical" for feature in schema.model_features)
    assert ("PERFORMANCE BY GROUP OF USERS" in lines) == has_categories


def test_several_snapshots_give_a_dated_version(tmp_path):
    days = [date(2026, 1, 1) + timedelta(days=7 * n) for n in range(5)]
    frames = [shop_users(600, n).with_columns(day=pl.lit(d)) for n, d in enumerate(days)]
    path = write_table(pl.concat(frames), tmp_path / "users.csv")
    schema = dataclasses.replace(SHOP, snapshot="day", horizon_days=7)
    fitted = fit_small(path, tmp_path / "out", schema)
    manifest, evaluation = fitted.manifest, fitted.evaluation
    assert manifest.bundle_id.startswith("tiny/2026-01-29-")
    assert evaluation.fit.training["split"]["kind"] == "time"
    assert evaluation.fit.training["snapshots"] == [str(d) for d in days]
    assert "one date, 2026-01-29" in evaluation.comparison["stability"]["words"]
    report = evaluate_bundle(tmp_path / "out", [str(path)])
    stability = report.comparison["stability"]
    assert [week["snapshot"] for week in stability["weeks"]] == [str(d) for d in days]
    assert all(change["users"] == 600 for change in stability["changes"])
    assert "ROC-AUC by date" in "\n".join(printed(tmp_path / "out", report))


def test_labels_of_pure_chance_make_an_honest_bundle(tmp_path):
    frame = shop_users(2_000, 1).with_columns(
        visits=pl.lit(1.0), spend=pl.lit(2.0), age=pl.lit(3.0), city=pl.lit("rome"),
        tier=pl.lit("low"), shop=pl.lit("s1"),
    )  # fmt: skip
    path = write_table(frame, tmp_path / "users.parquet")
    fitted = fit_small(path, tmp_path / "out")
    manifest, evaluation = fitted.manifest, fitted.evaluation
    assert "every user gets the same probability" in manifest.unusable[0]
    assert evaluation.fit.clustering["reasons"]
    scores = load_bundle(tmp_path / "out").score(frame)
    assert scores["purchase_probability"].n_unique() == 1
    assert (scores["driver_1_impact"] == 0).all()


def test_shuffled_labels_make_an_unusable_bundle(tmp_path):
    manifest, evaluation = both(shuffled().bundle)
    assert evaluation.quality["band"] == "unusable"
    assert not evaluation.quality["may_be_used"]
    assert list(manifest.unusable) == evaluation.quality["reasons"]
    assert any("chance" in reason for reason in manifest.unusable)
    assert evaluation.comparison["answer"][0]["tool"] == "neither"
    shown = "\n".join(full_lines(manifest, evaluation)).splitlines()
    assert shown[1] == "MUST NOT BE USED"
    assert shown[2] == f"quality: {evaluation.quality['sentence']}"
    assert shown[3].strip() == manifest.unusable[0]
    with pytest.raises(RefusedError, match="must not be used") as caught:
        promote(shuffled().bundle, tmp_path / "root")
    assert caught.value.exit_code == 79


def test_a_label_among_the_features_makes_an_unusable_bundle(tmp_path):
    users = shop_users(1_000, 1).with_columns(age=pl.col("bought").cast(pl.Float32))
    path = write_table(users, tmp_path / "users.parquet")
    schema = schema_of(number("visits"), number("age"), id="customer")
    manifest = fit_small(path, tmp_path / "out", schema).manifest
    assert "age is the label under another name" in manifest.unusable[0]


def test_a_feature_without_use_is_seen_in_the_slices_alone(bundle, users_file):
    _, evaluation = both(bundle)
    parts = [p for p in evaluation.metrics["slices"] if p["slice"] == "internal"]
    assert len(parts) == 4
    assert sum(p["rows"] for p in parts) == evaluation.metrics["rows"]
    names = {f["name"] for f in evaluation.drivers["features"]}
    checked = {f["feature"] for f in evaluation.fit.leakage["single_features"]}
    assert names == checked == {f.name for f in SHOP.model_features}


def test_the_evaluation_holds_every_figure(bundle):
    manifest, evaluation = both(bundle)
    metrics = evaluation.metrics
    assert metrics["intervals"]["roc_auc"][0] < metrics["roc_auc"]
    bands = [(c["segment_id"], band) for c in metrics["cells"] for band in c["bands"]]
    assert bands == [(s.id, band) for s in manifest.segments for band in BANDS]
    assert sum(c["rows"] for c in metrics["cells"]) == metrics["rows"]
    assert sum(d["rows"] for d in metrics["deciles"]) == metrics["rows"]
    assert sum(b["rows"] for b in metrics["reliability"]) == metrics["rows"]
    assert evaluation.fit.leakage["broken"] == []
    assert evaluation.quality["may_be_used"]


def test_the_table_of_actions_has_no_gap(bundle):
    manifest, evaluation = both(bundle)
    page = (bundle / ANALYST_REPORT).read_text()
    table = re.search('<section id="actions".*?</table>', page, re.DOTALL).group()
    segments, values = len(manifest.segments), re.findall('class="value">([^<]*)<', table)
    assert len(values) == segments * (1 + len(BANDS))
    assert sum(value.endswith("\u202f%") for value in values) == segments * len(BANDS)
    assert table.count('class="more"') == segments * len(BANDS)
    assert min(cell["rows"] for cell in evaluation.metrics["cells"]) >= 20


def test_an_output_that_is_not_empty_is_refused_before_the_fit(users_file, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CannotCreateError, match="not an empty folder"):
        fit_small(users_file, tmp_path)
    with pytest.raises(CannotCreateError, match="does not exist"):
        fit_small(users_file, tmp_path / "no" / "out")
    assert (tmp_path / "file").read_text() == "kept"


def test_nothing_is_written_when_parity_fails(users_file, tmp_path, monkeypatch):
    def fail(*_):
        raise SelfCheckError("they differ")

    monkeypatch.setattr(training.pipeline, "check_parity", fail)
    with pytest.raises(SelfCheckError, match="they differ"):
        fit_small(users_file, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_playbook_decides_the_version_and_the_actions(bundle, users_file, tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text(
        "[bands]\nshares = [0.2, 0.5, 0.9]\n"
        '[economics]\nmargin = 0.3\norder_value = "spend"\n'
        '[economics.cost_per_contact]\napp = 0\n"e-mail" = 0.002\npush = 0.001\npaid = 0.3\n'
        '[[rule]]\nband = "low"\naction = "Wait"\n'
    )
    manifest = fit_small(users_file, tmp_path / "bundle", seed=3, playbook=load_rules(own)).manifest
    assert manifest.bundle_id != open_bundle(bundle).manifest.bundle_id
    scores = load_bundle(tmp_path / "bundle").score(pl.read_parquet(users_file))
    low = scores["propensity_band"] == "low"
    assert ((scores["action"] == "Wait") == low).all()
    assert low.mean() == pytest.approx(0.2, abs=0.05)
    # The value of an order is that of the cell's measured users, and evaluate finds it too.
    opened = open_bundle(tmp_path / "bundle")
    document, fitted = read_playbook(opened), read_evaluation(opened)
    values = {(row["segment_id"], row["band"]): row["order_value"] for row in document["rows"]}
    assert document["economics"]["order_value_feature"] == "spend"
    assert None not in values.values()
    for cell in fitted.metrics["cells"]:
        for band in cell["bands"]:
            assert values[cell["segment_id"], band] == pytest.approx(cell["order_value"], abs=0.01)
    again = evaluate_bundle(tmp_path / "bundle", [str(users_file)])
    assert all("order_value" in cell for cell in again.metrics["cells"])
    assert "Profit at most" in (tmp_path / "bundle" / ANALYST_REPORT).read_text()


def test_segments_are_told_for_people(bundle):
    manifest, evaluation = both(bundle)
    names = [segment.name for segment in manifest.segments]
    assert len(set(names)) == len(names)
    assert all(s.sentence.startswith(f"{s.name}: ") for s in manifest.segments)
    profiles, measured = evaluation.fit.profiles, evaluation.comparison["segments"]
    assert sum(p["rows"] for p in measured) == evaluation.metrics["rows"]
    assert (
        sum(p["described_rows"] for p in profiles.values())
        == evaluation.fit.training["split"]["rows"]["train"]
    )
    bought = sum(p["rows"] * p["purchase_rate"] for p in measured) / evaluation.metrics["rows"]
    assert bought == pytest.approx(evaluation.metrics["base_rate"], abs=1e-5)
    assert [row["chosen"] for row in evaluation.fit.clustering["counts_tried"]].count(True) == 1
    shown = "\n".join(full_lines(manifest, evaluation))
    assert all(without_head(s.sentence, s.name) in shown for s in manifest.segments)
