import dataclasses
import json
import re
import shutil
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from threadpoolctl import threadpool_limits

import training.pipeline
from engine.bundle.evaluation import evaluation_to_json, read_evaluation
from engine.bundle.manifest import BANDS
from engine.bundle.open import MODEL_CARD, REPORT, open_bundle
from engine.bundle.schema import default_schema_path, load_schema
from engine.errors import BundleError, CannotCreateError, InputError, SelfCheckError
from engine.explain.inspect import full_lines
from engine.format import without_head
from engine.scorer import load_bundle
from tests.fitted import SMALL, shop, shuffled, tiny
from tests.fitting import SHOP, category, number, schema_of, shop_users
from tests.helpers import write_table
from training.evaluate.evaluation import evaluate_bundle
from training.export.bundle import CODE, code_fingerprint
from training.format import LONGEST
from training.pipeline import FitOptions, fit
from training.playbook.rules import load_rules
from training.promote.promotion import RefusedError, promote
from training.report.blocks import Section, Text, table
from training.report.subject import measured_subject
from training.report.text import LEGEND, evaluation_lines, section_lines
from training.simulate import SimulateOptions
from training.simulate.write import write_users


@pytest.fixture(scope="module")
def users_file():
    return shop().users


@pytest.fixture(scope="module")
def bundle():
    return shop().bundle


def fit_small(table, out, schema=SHOP, progress=lambda _: None, **options):
    return fit([str(table)], FitOptions(schema, effort=SMALL, **options), out, progress)


def folder_bytes(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_bundle_opens_and_scores(bundle, users_file):
    scorer = load_bundle(bundle)
    scores = scorer.score(pl.read_parquet(users_file))
    assert scores.height == 3_000
    assert scores["segment_id"].n_unique() == len(scorer.manifest.segments)


def both(folder):
    """Manifest and evaluation of a bundle."""
    opened = open_bundle(folder)
    return opened.manifest, read_evaluation(opened)


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
    assert evaluation.fit.training["split"]["rows"].keys() == {
        "train",
        "validation",
        "calibration",
        "test",
    }
    assert evaluation.metrics["rows"] == evaluation.fit.training["split"]["rows"]["test"]
    assert evaluation.metrics["roc_auc"] > 0.7
    assert evaluation.fit.parity["changed_segment"] == 0
    assert evaluation.drivers["rows"] == evaluation.metrics["rows"]
    first = evaluation.drivers["features"][0]
    assert (first["name"], first["group"], first["direction"]) == ("visits", "other", "raises")
    assert first["dependence"][-1]["mean_impact"] > first["dependence"][0]["mean_impact"]
    assert {REPORT, MODEL_CARD} <= manifest.files.keys()
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


def printed(bundle, report):
    """What `training evaluate` prints."""
    return list(evaluation_lines(measured_subject(open_bundle(bundle), report)))


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


def test_dashes_are_explained_where_a_table_has_one():
    known, unknown = (
        [Section("s", "Title", [Text("Quiet – a sentence."), table("", ("a", "b"), [("c", cell)])])]
        for cell in ("1", "–")
    )
    assert LEGEND not in list(section_lines(known))
    assert list(section_lines(unknown))[-1] == LEGEND


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


def test_the_playbook_decides_the_version_and_the_actions(bundle, users_file, tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text('[bands]\nshares = [0.2, 0.5, 0.9]\n[[rule]]\nband = "low"\naction = "Wait"\n')
    manifest = fit_small(users_file, tmp_path / "bundle", seed=3, playbook=load_rules(own)).manifest
    assert manifest.bundle_id != open_bundle(bundle).manifest.bundle_id
    scores = load_bundle(tmp_path / "bundle").score(pl.read_parquet(users_file))
    low = scores["propensity_band"] == "low"
    assert ((scores["action"] == "Wait") == low).all()
    assert low.mean() == pytest.approx(0.2, abs=0.05)


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


def test_weekly_refits_keep_ids_and_names(tmp_path):
    schema = load_schema(default_schema_path())
    previous = None
    fits = []
    for week, seed in enumerate((7, 7, 8)):
        as_of = date(2026, 11, 22) + timedelta(weeks=week)
        write_users(SimulateOptions(1_200, seed, as_of), tmp_path / f"{week}.parquet")
        table = tmp_path / f"{week}.parquet"
        fits.append(fit_small(table, tmp_path / f"week{week}", schema, previous=previous))
        previous = tmp_path / f"week{week}"
    first, *later = fits
    assert first.evaluation.fit.clustering["changes"] == []
    for before, fitted in pairwise(fits):
        clustering = fitted.evaluation.fit.clustering
        before, manifest = before.manifest, fitted.manifest
        assert clustering["previous"] == before.bundle_id
        assert clustering["features"] == first.evaluation.fit.clustering["features"]
        if clustering["changes"] == ["no change: every segment keeps its id and its name"]:
            assert names_of(manifest) == names_of(before)
            assert manifest.retired_segments == before.retired_segments
        else:
            told = "; ".join(clustering["changes"])
            changed = names_of(manifest).items() ^ names_of(before).items()
            assert changed
            assert all(name in told for _, name in changed)
    kept = names_of(first.manifest).items() & names_of(later[-1].manifest).items()
    assert len(kept) >= len(first.manifest.segments) - 1


def names_of(manifest):
    return {segment.id: segment.name for segment in manifest.segments}


def test_users_who_are_others_get_new_segments_and_old_ids_are_retired(
    bundle, users_file, tmp_path
):
    renumbered = open_bundle(bundle)
    ids = [s.id for s in renumbered.manifest.segments]
    moved = pl.read_parquet(users_file).with_columns(
        pl.col("visits") * 0 + 1, spend=pl.lit(0.0), age=pl.col("age").shuffle(seed=1)
    )
    path = write_table(moved, tmp_path / "moved.parquet")
    # The folder of bundles with CURRENT is given, as in production.
    promote(bundle, tmp_path / "root")
    fitted = fit_small(path, tmp_path / "next", previous=tmp_path / "root")
    found = fitted.manifest
    fresh = {s.id for s in found.segments} - set(ids)
    assert fresh
    assert min(fresh) > max(ids)
    assert set(found.retired_segments) == set(ids) - {s.id for s in found.segments}
    changes = "; ".join(fitted.evaluation.fit.clustering["changes"])
    assert "dropped, because the table lacks them" in changes
    assert "is new" in changes
    assert "is retired" in changes
    scores = load_bundle(tmp_path / "next").score(moved)
    # These users differ by so little that their segments may be no better than chance.
    named = {s.id for s in found.segments} if found.segments_usable else {None}
    assert set(scores["segment_id"]) <= named
    assert scores["action"].null_count() == 0
    again = fit_small(path, tmp_path / "after", previous=tmp_path / "next").manifest
    assert names_of(again) == names_of(found)
    assert again.retired_segments == found.retired_segments
    assert again.bundle_id != found.bundle_id


def test_a_previous_bundle_decides_the_version_by_what_it_says(tmp_path):
    before, copy = tiny(), tmp_path / "elsewhere"
    shutil.copytree(before.bundle, copy)
    first = open_bundle(before.bundle).manifest
    one, two = (
        fit_small(before.users, tmp_path / name, first.schema, previous=previous).manifest
        for name, previous in (("one", before.bundle), ("two", copy))
    )
    assert one.bundle_id == two.bundle_id != first.bundle_id
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")


def test_a_previous_bundle_of_another_table_is_refused_before_the_fit(bundle, tmp_path):
    schema = dataclasses.replace(SHOP, name="another")
    with pytest.raises(BundleError, match="of schema 'tiny', this fit of 'another'"):
        fit_small("absent.parquet", tmp_path / "out", schema, previous=bundle)


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
    assert "Which tool answers which question" in (bundle / REPORT).read_text()
    assert "Which tool answers which question" in (bundle / MODEL_CARD).read_text()


@pytest.mark.parametrize("name", ["engine/rows/typed.py", "engine/schemas/shopnow.toml"])
def test_the_fingerprint_of_the_code_changes_with_any_file(tmp_path, name):
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in CODE]
    assert code_fingerprint(copies) == code_fingerprint()
    with (tmp_path / name).open("a") as file:
        file.write("\n")
    assert code_fingerprint(copies) != code_fingerprint()


def test_the_fingerprint_of_the_code_changes_with_the_name_of_a_file(tmp_path):
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in CODE]
    data = tmp_path / "training" / "data"
    (data / "split.py").rename(data / "splits.py")
    assert code_fingerprint(copies) != code_fingerprint()
