"""What may be wrong with labelled users, candidates and the folder of versions: part K."""

import dataclasses
import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine import load_bundle
from engine.bundle.evaluation import evaluation_to_json, read_evaluation
from engine.bundle.open import CURRENT, EVALUATION, open_bundle, write_bundle
from engine.errors import BundleError, InputError
from tests.faults.inputs import case
from tests.fitted import LEAST, SMALL, challenger, champion
from tests.fitting import number, schema_of
from tests.helpers import write_table
from tests.weekly import TABLE, users_of
from training.data.dataset import Dataset, LeftOut, load_dataset
from training.data.horizon import check_horizon, longest_gap
from training.data.seen import seen_counts, seen_share
from training.evaluate.evaluation import evaluate_bundle
from training.evaluate.gain import gain_cautions
from training.evaluate.leakage import Parts, leakage_checks
from training.pipeline import FitOptions, fit
from training.promote.gain import gain_gate, level_gate
from training.promote.gate import PASSED
from training.promote.promotion import RefusedError, promote, rollback
from training.promote.rows import rows_gate
from training.promote.versions import RECORD

CASES = {
    "K03": "a candidate whose schema leaves out more of the holdout: 79; both bundles are measured on the same rows",
    "K04": "a snapshot far from the others: 65 in fit, from 2100 on: left out; a champion with such a date can be followed, one that is only newer cannot",
    "K05": "a leak spread over many features: named by the fit; against the previous bundle too",
    "K06": "a gain too good to be true: 79 without --accept-gain; the reason is kept beside the version",
    "K07": "rows of training with other dates, ids or order: 65 in promote, a caution in evaluate; not so customers who come again, or users without history",
    "K08": "CURRENT deleted from a folder of versions: 78, naming the rollback; no bundle is a first one twice",
    "K09": "users of training measured again: the rating is at most that of the test part",
}


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    return write_table(users_of(3, 6_000), tmp_path_factory.mktemp("later") / "later.parquet")


def narrower(bundle: Path, folder: Path, **bounds: object) -> Path:
    """A copy of a bundle whose schema has other bounds for what users spend."""
    opened = open_bundle(bundle)
    schema = opened.manifest.schema
    features = tuple(
        dataclasses.replace(f, **bounds) if f.name == "spend" else f for f in schema.features
    )
    schema = dataclasses.replace(schema, features=features)
    write_bundle(folder, dataclasses.replace(opened.manifest, schema=schema), opened.contents)
    return folder


def refused_gates(error: RefusedError) -> dict[str, str]:
    return {g["name"]: g["words"] for g in error.report["gates"] if g["verdict"] == "refused"}


def test_k03_a_candidate_that_chooses_its_users_is_refused(later, tmp_path):
    candidate = narrower(challenger().bundle, tmp_path / "narrow", max=60.0)
    promote(champion().bundle, tmp_path / "root")
    for root in ("root", "new"):
        with pytest.raises(RefusedError, match="rows_left_out: the candidate leaves out") as caught:
            promote(candidate, tmp_path / root, [str(later)])
        words = refused_gates(caught.value)["rows_left_out"]
        assert "of 6,000 rows (spend|above_max " in words
        assert (", the champion 0.00%; at most 0.50%" in words) == (root == "root")
        left_out = pl.read_parquet(later).filter(pl.col("spend") > 60).height
        assert caught.value.report["data"]["rows"] == 6_000 - left_out


def test_k03_a_candidate_that_leaves_out_nearly_everybody_is_refused(later, tmp_path):
    candidate = narrower(challenger().bundle, tmp_path / "narrow", max=0.0)
    promote(champion().bundle, tmp_path / "root")
    with pytest.raises(RefusedError, match="leaves out .* Correct the rules of its schema"):
        promote(candidate, tmp_path / "root", [str(later)])


def test_k03_the_rows_of_the_champion_count_too(later, tmp_path):
    """What only the champion leaves out is no fault of the candidate, and is not measured."""
    root = promote(
        narrower(champion().bundle, tmp_path / "one", max=60.0), tmp_path / "root"
    ).folder
    report = promote(challenger().bundle, root.parent, [str(later)]).report
    left_out = pl.read_parquet(later).filter(pl.col("spend") > 60).height
    assert report["data"]["rows"] == 6_000 - left_out


@pytest.mark.parametrize(
    ("mine", "theirs", "passed"),
    [
        (10, None, True),
        (11, None, False),
        (5, 0, True),
        (6, 0, False),
        (20, 20, True),
        (21, 20, False),
    ],
)
def test_k03_the_share_left_out_has_a_bound(mine, theirs, passed):
    def count(left_out):
        return LeftOut(1_000, {}, left_out, np.ones(0, bool))

    gate = rows_gate(count(mine), None if theirs is None else count(theirs))
    assert (gate.verdict == PASSED) == passed


def test_k03_rows_that_nobody_could_score_are_no_fault_of_the_candidate(tmp_path):
    """The gate on rows would refuse these too; what is wrong with the file comes first."""
    spoilt = pl.when(pl.int_range(pl.len()) < 80).then(float("inf")).otherwise("visits")
    few = users_of(3, 300).with_columns(visits=spoilt)
    unripe = users_of(3, 4_000).with_columns(
        visits=spoilt, bought=pl.when(pl.int_range(pl.len()) < 3_990).then("bought")
    )
    for name, users, words in (
        ("few", few, "220 users; measuring a candidate needs at least 1,000"),
        ("unripe", unripe, "10 rows of 3,920 without a value of 'bought'"),
    ):
        data = write_table(users, tmp_path / f"{name}.parquet")
        with pytest.raises(InputError, match=words):
            promote(challenger().bundle, tmp_path / "root", [str(data)])


def dated(*days: date, horizon: int = 7) -> Dataset:
    """Users with these snapshots."""
    frame = pl.DataFrame({"day": pl.Series(days, dtype=pl.Date)})
    schema = dataclasses.replace(TABLE, id=None, horizon_days=horizon)
    return Dataset(schema, frame, pl.DataFrame(), np.zeros(len(days), np.int8), None, {}, "")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            date(2062, 1, 1),
            "1 row of 5 dated 2062-01-01, more than 731 days from the others, of 2026-11-01",
        ),
        (date(2001, 1, 1), "1 row of 5 dated 2001-01-01, more than 731 days from the others"),
    ],
)
def test_k04_a_date_far_from_the_others_is_refused(wrong, words):
    weeks = [date(2026, 11, 1) + timedelta(days=7 * n) for n in range(4)]
    with pytest.raises(InputError, match=words):
        check_horizon(dated(*weeks, wrong))
    check_horizon(dated(*weeks))


def test_k04_seasons_and_long_horizons_may_have_gaps():
    check_horizon(dated(date(2022, 12, 1), date(2024, 11, 1), date(2025, 11, 1)))
    check_horizon(dated(date(2010, 1, 1), date(2019, 1, 1), horizon=365))
    assert longest_gap(365) == timedelta(days=3_650)


def test_k04_dates_that_stand_for_none_are_set_aside(tmp_path):
    users = users_of(0, 500).with_columns(
        day=pl.when(pl.int_range(pl.len()) < 3).then(date(9999, 12, 31)).otherwise("day")
    )
    dataset = load_dataset([str(write_table(users, tmp_path / "users.parquet"))], TABLE)
    check_horizon(dataset)
    assert dataset.rejected == {"day|after_2099": 3}


def test_k04_fit_refuses_such_dates(tmp_path):
    users = users_of(0, 500).with_columns(
        day=pl.when(pl.int_range(pl.len()) < 3).then(date(2062, 1, 1)).otherwise("day")
    )
    path = write_table(users, tmp_path / "users.parquet")
    with pytest.raises(InputError, match="3 rows of 500 dated 2062-01-01") as caught:
        fit([str(path)], FitOptions(TABLE, effort=LEAST), tmp_path / "bundle")
    assert caught.value.exit_code == 65


def with_record(bundle: Path, folder: Path, **training: object) -> Path:
    """A copy of a bundle whose fit says something else of its users."""
    opened = open_bundle(bundle)
    found = read_evaluation(opened)
    record = dataclasses.replace(found.fit, training={**found.fit.training, **training})
    changed = evaluation_to_json(dataclasses.replace(found, fit=record))
    write_bundle(folder, opened.manifest, {**opened.contents, EVALUATION: changed})
    return folder


@pytest.mark.parametrize(
    ("days", "compared"),
    [
        (["9999-12-31"], "its dates were not compared"),
        (["2026-01-04", "9999-12-31"], "only those up to 2026-01-04 count"),
        (["2026-01-04", "2062-01-01"], "only those up to 2026-01-04 count"),
    ],
)
def test_k04_a_champion_with_such_a_date_is_followed(later, tmp_path, days, compared):
    root = tmp_path / "root"
    promote(with_record(champion().bundle, tmp_path / "wrong", snapshots=days), root)
    report = promote(challenger().bundle, root, [str(later)]).report
    assert report["accepted"]
    assert f"dated up to {days[-1]}, which cannot be right: {compared}" in report["cautions"][0]


def test_k04_a_holdout_from_years_ago_does_not_replace_a_newer_champion(later, tmp_path):
    root = tmp_path / "root"
    newer = with_record(champion().bundle, tmp_path / "newer", snapshots=["2029-01-07"])
    promote(newer, root)
    with pytest.raises(InputError, match="fitted to users up to 2029-01-07"):
        promote(challenger().bundle, root, [str(later)])


def spread(week: int, rows: int) -> pl.DataFrame:
    """Customers with ten features that know a little of the outcome each."""
    rng = np.random.default_rng(week + 100)
    users = users_of(week, rows)
    hints = {f"h{n}": users["bought"] + rng.normal(0, 1.1, rows) for n in range(10)}
    return users.with_columns(**hints)


SPREAD = dataclasses.replace(
    TABLE, features=(*TABLE.features, *schema_of(*(number(f"h{n}") for n in range(10))).features)
)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A candidate with a leak spread over ten features, and users later than its fit."""
    folder = tmp_path_factory.mktemp("leaky")
    path = write_table(spread(1, 4_000), folder / "users.parquet")
    options = FitOptions(SPREAD, effort=SMALL, previous=champion().bundle)
    fitted = fit([str(path)], options, folder / "bundle")
    return folder / "bundle", str(write_table(spread(3, 6_000), folder / "later.parquet")), fitted


def test_k05_a_leak_over_many_features_is_named():
    rng = np.random.default_rng(0)
    label = (rng.random(6_000) < 0.3).astype(np.int8)
    hints = (label + rng.normal(0, 1.1, (10, 6_000))).T.astype(np.float32)
    total = hints.sum(axis=1)
    parts = Parts(
        hints,
        label,
        np.arange(4_000),
        np.arange(4_000, 6_000),
        1 / (1 + np.exp(5 - total))[4_000:],
        np.arange(6_000),
    )
    features = schema_of(*(number(f"h{n}") for n in range(10))).model_features
    found = leakage_checks(parts, features, seed=1)
    assert not any(single["suspicious"] for single in found["single_features"])
    assert found["joint_features"]["suspicious"]
    assert "All features together reach a ROC-AUC of 0.9" in found["cautions"][0]
    # An honest model may be as good, so the rating stays.
    assert found["reasons"] == []


def test_k05_a_fit_is_compared_with_the_previous_one(leaky):
    _, _, fitted = leaky
    *_, words = fitted.evaluation.cautions
    assert "a gain of more than 0.03 is rarely true" in words
    assert gain_cautions(fitted.evaluation, open_bundle(leaky[0])) == ()


def test_k06_a_gain_too_good_to_be_true_needs_a_reason(leaky, tmp_path):
    candidate, later, _ = leaky
    promote(champion().bundle, tmp_path)
    with pytest.raises(RefusedError, match="gain: ROC-AUC difference .* --accept-gain") as caught:
        promote(candidate, tmp_path, [later])
    others = refused_gates(caught.value).keys() - {"gain"}
    with pytest.raises(RefusedError) as again:
        promote(candidate, tmp_path, [later], "ten new features from the shop's own log")
    found = again.value.report
    assert found["accepted_gain"] == "ten new features from the shop's own log"
    # Its drivers and segments differ from the champion's too, which no reason excuses.
    assert refused_gates(again.value).keys() == others


def test_k06_a_first_bundle_that_is_too_good_needs_a_reason_too(tmp_path):
    opened = open_bundle(champion().bundle)
    found = read_evaluation(opened)
    changed = dataclasses.replace(found, metrics={**found.metrics, "roc_auc": 0.97})
    contents = {**opened.contents, EVALUATION: evaluation_to_json(changed)}
    write_bundle(tmp_path / "good", opened.manifest, contents)
    with pytest.raises(RefusedError, match="refused at 1 gate of 2: gain: ROC-AUC 0.9700; 0.95"):
        promote(tmp_path / "good", tmp_path / "root")
    done = promote(tmp_path / "good", tmp_path / "root", accepted_gain="a table of robots")
    record = json.loads(Path(f"{done.folder}{RECORD}").read_text())
    assert (record["version"], record["before"]) == (done.folder.name, None)
    assert record["accepted_gain"] == "a table of robots"


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (gain_gate(0.116, (0.09, 0.14), ""), False),
        (gain_gate(0.116, (0.09, 0.14), "a new source"), True),
        (gain_gate(0.05, (0.02, 0.08), ""), True),
        (gain_gate(-0.0018, (-0.0049, 0.0013), ""), True),
        (level_gate({"roc_auc": 0.96}, ""), False),
        (level_gate({"roc_auc": 0.96}, "robots"), True),
        (level_gate({"roc_auc": None}, ""), True),
    ],
)
def test_k06_only_gains_beyond_chance_need_a_reason(gate, passed):
    assert (gate.verdict == PASSED) == passed
    assert "higher by" not in gate.words


def test_k06_a_reason_outlives_a_second_promotion(tmp_path):
    version = promote(champion().bundle, tmp_path, accepted_gain="robots").folder.name
    (tmp_path / CURRENT).unlink()
    promote(champion().bundle, tmp_path)
    assert json.loads((tmp_path / f"{version}{RECORD}").read_text())["accepted_gain"] == "robots"


STRANGERS = users_of(3, 2_000).with_columns("stranger-" + pl.col("customer"))


@pytest.mark.parametrize(
    "change",
    [
        case("K07-dates", lambda users: users),
        case("K07-ids", lambda users: users.with_columns("x" + pl.col("customer"))),
        case("K07-order", lambda users: users.sample(fraction=1, shuffle=True, seed=1)),
        case("K07-part", lambda users: users[::2]),
        case("K07-mixed", lambda users: pl.concat([users, STRANGERS], how="diagonal")),
    ],
)
def test_rows_of_training_are_recognised_under_other_dates(tmp_path, change):
    users = change(pl.read_parquet(challenger().users)).with_columns(day=date(2026, 2, 1))
    data = [str(write_table(users, tmp_path / "users.parquet"))]
    with pytest.raises(
        InputError, match="of the buyers among these users have exactly the features"
    ):
        promote(challenger().bundle, tmp_path / "root", data)
    (words,) = evaluate_bundle(challenger().bundle, data).cautions
    assert "their rows come from training, with other dates or ids" in words


@pytest.fixture(scope="module")
def trained():
    """Users of a fit as its model sees them, their labels and who they are."""
    known = load_dataset([str(challenger().users)], TABLE)
    features = known.typed.select("visits", "age", "tenure", "spend").to_numpy()
    return features, known.label, known.users


def test_k07_other_users_are_not_taken_for_those_of_training(trained):
    features, label, users = trained
    counts = seen_counts(features, label, users)
    assert seen_share(counts, features, label) > 0.9
    assert seen_share(counts, features[::2] + np.float32(1), label[::2]) == 0
    # Bundles of earlier versions counted buyers alone, which cannot tell copies from customers.
    assert seen_share({"seen": counts["seen"]}, features, label) == 0
    assert seen_share({}, features, label) == 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
def test_k07_users_without_history_are_not_rows_of_training(share):
    def people(rows, seed):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(rows, 10)).astype(np.float32)
        features[rng.random(rows) < share] = np.nan
        return features, (rng.random(rows) < 0.2).astype(np.int8)

    features, label = people(60_000, 1)
    counts = seen_counts(features, label, np.arange(60_000))
    for seed in range(10):
        assert seen_share(counts, *people(20_000, seed + 2)) == 0
        copied = np.random.default_rng(seed).choice(60_000, 20_000, replace=False)
        assert seen_share(counts, features[copied], label[copied]) > 0.8


@pytest.mark.parametrize("persistence", [None, 3.0, 1.0])
def test_k07_customers_who_come_again_unchanged_are_not_rows_of_training(persistence):
    """Their features say who they are, not what they bought; some hardly ever stop buying."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40_000, 6)).astype(np.float32)
    chance = 1 / (1 + np.exp(1.8 - 1.2 * features[:, 0]))
    if persistence is not None:
        chance = rng.beta(0.2 * persistence, 0.8 * persistence, len(features))
    first, *later = ((rng.random(40_000) < chance).astype(np.int8) for _ in range(11))
    counts = seen_counts(features, first, np.arange(40_000))
    assert [seen_share(counts, features[::2], label[::2]) for label in later] == 10 * [0]
    assert seen_share(counts, features[::2], first[::2]) > 0.8


def test_k07_every_count_is_of_twenty_users(trained):
    features, label, users = trained
    counts = seen_counts(features, label, users)
    for name, value in (("seen", 1), ("seen_non_buyers", 0)):
        different = len(np.unique(features[label == value], axis=0))
        for text in counts[name]["counts"]:
            found = np.frombuffer(bytes.fromhex(text), ">u4")
            assert (found.min() >= 20, found.sum()) == (True, different)
    assert seen_counts(features.round(-2), label, users)["seen"] is None
    assert seen_counts(features[:200], label[:200], users[:200])["seen"] is None


def test_k07_a_holdout_that_is_too_small_to_recognise_them_is_said_to_be(later, tmp_path):
    few = write_table(pl.read_parquet(later).head(1_000), tmp_path / "few.parquet")
    (words,) = promote(challenger().bundle, tmp_path / "root", [str(few)]).report["cautions"]
    assert words.startswith("too few buyers to recognise rows of the training of tiny/2026-01-11")
    assert promote(challenger().bundle, tmp_path / "other", [str(later)]).report["cautions"] == []


def test_k08_a_folder_remembers_that_it_was_promoted_to(tmp_path):
    one, two = champion().bundle, challenger().bundle
    version = promote(one, tmp_path).folder.name
    (tmp_path / CURRENT).unlink()
    with pytest.raises(BundleError, match=f"CURRENT is missing.* --version {version}") as caught:
        promote(two, tmp_path)
    assert caught.value.exit_code == 78
    rollback(tmp_path, version)
    assert load_bundle(tmp_path).manifest == open_bundle(one).manifest
    # The same bundle may be promoted again: its promotion may have been cut short.
    (tmp_path / CURRENT).unlink()
    assert promote(one, tmp_path).folder.name == version


def test_k08_a_candidate_that_waits_in_the_folder_was_not_promoted(tmp_path):
    root = tmp_path / "root"
    shutil.copytree(challenger().bundle, root / "next")
    shutil.copytree(champion().bundle, root / "other")
    with pytest.raises(BundleError, match="which was not promoted under this name") as caught:
        rollback(root, "next")
    assert caught.value.exit_code == 78
    version = promote(champion().bundle, root).folder.name
    (root / CURRENT).unlink()
    with pytest.raises(BundleError, match=f"there was 1 version before: '{version}'"):
        promote(challenger().bundle, root)


def test_k08_lost_versions_are_named_where_no_rollback_leads_to_them(tmp_path):
    (tmp_path / f"2026-01-04-abc{RECORD}").write_text("{}")
    with pytest.raises(BundleError, match="Restore the folders of these versions"):
        promote(champion().bundle, tmp_path)


def rated_unusable(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle whose test part has rated it so."""
    opened = open_bundle(bundle)
    found = read_evaluation(opened)
    worse = {**found.quality, "band": "unusable", "sentence": "Unusable: only the test part knows."}
    content = evaluation_to_json(dataclasses.replace(found, quality=worse))
    write_bundle(folder, opened.manifest, {**opened.contents, EVALUATION: content})
    return folder


def test_k09_other_users_of_early_dates_keep_their_rating(tmp_path):
    bundle = rated_unusable(champion().bundle, tmp_path / "poor")
    others = write_table(users_of(9, 2_000).with_columns(day=date(2026, 1, 4)), tmp_path / "o.csv")
    found = evaluate_bundle(bundle, [str(others)])
    assert "these users may not be new" in found.cautions[0]
    assert found.quality["band"] != "unusable"


def test_k09_users_of_training_do_not_better_the_rating(tmp_path):
    bundle = rated_unusable(champion().bundle, tmp_path / "poor")
    quality = evaluate_bundle(bundle, [str(champion().users)]).quality
    assert quality["band"] == "unusable"
    assert quality["sentence"] == "Unusable: only the test part knows."
    assert quality["reasons"][-1].startswith("the rating is that of the test part of the fit")
