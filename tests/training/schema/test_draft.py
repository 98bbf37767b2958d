"""A draft loads, says what it guessed and why, and can be fitted."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from engine.bundle.schema import Feature, default_schema_path, load_schema
from engine.errors import InputError
from tests.fitted import LEAST
from tests.foreign import members, real_table, weekly
from tests.helpers import ROOT, write_table
from training.data.dataset import load_dataset
from training.metrics.disclosure import MIN_USERS
from training.pipeline import FitOptions, fit
from training.schema.draft import draft_schema
from training.simulate import SimulateOptions
from training.simulate.write import write_users

ROWS = 2_000
ROW = pl.int_range(pl.len())


def drafted(frame, folder, ending=".csv"):
    """The draft of a table and the schema in it."""
    table = write_table(frame, folder / f"members{ending}")
    draft = draft_schema([str(table)])
    path = folder / "schema.toml"
    path.write_text(draft.text)
    return draft, load_schema(path)


def feature_of(schema, name):
    return next(feature for feature in schema.features if feature.name == name)


def guessed(values, folder, name="v", ending=".parquet", rows=ROWS):
    """What the draft makes of one more column; None if it leaves it out."""
    frame = members(rows).with_columns(values.alias(name)).drop("x", "z")
    draft, schema = drafted(frame, folder, ending)
    found = {feature.name: feature for feature in schema.features}
    return (
        found.get(name),
        [fault for fault in draft.faults if fault.startswith(f"{name}: ")],
        draft.text,
    )


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".ndjson"])
def test_a_draft_of_members_is_their_schema(tmp_path, ending):
    draft, schema = drafted(members(ROWS), tmp_path, ending)
    assert (schema.name, schema.id, schema.label, schema.snapshot) == (
        *("members", "member", "joined", None),
    )
    kinds = {feature.name: (feature.kind, feature.missing) for feature in schema.features}
    assert kinds == {
        "x": ("numeric", "never"),
        "z": ("numeric", "never"),
        "c": ("categorical", "never"),
    }
    x, z, c = schema.features
    assert x.min < -3 < 3 < x.max
    assert (z.min, z.max) == (0, 20)
    assert c.values == ()
    assert draft.faults == ()


def test_a_draft_of_shopnow_has_its_key_columns_kinds_and_windows(tmp_path):
    write_users(SimulateOptions(rows=4_000, seed=3), tmp_path / "users.parquet")
    draft = draft_schema([str(tmp_path / "users.parquet")])
    (tmp_path / "schema.toml").write_text(draft.text)
    found, due = load_schema(tmp_path / "schema.toml"), load_schema(default_schema_path())
    keys = ("id", "label", "snapshot", "horizon_days")
    assert [getattr(found, key) for key in keys] == [getattr(due, key) for key in keys]
    assert [(f.name, f.kind, f.ordered) for f in found.features] == [
        (f.name, f.kind, f.ordered) for f in due.features
    ]
    tier = feature_of(found, "loyalty_tier")
    assert tier.values == ("none", "bronze", "silver", "gold", "platinum")
    assert feature_of(found, "orders_last_365d").at_least == "orders_last_90d"
    assert all(f.min == 0 for f in found.features if f.name.endswith(("rate", "share")))


@pytest.mark.parametrize(
    ("values", "due"),
    [
        (pl.col("z"), {"min": 0, "max": 20}),
        (pl.col("z") / 100, {"min": 0, "max": 0.5}),
        (pl.col("z").clip(0, 1), {"min": 0, "max": 1}),
        (pl.col("x") > 0, {"min": 0, "max": 1}),
        (-pl.col("z") * 100, {"min": -2_000, "max": 0}),
        (pl.col("z").cast(pl.Decimal(9, 2)), {"min": 0, "max": 20}),
        (pl.when(ROW % 50 > 0).then("z"), {"missing": "allowed"}),
    ],
)
def test_ranges_have_room_and_round_ends(tmp_path, values, due):
    found, faults, _ = guessed(values, tmp_path)
    assert {key: getattr(found, key) for key in due} == due
    assert faults == []


def test_a_share_is_told_by_its_name(tmp_path):
    found, _, text = guessed(pl.col("z") / 100, tmp_path, "click_rate")
    assert (found.min, found.max) == (0, 1)
    assert '# unit = "share"' in text


TEXT = pl.col("z").cast(pl.String)


@pytest.mark.parametrize(
    ("values", "kind", "marks"),
    [
        (pl.when(ROW % 9 > 0).then(TEXT).otherwise(pl.lit("NA")), "numeric", ("NA",)),
        (pl.when(ROW % 9 > 0).then(TEXT).otherwise(pl.lit("None")), "numeric", ("None",)),
        (pl.when(ROW % 9 > 0).then("c").otherwise(pl.lit("?")), "categorical", ("?",)),
        (pl.when(ROW % 9 > 0).then("c").otherwise(pl.lit("none")), "categorical", ()),
        (pl.when(ROW % 9 > 0).then("z").otherwise(-999), "numeric", ("-999",)),
        (pl.when(ROW % 900 > 0).then("z").otherwise(-999), "numeric", ()),
    ],
)
def test_texts_and_numbers_that_mean_missing_are_named(tmp_path, values, kind, marks):
    found, _, _ = guessed(values, tmp_path)
    assert (found.kind, found.missing_texts) == (kind, marks)
    assert found.kind == "categorical" or found.min == (-2_000 if not marks else 0)


@pytest.mark.parametrize(
    ("name", "values", "kind", "words"),
    [
        ("region", pl.col("z"), "categorical", "codes of categories because of its name"),
        ("region", pl.col("z") + 0.5, "numeric", None),
        ("v", 1 + pl.col("z") % 4, "numeric", "4 different whole numbers. If they are codes"),
        ("v", pl.col("z"), "numeric", None),
        ("v", pl.when(ROW % 50 > 0).then("z").otherwise(9999), "numeric", "If 9999 means missing"),
    ],
)
def test_codes_and_far_numbers_are_asked_about(tmp_path, name, values, kind, words):
    found, _, text = guessed(values, tmp_path, name)
    assert found.kind == kind
    block = text.split(f'name = "{name}"')[0].rpartition("\n\n")[2].replace("\n# ", " ")
    assert (words in block) if words else block.startswith("[[feature]]")


@pytest.mark.parametrize(
    ("values", "due", "rare"),
    [
        (pl.lit("18-24"), (), 0),
        ("band", ("18-24", "25-34", "35-44", "45+"), 0),
        ("rarely", ("18-24", "25-34", "35-44"), 1),
    ],
)
def test_an_order_lists_no_value_of_few_users(tmp_path, values, due, rare):
    bands = pl.Series(["45+", "18-24", "35-44", "25-34"])
    last = pl.when(ROW < MIN_USERS - 1).then(0).otherwise(1 + pl.col("z") % 3)
    code = {"band": pl.col("z") % 4, "rarely": last}.get(values if isinstance(values, str) else "")
    column = values if code is None else code.replace_strict(list(range(4)), bands)
    found, _, text = guessed(column, tmp_path)
    assert found.values == due
    assert found.ordered == bool(due)
    assert ("1 rare value not listed" in text.replace("\n# ", " ")) == bool(rare)


DAYS = pl.date(2025, 1, 1) + pl.duration(days=ROW % 400)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (DAYS, "Holds dates; turn"),
        (DAYS.cast(pl.Datetime), "A timestamp. Turn it into a date"),
        (DAYS.cast(pl.String), "Holds dates as text"),
        (DAYS.dt.strftime("%d.%m.%Y"), "Holds dates as text"),
        (DAYS.dt.strftime("%Y%m%d").cast(pl.Int64), "Holds dates as numbers (yyyymmdd)"),
        (DAYS.dt.strftime("%Y%m").cast(pl.Int64), "Holds dates as numbers (yyyymm)"),
        (DAYS.dt.epoch("s"), "Holds dates as seconds since 1970"),
        (DAYS.dt.epoch("ms"), "Holds dates as milliseconds since 1970"),
        (ROW + 70_000, "Holds a different value in every row, like an id"),
        (pl.format("key {}", ROW), "Holds a different value in every row, like an id"),
        (pl.format("it was a fine day, number {}", ROW % 1500), "Holds free text"),
        (pl.format("{},5", ROW % 900), "Looks like numbers with units"),
        (pl.format("{} %", ROW % 100), "Looks like numbers with units"),
        (pl.format("n{}", ROW % 1_300), "1,300 or more values, most of them rare"),
        (pl.concat_list("x", "z"), "The type List(Float64) is neither"),
    ],
)
def test_what_is_no_feature_is_left_out_and_said(tmp_path, values, words):
    found, faults, text = guessed(values, tmp_path)
    assert found is None
    assert words in faults[0]
    assert "# Columns that are left out:\n# v: " in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pl.lit(5), "Constant: the same in every row."),
        (pl.lit(None, pl.Float64), "Constant"),
        (pl.lit("NA"), "Constant"),
        (pl.col("c"), "Holds the same values as 'c'."),
        (pl.col("joined").not_(), "predicts the label with a ROC-AUC of 1.00"),
        (pl.when("joined").then(pl.lit("yes")).otherwise(pl.lit("no")), "a ROC-AUC of 1.00"),
        (pl.when("joined").then("x"), "a ROC-AUC of 1.00"),
    ],
)
def test_what_no_model_should_read_is_kept_out_of_the_models(tmp_path, values, words):
    found, faults, _ = guessed(values, tmp_path)
    assert not found.use
    assert words in faults[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pl.when(ROW % 25 == 0).then("z"), "96% of the values are missing."),
        (
            pl.when(ROW == 7).then(pl.lit("ten")).otherwise(TEXT),
            "1 row with a text that is no number",
        ),
        (pl.when(ROW == 7).then(np.inf).otherwise(pl.col("x")), "1 row with an infinite number"),
        (
            pl.when(pl.col("joined") | (ROW % 8 == 0)).then(1).otherwise(0),
            "Unless it is known before the outcome, set use to false.",
        ),
    ],
)
def test_what_is_doubtful_is_said_and_used(tmp_path, values, words):
    found, faults, _ = guessed(values, tmp_path)
    assert found.use
    assert words in faults[0]


def test_a_rare_outcome_gives_its_amount_away(tmp_path):
    amount = pl.when("joined").then(pl.col("x").abs() + 1).otherwise(0)
    frame = members(8_000, rate=0.008).with_columns(amount=amount)
    draft, schema = drafted(frame, tmp_path)
    assert not feature_of(schema, "amount").use
    assert any("amount: Alone it predicts the label" in fault for fault in draft.faults)


@pytest.mark.parametrize(
    ("change", "id", "words"),
    [
        ({}, "member", "A different value in every row."),
        ({"member": pl.format("m{}", ROW // 2)}, None, "1,000 values of it occur in several rows"),
        ({"member": ROW * 3}, "member", "A different value in every row."),
        ({"member": pl.lit("m")}, None, "No column tells users apart"),
    ],
)
def test_an_id_tells_every_row_apart(tmp_path, change, id, words):
    draft, schema = drafted(members(ROWS).with_columns(**change), tmp_path)
    assert schema.id == id
    assert words in draft.text.replace("\n# ", " ")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_weekly_table_has_its_date_and_ids_that_come_again(tmp_path, ending):
    draft, schema = drafted(weekly(300, 4, alike=True), tmp_path, ending)
    assert (schema.id, schema.snapshot, schema.horizon_days) == ("member", "day", 0)
    assert "It holds 4 dates for all rows." in draft.text


@pytest.mark.parametrize(
    ("frame", "label", "words"),
    [
        (members(ROWS).rename({"joined": "x1"}), "x1", "is the last column"),
        (
            members(ROWS).rename({"joined": "q"}).select("q", "x"),
            None,
            "'q' hold 0 and 1. Training",
        ),
        (members(ROWS).drop("joined"), None, "No column is clearly the outcome. Training"),
        (members(ROWS).with_columns(last=pl.col("x") > 0), "joined", "of 0 and 1: 'last'"),
    ],
)
def test_a_label_is_told_by_its_name_or_its_place(tmp_path, frame, label, words):
    draft, schema = drafted(frame, tmp_path)
    assert schema.label == label
    assert words in draft.text.replace("\n# ", " ")


HOSTILE = (
    *(
        'quo"te',
        "back\\slash",
        "new\nline",
        "tab\there",
        "nul\0",
        "del\x7f",
        "Größe 🛒",
        "\u202egnp",
    ),
    *("[[feature]]", "# x", "a = 1", "</script>", "ünïcode.with.dots", " spaces "),
)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_any_name_survives(tmp_path, ending):
    names = [n for n in HOSTILE if ending == ".parquet" or not set(n) & set('"\0')]
    frame = members(400).with_columns(
        pl.col("x").add(n).pow(n + 2).alias(name) for n, name in enumerate(names)
    )
    draft, schema = drafted(frame, tmp_path, ending)
    assert {feature.name for feature in schema.features} == {"x", "z", "c", *names}
    assert all(line.isprintable() for line in draft.text.split("\n"))


@pytest.mark.parametrize(
    "name", ["action", "segment", "driver_1", "impact_x", "a|b", "*", "^a$", ""]
)
def test_a_name_that_no_schema_may_have_is_to_be_changed(tmp_path, name):
    frame = members(400).rename({"z": name})
    draft, schema = drafted(frame, tmp_path, ".parquet")
    assert name not in {feature.name for feature in schema.features}
    assert any(
        fault.startswith(f"{name}: ") and "ame it in the table" in fault for fault in draft.faults
    )


def test_the_truth_of_simulated_users_is_no_feature_and_keeps_its_name(tmp_path):
    draft, schema = drafted(members(400).rename({"z": "true_probability"}), tmp_path, ".parquet")
    assert "true_probability" not in {feature.name for feature in schema.features}
    assert any(fault.startswith("true_probability: The true") for fault in draft.faults)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (members(20).clear(), "no rows, so nothing tells"),
        (members(500).select("joined"), "no column besides id, label and date can be a feature."),
        (members(500).select(a=None, b=pl.lit(None, pl.String)), ".*: a: Constant: .*b: Constant"),
    ],
)
def test_a_table_without_features_is_refused(tmp_path, frame, words):
    table = write_table(frame, tmp_path / "data.parquet")
    with pytest.raises(InputError, match=f"data.parquet: {words}"):
        draft_schema([str(table)])


def test_files_of_other_columns_are_refused(tmp_path):
    write_table(members(50), tmp_path / "a.csv")
    write_table(members(50).drop("x"), tmp_path / "b.csv")
    with pytest.raises(InputError, match=r"b\.csv: 1 missing column: 'x'; .*a\.csv needs 5"):
        draft_schema([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])


def test_files_of_other_types_are_refused_and_of_near_ones_are_not(tmp_path):
    frame = members(50)
    for name, values in {"a": "z", "b": pl.col("z").cast(pl.Float32), "c": TEXT}.items():
        write_table(frame.with_columns(z=values), tmp_path / f"{name}.parquet")
    paths = [str(tmp_path / f"{name}.parquet") for name in "abc"]
    assert 'name = "z"' in draft_schema(paths[:2]).text
    with pytest.raises(
        InputError, match=r"c\.parquet, beside .*a\.parquet: 1 column .* 'z' expected"
    ):
        draft_schema(paths)


def test_a_draft_leaves_room_at_the_ends_of_float32(tmp_path):
    big = pl.col("x") * 5e37
    table = write_table(members(500).with_columns(x=big), tmp_path / "big.parquet")
    (tmp_path / "schema.toml").write_text(draft_schema([str(table)]).text)
    assert load_dataset([str(table)], load_schema(tmp_path / "schema.toml")).rejected == {}


@pytest.mark.parametrize(
    ("label", "days"),
    [("buy_next_7d", 7), ("bought_within_30_days", 30), ("next_99999d", 0), ("in_3_deals_y", 0)],
)
def test_the_horizon_is_that_of_the_label(tmp_path, label, days):
    _, schema = drafted(weekly(100, 4).rename({"joined": label}), tmp_path)
    assert (schema.label, schema.horizon_days) == (label, days)


def test_several_files_are_one_table_and_give_the_same_bytes_again(tmp_path):
    parts = [members(600), members(600, seed=1).with_columns(member=pl.format("n{}", ROW))]
    for number, part in enumerate(parts):
        write_table(part, tmp_path / f"{number}.csv")
    first, again = (draft_schema([str(tmp_path)]) for _ in range(2))
    assert first == again
    assert "# First draft, from 1,200 rows" in first.text
    assert 'id = "member"' in first.text


def test_a_wide_table_is_drafted(tmp_path):
    values = np.random.default_rng(1).normal(size=(300, 5_000)).astype(np.float32)
    frame = pl.DataFrame(values, schema=[f"f{n}d" for n in range(5_000)])
    _, schema = drafted(frame.with_columns(joined=pl.col("f0d") > 0), tmp_path, ".parquet")
    assert len(schema.features) == 5_000
    assert [f.name for f in schema.features if not f.use] == ["f0d"]


def test_a_draft_can_be_fitted_and_the_fit_names_what_it_should_not_read(tmp_path):
    signup = DAYS.dt.strftime("%Y%m%d").cast(pl.Int32)
    table = write_table(members(900).with_columns(signup=signup), tmp_path / "data.parquet")
    (tmp_path / "schema.toml").write_text(draft_schema([str(table)]).text)
    schema = load_schema(tmp_path / "schema.toml")
    dated = replace(schema, features=(*schema.features, Feature("signup", "numeric")))
    found = fit([str(table)], FitOptions(dated, effort=LEAST), tmp_path / "bundle")
    assert found.evaluation.cautions == (
        "signup holds dates as numbers (yyyymmdd); turn them into a number of days.",
    )


@pytest.mark.parametrize("name", ["adult", "credit"])
def test_a_draft_of_a_real_table_has_the_kinds_that_people_gave_it(tmp_path, name):
    draft = draft_schema([str(real_table(f"{name}.csv.gz"))])
    (tmp_path / "schema.toml").write_text(draft.text)
    found, due = load_schema(tmp_path / "schema.toml"), load_schema(real_table(f"{name}.toml"))
    assert (found.id, found.label) == (due.id, due.label)
    kinds = {feature.name: feature.kind for feature in found.features}
    assert {feature.name: feature.kind for feature in due.features}.items() <= kinds.items()
    assert kinds.keys() - {f.name for f in due.features} <= {"fnlwgt"}
    assert draft.faults == ()


def test_a_draft_of_online_shoppers_doubts_the_value_of_pages(tmp_path):
    draft = draft_schema([str(real_table("online_shoppers_intention.csv"))])
    (tmp_path / "schema.toml").write_text(draft.text)
    found, due = (
        load_schema(tmp_path / "schema.toml"),
        load_schema(ROOT / "docs/online_shoppers.toml"),
    )
    assert [(f.name, f.kind) for f in found.features] == [(f.name, f.kind) for f in due.features]
    assert [fault.split(":")[0] for fault in draft.faults] == ["PageValues"]


def test_a_draft_of_an_e_mail_test_finds_the_label_and_its_shadow(tmp_path):
    draft = draft_schema([str(real_table("email_test.csv"))])
    (tmp_path / "schema.toml").write_text(draft.text)
    found = load_schema(tmp_path / "schema.toml")
    assert (found.id, found.label) == ("customer", "conversion")
    assert [feature.name for feature in found.features if not feature.use] == ["spend"]
    assert [fault.split(":")[0] for fault in draft.faults] == ["visit", "spend", "segment"]
