import polars as pl
import pytest

from engine.errors import (
    EngineError,
    InputError,
    NoInputError,
)
from tests.engine.activate.lists import make
from tests.helpers import write_table


def without(name):
    return lambda scores: scores.drop(name)


def replaced(**columns):
    return lambda scores: scores.with_columns(**columns)


FIRST = pl.int_range(pl.len()) < 3
BAD_SCORES = {
    "no probability": (without("purchase_probability"), {}, "missing column: 'purchase_proba"),
    "no control group": (without("in_control_group"), {}, "'in_control_group', for every list"),
    "no band": (without("propensity_band"), {"bands": ("high",)}, "'propensity_band', for --band"),
    "no segment": (
        *(without("segment_name"), {"segments": ("1",)}),
        "'segment_name', for --segment",
    ),
    "no e-mail": (lambda s: s, {"template": "klaviyo"}, "'email', for --template klaviyo"),
    "no such column": (lambda s: s, {"columns": ("id", "city")}, "'city', for --columns"),
    "no order": (lambda s: s.select(sorted(s.columns)), {}, "columns before 'purchase_prob"),
    "repeated id": (
        lambda s: pl.concat([s, s[7:8]]),
        {},
        "1 id more than once in column 'user_id', one of them in row 8 of .*, row 5,001 of",
    ),
    "null id": (
        replaced(user_id=pl.when(FIRST).then(None).otherwise("user_id")),
        {},
        "3 rows without a value in the id column 'user_id'",
    ),
    "two dates": (
        lambda s: pl.concat([s, s.with_columns(pl.col("snapshot_date") + pl.duration(days=1))]),
        *({}, "2 snapshot dates: '2026-11-22', '2026-11-23'; a list is made from one"),
    ),
    "two bundles": (
        replaced(bundle_id=pl.when(FIRST).then(pl.lit("other/1")).otherwise("bundle_id")),
        *({}, "2 bundles: 'other/1', 'shopnow/"),
    ),
    "no bundle": (
        replaced(bundle_id=pl.lit(None, pl.String)),
        *({}, "rows without a bundle in column 'bundle_id'"),
    ),
    "no date": (
        replaced(snapshot_date=pl.lit("gestern")),
        *({}, "rows without a snapshot date in column 'snapshot_date'"),
    ),
    "some dates": (
        replaced(snapshot_date=pl.when(FIRST).then("snapshot_date")),
        *({}, "rows without a snapshot date"),
    ),
    "date with time": (
        replaced(snapshot_date=pl.col("snapshot_date").cast(pl.Datetime)),
        *({}, "'snapshot_date' expected a date without a time, as 2026-11-22, found Datetime"),
    ),
    "list of probabilities": (
        replaced(purchase_probability=pl.concat_list("purchase_probability")),
        *({}, "'purchase_probability' expected a number, found List"),
    ),
    "list of ids": (
        replaced(user_id=pl.concat_list("user_id")),
        *({}, "'user_id' expected a text or a whole number, found List"),
    ),
    "numbers as bands": (
        replaced(propensity_band=pl.lit(1)),
        {"bands": ("low",)},
        "outside --band",
    ),
    "truth as segments": (
        replaced(segment_name=pl.lit(value=True)),
        *({"segments": ("Loyal",)}, "no segment 'Loyal', .* There are true \\(1\\), true"),
    ),
    "list of actions": (
        replaced(action=pl.concat_list("action")),
        *({}, "'action' expected one value a row, found List"),
    ),
    "no number": (
        replaced(purchase_probability=pl.when(FIRST).then(None).otherwise("purchase_probability")),
        *({}, "3 rows without a number from 0 to 1 in 'purchase_probability'"),
    ),
    "unknown control": (
        replaced(in_control_group=pl.when(FIRST).then(None).otherwise("in_control_group")),
        *({}, "3 rows without true or false in 'in_control_group'"),
    ),
    "unused segments": (
        replaced(segment_id=pl.lit(None, pl.Int8), segment_name=pl.lit(None, pl.String)),
        *({"segments": ("Loyal big spenders",)}, "rows without a segment"),
    ),
    "unknown segment": (
        lambda s: s,
        {"segments": ("Loyal",)},
        "no segment 'Loyal', as --segment asks for. There are Cart abandoners \\(1\\)",
    ),
    "nobody": (
        lambda s: s,
        {"bands": ("low",), "min_probability": 0.99},
        "nobody to contact: of 5,000 users, .* outside --band, .* outside --min-probability",
    ),
    "nothing to spend": (lambda s: s, {"budget": 1, "cost": 2}, "nobody to contact"),
}


@pytest.mark.parametrize("case", BAD_SCORES)
def test_scores_that_give_no_list_leave_the_earlier_one(scores, tmp_path, case):
    change, options, message = BAD_SCORES[case]
    good = write_table(scores, tmp_path / "good.parquet")
    out = tmp_path / "list.csv"
    make(good, out=out, top=5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    source = write_table(change(scores), tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=message):
        make(source, out=out, if_exists="replace", **options)
    source.unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_empty_and_absent_files_are_no_input(scores, tmp_path):
    with pytest.raises(NoInputError, match="no rows. Score users first"):
        make(write_table(scores.clear(), tmp_path / "none.parquet"))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(EngineError, match="empty.csv"):
        make(tmp_path / "empty.csv")
    with pytest.raises(NoInputError, match="absent.parquet"):
        make(tmp_path / "absent.parquet")
